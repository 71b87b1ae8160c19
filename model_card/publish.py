"""Pushes a run folder to the Hub: what a model repository holds, and nothing else."""

from __future__ import annotations

import shutil
from pathlib import Path
from shlex import quote

import yaml
from huggingface_hub import EvalResultEntry, eval_result_entries_to_yaml

from lesions.faults import InputError
from lesions.hub import Destination, check_access, push_folder
from lesions.model.onnx_file import ONNX_FILE, check_export
from lesions.output.files import whole_folder, write_text
from lesions.output.places import listed, plain_name
from lesions.run_folder import CURVES, EVALUATION, FAMILIARITY, METRICS_FILE, RECORD
from lesions.seen_images import SEEN
from model_card.card import COMPARISON, EXAMPLES, compared_with_earlier, evaluations, read_metrics, write_card

# All that a model repository holds, by name: anything else that lies in a run folder stays there.
MODEL_FILES = (
    *("README.md", "config.json", "preprocessor_config.json", RECORD, SEEN, CURVES, FAMILIARITY),
    *("model.safetensors", "model-*-of-*.safetensors", "model.safetensors.index.json", ONNX_FILE),
    ".eval_results/*.yaml",
)
CASES = ("predictions.csv", "ground_truth.csv")
EVALUATION_FILES = (
    *("metrics.json", *CASES),
    *("confusion_matrix.png", "roc_curves.png", "reliability.png", "selective.png", "robustness.png"),
)

# All that a push may have sent, from any run.
WRITTEN = (*MODEL_FILES, COMPARISON, *(f"{EVALUATION}*/{name}" for name in (*EVALUATION_FILES, EXAMPLES)))


def published(run: Path, publish_examples: bool = False) -> list[str]:
    """The files of `run` that a push sends, as patterns; what is about other weights is not among them, nor are the
    names of images in somebody's folder, which may be those of patients. Raises InputError if the ONNX file is about
    other weights."""
    if (run / ONNX_FILE).is_file():
        check_export(run)
    names = [*EVALUATION_FILES, *([EXAMPLES] if publish_examples else [])]
    comparison = [COMPARISON] if compared_with_earlier(run) else []
    measured = []
    for folder in evaluations(run):
        of_a_split = read_metrics(folder)["split"] is not None
        measured += [f"{folder.name}/{name}" for name in names if of_a_split or name not in CASES]
    return [*MODEL_FILES, *comparison, *measured]


def publish(run: Path, to: Destination, publish_examples: bool = False, space_id: str | None = None) -> str:
    """Writes the card for the destination, pushes model, processor, card and evaluation in one commit; images of the
    data set only with `publish_examples`. The card links the Space `space_id`.

    Returns the address of the repository, or of the pull request. Raises InputError if that fails; a repeated push
    completes what is missing.
    """
    more = {"publish_examples": publish_examples, "push_space": space_id}
    again = what_next(run, to, push_to_hub=True, hub_model_id=to.repo_id, **more)
    if (run / ONNX_FILE).is_file():
        check_export(run)
    check_access(to, again)
    write_card(run, to.repo_id, publish_examples, space_id)
    write_eval_results(run)
    return push_folder(to, run, published(run, publish_examples), "Model, card and evaluation", again, ours=WRITTEN)


def what_next(run: Path, to: Destination, **options: str | bool | None) -> str:
    """What to do after a push that failed: the command that repeats it, with all of its `options` but the token."""
    options |= {"private": to.private, "revision": to.revision, "tag": to.tag, "create_pr": to.create_pr}
    given = {name: "" if value is True else f" {quote(str(value))}" for name, value in options.items() if value}
    words = " ".join(f"--{name}{value}" for name, value in given.items())
    return f"{run} is unchanged; repeat: python -m model_card {quote(str(run))} {words}"


def export(
    run: Path,
    folder: Path,
    hub_model_id: str | None = None,
    publish_examples: bool = False,
    space_id: str | None = None,
) -> Path:
    """Copies what a push would send into the new `folder`, with a card that loads the model from there, or by its
    `hub_model_id`."""
    if folder.exists():
        raise InputError(f"{folder} exists already; give another --export, or remove it")
    card = (hub_model_id, publish_examples, space_id)
    write_card(run, *card)  # raises if `run` is not a run folder
    with whole_folder(folder) as partial:
        for name in listed(run, published(run, publish_examples))[0]:
            (partial / name).parent.mkdir(exist_ok=True)
            shutil.copyfile(run / name, partial / name)
    write_card(folder, *card)
    return folder


def write_eval_results(run: Path) -> None:
    """Writes balanced accuracy, the official score of ISIC 2018 Task 3, for the Hub's leaderboard of the data set
    (https://huggingface.co/docs/hub/eval-results), if the data set is on the Hub."""
    for earlier in (run / ".eval_results").glob("*.yaml"):  # it may be about other weights
        earlier.unlink()
    report = next((read_metrics(path) for path in evaluations(run) if path.name == EVALUATION), None)
    if report is None or "/" not in report["dataset"] or report["split"] is None:
        return
    metric = report["metrics"]["balanced_accuracy"]
    if metric["value"] is None:
        return
    entry = EvalResultEntry(
        dataset_id=report["dataset"],
        task_id=report["split"],
        value=metric["value"],
        dataset_revision=report["dataset_revision"],
        notes="balanced accuracy (mean recall); 95 % interval over lesions {low:.3f} to {high:.3f}".format(**metric),
    )
    text = yaml.safe_dump(eval_result_entries_to_yaml([entry]), sort_keys=False)
    name = plain_name(report["split"], f"the split in {run / EVALUATION / METRICS_FILE}")
    write_text(run / ".eval_results" / f"{name}.yaml", text)
