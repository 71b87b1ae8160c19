"""The run folder's record of what was trained, and what other stages refuse because of it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, NotRequired

from pydantic import Field
from typing_extensions import TypedDict  # pydantic takes no other before Python 3.12

from lesions.faults import Faults, InputError
from lesions.output.files import Number, read_json, sha256_of
from lesions.output.plain_text import in_short

RECORD, CURVES, FAMILIARITY = "training.json", "training_curves.png", "familiarity.safetensors"
WEIGHTS = "model*.safetensors"
EVALUATION, METRICS_FILE = "evaluation", "metrics.json"  # the folder of results, and the file that holds them


class Data(TypedDict):
    name: str
    title: str
    drawn: bool


class Decision(TypedDict):
    temperature: Annotated[Number, Field(gt=0)]
    bias: list[Number]


class Reached(TypedDict):
    sensitivity: Number
    specificity: Number


class Point(TypedDict):
    target: Literal["melanoma", "malignant"]
    labels: NotRequired[list[str]]
    aim: Literal["sensitivity", "specificity"]
    level: Number
    threshold: Number
    validation: Reached


class Threshold(TypedDict):
    threshold: Number
    guarantee: Number | None
    n_lesions: int


class Sets(TypedDict):
    level: Number
    by_diagnosis: dict[str, Threshold]


class Familiar(TypedDict):
    accepted: Number
    threshold: Number


class Record(TypedDict):
    """What every stage relies on. The rest is for the model card; see `model_card.record`."""

    status: str
    dataset: Data
    dataset_fingerprint: str
    settings: dict[str, Any]
    base_model: str | None
    weights_sha256: NotRequired[str]  # of a finished run
    malignant: NotRequired[list[str] | None]
    decision: NotRequired[Decision | None]
    operating_points: NotRequired[list[Point] | None]
    prediction_sets: NotRequired[list[Sets] | None]
    familiarity: NotRequired[Familiar | None]


def record_of(folder: Path, labels: Sequence[str] | None = None) -> dict[str, Any] | None:
    """The record of the run that made the model in `folder`; None if train.py did not make it.

    With `labels`, those of the model, it must be about these, and about the weights that lie there now: thresholds hold
    for no others. Raises InputError if it is not a record that train.py wrote.
    """
    path = folder / RECORD
    if not path.exists():
        return None
    record = read_json(path, Record, "a record of train.py; write it again, or remove it")
    if labels is not None:
        parts = [sets["by_diagnosis"] for sets in record.get("prediction_sets") or []]
        some = [point.get("labels", []) for point in record.get("operating_points") or []]
        bias = (record.get("decision") or {}).get("bias", labels)
        known = all(set(part) <= set(labels) for part in [*some, record.get("malignant") or []])
        if not known or any(set(part) != set(labels) for part in parts) or len(bias) != len(labels):
            raise InputError(f"{path} is about other labels than the model's {in_short(labels)}; remove it")
        if record.get("weights_sha256", weights := weights_of(folder)) != weights:
            raise InputError(f"{path} is about other weights than those that lie beside it now; remove it")
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


def check_unchanged(folder: Path, weights: str) -> None:
    """Raises InputError if `folder` holds other weights by now than `weights`, as that of a running training may."""
    if weights_of(folder) != weights:
        raise InputError(f"the weights in {folder} changed in the meantime; run the command again")
