"""The run folder: its record of what was trained, and whether an interrupted run can be continued."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from lesions.faults import Faults
from lesions.files import read_json

if TYPE_CHECKING:
    pass

RECORD, CURVES = "training.json", "training_curves.png"


def record_of(folder: Path) -> dict[str, Any] | None:
    """The record of the run that made the model in `folder`; None where none of this program did."""
    return read_json(folder / RECORD) if (folder / RECORD).is_file() else None


def check_division(records: dict[str, dict[str, Any] | None], title: str, fingerprint: str) -> None:
    """Raises InputError where a model, by name, was trained on another division of the data set `title` than this one.

    It may have learnt from the images that are validation and test here.
    """
    faults = Faults()
    for name, record in records.items():
        if record and record["dataset"]["title"] == title and record["dataset_fingerprint"] != fingerprint:
            faults.add(f"model trained on another division of {title}, so it may know this test split", name)
    faults.raise_if_any("take the data set that it was trained on, or train it anew on this one")
