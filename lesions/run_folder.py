"""The run folder's record of what was trained, and what other stages refuse because of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lesions.faults import Faults, InputError
from lesions.output.files import read_json, sha256_of

RECORD, CURVES, FAMILIARITY = "training.json", "training_curves.png", "familiarity.safetensors"
WEIGHTS = "model*.safetensors"
EVALUATION, METRICS_FILE = "evaluation", "metrics.json"  # the folder of results, and the file that holds them


def record_of(folder: Path) -> dict[str, Any] | None:
    """The record of the run that made the model in `folder`; None if train.py did not make it.

    Raises InputError if it is not a record that train.py wrote.
    """
    path = folder / RECORD
    if not path.is_file():
        return None
    record = read_json(path)
    needed = ("status", "dataset", "dataset_fingerprint", "settings", "base_model")
    parts = [record, *(record.get(name) for name in ("dataset", "settings"))] if isinstance(record, dict) else [None]
    if not all(isinstance(part, dict) for part in parts) or not set(needed) <= set(record):
        raise InputError(f"{path} is not a record of train.py; write it again, or remove it")
    return record


def check_split(records: dict[str, dict[str, Any] | None], title: str, fingerprint: str) -> None:
    """Raises InputError for each model, by name, that was trained on a different split of the data set `title`.

    It may have seen the images that are validation and test here.
    """
    faults = Faults()
    for name, record in records.items():
        if record and record["dataset"]["title"] == title and record["dataset_fingerprint"] != fingerprint:
            faults.add(f"model that was trained on a different split of {title} and may have seen these images", name)
    faults.raise_if_any("use the data set that it was trained on, or train it again on this one")


def weights_of(folder: Path) -> str:
    """The sha256 of the weights in `folder`, to which metrics are bound."""
    return sha256_of(sorted(folder.glob(WEIGHTS)))
