"""Pushes a run folder to the Hub: what a model repository holds, and nothing else."""

from __future__ import annotations

from pathlib import Path

from lesions import publishing
from lesions.faults import InputError
from lesions.runs import CURVES
from model_card.card import write_card

# Checkpoints, optimiser states and pickles are never among it.
PUBLISHED = [
    "README.md",
    "*.json",
    "*.safetensors",
    CURVES,
    "evaluation/*.json",
    "evaluation/*.csv",
    "evaluation/*.png",
]
NOT_PUBLISHED = ["checkpoint-*", ".partial*"]


def check_access(hub_model_id: str | None, token: str | None = None, private: bool = False) -> None:
    """Makes sure, before hours of training, that the push at its end can work. Raises InputError."""
    if not hub_model_id:
        raise InputError("--push_to_hub needs --hub_model_id owner/name")
    publishing.check_access("model", hub_model_id, private, token)


def publish(run: Path, hub_model_id: str, private: bool = False, token: str | None = None) -> str:
    """Writes the card for `hub_model_id`, pushes model, processor, card and evaluation in one commit.

    Returns the repository's address. Raises InputError where that fails; a repeated push completes what is missing.
    """
    again = f"{run} is as it was; repeat: python -m model_card {run} --push_to_hub --hub_model_id {hub_model_id}"
    publishing.check_access("model", hub_model_id, private, token, again)
    write_card(run, hub_model_id)
    return publishing.push_folder(
        "model",
        hub_model_id,
        run,
        PUBLISHED,
        "Model, card and evaluation",
        private=private,
        token=token,
        leave_out=NOT_PUBLISHED,
        what_next=again,
    )
