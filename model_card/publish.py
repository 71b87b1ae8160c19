"""Pushes a run folder to the Hub: what a model repository holds, and nothing else."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

import yaml
from huggingface_hub import EvalResultEntry, eval_result_entries_to_yaml
from huggingface_hub.utils import filter_repo_objects

from lesions import hub_push as publishing
from lesions.faults import InputError
from lesions.files import read_json, whole_folder, write_text
from lesions.run_folder import CURVES
from model_card.card import EXAMPLES, write_card

# Checkpoints, optimizer states and pickles are never among it.
PUBLISHED = [
    "README.md",
    "*.json",
    "*.safetensors",
    CURVES,
    *(f"evaluation*/*.{kind}" for kind in ("json", "csv", "png")),
    ".eval_results/*.yaml",
]
NOT_PUBLISHED = ["checkpoint-*", "*.partial*"]


@dataclass(frozen=True)
class Destination:
    """Where on the Hub a run goes, and how."""

    hub_model_id: str
    private: bool = False  # if the repository is created now
    token: str | None = None
    revision: str | None = None  # a branch, created where it is not there
    tag: str | None = None  # put on the commit
    create_pr: bool = False  # open a pull request instead of committing
    publish_examples: bool = False  # with images of the data set


def check_access(hub_model_id: str | None, token: str | None = None, private: bool = False) -> None:
    """Makes sure, before hours of training, that the push at its end can work. Raises InputError."""
    if not hub_model_id:
        raise InputError("--push_to_hub needs --hub_model_id owner/name")
    publishing.check_access("model", hub_model_id, private, token)


def publish(run: Path, to: Destination) -> str:
    """Writes the card for the destination, pushes model, processor, card and evaluation in one commit.

    Returns the address of the repository, or of the pull request. Raises InputError where that fails; a repeated
    push completes what is missing.
    """
    again = f"{run} is as it was; repeat: python -m model_card {run} --push_to_hub --hub_model_id {to.hub_model_id}"
    publishing.check_access("model", to.hub_model_id, to.private, to.token, again)
    write_card(run, to.hub_model_id, to.publish_examples)
    write_eval_results(run)
    return publishing.push_folder(
        "model",
        to.hub_model_id,
        run,
        PUBLISHED,
        "Model, card and evaluation",
        token=to.token,
        leave_out=NOT_PUBLISHED if to.publish_examples else [*NOT_PUBLISHED, f"*/{EXAMPLES}"],
        what_next=again,
        revision=to.revision,
        tag=to.tag,
        create_pr=to.create_pr,
    )


def export(run: Path, folder: Path) -> Path:
    """Copies into the new `folder` what a push would send, with a card that loads the model from there."""
    if folder.exists():
        raise InputError(f"{folder} exists already; give another --export, or delete it")
    write_card(run)  # raises where `run` is no run folder
    files = [path.relative_to(run).as_posix() for path in sorted(run.rglob("*")) if path.is_file()]
    leave_out = [*NOT_PUBLISHED, f"*/{EXAMPLES}"]
    with whole_folder(folder) as partial:
        for name in filter_repo_objects(files, allow_patterns=PUBLISHED, ignore_patterns=leave_out):
            (partial / name).parent.mkdir(exist_ok=True)
            shutil.copyfile(run / name, partial / name)
    write_card(folder)
    return folder


def write_eval_results(run: Path) -> None:
    """Balanced accuracy, the official score of ISIC 2018 Task 3, in the form from which the Hub fills the board of a
    data set: https://huggingface.co/docs/hub/eval-results. Only where the data set is one of the Hub's."""
    path = run / "evaluation" / "metrics.json"
    report = read_json(path) if path.is_file() else None
    if report is None or "/" not in report["dataset"] or report["metrics"]["balanced_accuracy"]["value"] is None:
        return
    figure = report["metrics"]["balanced_accuracy"]
    entry = EvalResultEntry(
        dataset_id=report["dataset"],
        task_id=report["split"],
        value=figure["value"],
        dataset_revision=report["dataset_revision"],
        notes="balanced accuracy (mean recall); 95 % interval over lesions {low:.3f} to {high:.3f}".format(**figure),
    )
    text = yaml.safe_dump(eval_result_entries_to_yaml([entry]), sort_keys=False)
    write_text(run / ".eval_results" / f"{report['split']}.yaml", text)
