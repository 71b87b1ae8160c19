"""Pushes a run folder to the Hub: what a model repository holds, and nothing else."""

from __future__ import annotations

import shutil
from pathlib import Path

import yaml
from huggingface_hub import EvalResultEntry, eval_result_entries_to_yaml
from huggingface_hub.utils import filter_repo_objects

from lesions.faults import InputError
from lesions.files import read_json, whole_folder, write_text
from lesions.hub import Destination, check_access, push_folder
from lesions.run_folder import CURVES
from model_card.card import EXAMPLES, write_card

# Never checkpoints, optimizer states or pickles.
PUBLISHED = [
    "README.md",
    "*.json",
    "*.safetensors",
    CURVES,
    *(f"evaluation*/*.{kind}" for kind in ("json", "csv", "png")),
    ".eval_results/*.yaml",
]
NOT_PUBLISHED = ["checkpoint-*", "*.partial*"]


def publish(run: Path, to: Destination, publish_examples: bool = False) -> str:
    """Writes the card for the destination, pushes model, processor, card and evaluation in one commit; images of the
    data set only with `publish_examples`.

    Returns the address of the repository, or of the pull request. Raises InputError if that fails; a repeated push
    completes what is missing.
    """
    again = f"{run} is unchanged; repeat: python -m model_card {run} --push_to_hub --hub_model_id {to.repo_id}"
    check_access(to, again)
    write_card(run, to.repo_id, publish_examples)
    write_eval_results(run)
    leave_out = NOT_PUBLISHED if publish_examples else [*NOT_PUBLISHED, f"*/{EXAMPLES}"]
    return push_folder(to, run, PUBLISHED, "Model, card and evaluation", leave_out, again)


def export(run: Path, folder: Path) -> Path:
    """Copies what a push would send into the new `folder`, with a card that loads the model from there."""
    if folder.exists():
        raise InputError(f"{folder} exists already; give another --export, or remove it")
    write_card(run)  # raises if `run` is not a run folder
    files = [path.relative_to(run).as_posix() for path in sorted(run.rglob("*")) if path.is_file()]
    leave_out = [*NOT_PUBLISHED, f"*/{EXAMPLES}"]
    with whole_folder(folder) as partial:
        for name in filter_repo_objects(files, allow_patterns=PUBLISHED, ignore_patterns=leave_out):
            (partial / name).parent.mkdir(exist_ok=True)
            shutil.copyfile(run / name, partial / name)
    write_card(folder)
    return folder


def write_eval_results(run: Path) -> None:
    """Writes balanced accuracy, the official score of ISIC 2018 Task 3, for the Hub's leaderboard of the data set
    (https://huggingface.co/docs/hub/eval-results), if the data set is on the Hub."""
    path = run / "evaluation" / "metrics.json"
    report = read_json(path) if path.is_file() else None
    if report is None or "/" not in report["dataset"] or report["metrics"]["balanced_accuracy"]["value"] is None:
        return
    metric = report["metrics"]["balanced_accuracy"]
    entry = EvalResultEntry(
        dataset_id=report["dataset"],
        task_id=report["split"],
        value=metric["value"],
        dataset_revision=report["dataset_revision"],
        notes="balanced accuracy (mean recall); 95 % interval over lesions {low:.3f} to {high:.3f}".format(**metric),
    )
    text = yaml.safe_dump(eval_result_entries_to_yaml([entry]), sort_keys=False)
    write_text(run / ".eval_results" / f"{report['split']}.yaml", text)
