"""metrics.json as a file that comes from somewhere: what the card, the comparison and the page rely on.

Keys that are not named here are allowed; those that earlier versions did not write may be absent.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, NotRequired

from pydantic import AfterValidator
from typing_extensions import TypedDict

from lesions.metrics.names import METRICS
from lesions.output.files import Number, read_json
from lesions.report.forms import (
    Answered,
    ByLesion,
    Calibration,
    Cohort,
    Counted,
    Diagnosis,
    Gap,
    Group,
    Maps,
    Metrics,
    Point,
    Robustness,
    Sets,
    Unfamiliar,
    Views,
)


class Resampling(TypedDict):
    level: Number
    method: str
    resamples: int
    absent_diagnoses: str


class Confusion(TypedDict):
    labels: list[str]
    counts: list[list[int]]


class Content(Counted):
    model: str
    weights_sha256: NotRequired[str]
    dataset: str
    split: str | None
    dataset_revision: str | None
    dataset_fingerprint: str | None
    interval: Resampling
    metrics: Metrics
    per_class: dict[str, Diagnosis]
    confusion_matrix: Confusion
    calibration: Calibration
    malignant: NotRequired[list[str] | None]
    operating_points: list[Point]
    prediction_sets: NotRequired[list[Sets]]
    unfamiliar: NotRequired[Unfamiliar | None]
    selective: list[Answered]
    cohort: Cohort
    subgroups: dict[str, dict[str, Group]]
    gaps: dict[str, Gap]
    test_time_augmentation: NotRequired[Views]
    by_lesion: NotRequired[ByLesion]
    robustness: NotRequired[Robustness]
    maps: NotRequired[Maps]


def _agrees_with_itself(report: dict[str, Any]) -> dict[str, Any]:
    """Makes sure that every part is about the same labels, and every table of metrics about known metrics."""
    labels, counts = report["confusion_matrix"]["labels"], report["confusion_matrix"]["counts"]
    by_label = [report["per_class"], *(sets["by_diagnosis"] for sets in report.get("prediction_sets", []))]
    some_labels = [report["cohort"]["by_diagnosis"], (report.get("unfamiliar") or {}).get("by_diagnosis", {})]
    if any(set(part) != set(labels) for part in by_label) or any(not set(part) <= set(labels) for part in some_labels):
        raise ValueError("its parts are about different labels")
    cohort = report["cohort"]
    if any(set(part) != set(cohort["all"]) for part in cohort["by_diagnosis"].values()):
        raise ValueError("its cohort says other things of some diagnoses")
    if [len(row) for row in counts] != [len(labels)] * len(labels):
        raise ValueError("its confusion matrix does not have a row and a column for each label")
    if set(report["metrics"]) != set(METRICS):
        raise ValueError(f"its metrics are not {', '.join(METRICS)}")
    return report


class Compared(TypedDict):
    model: str
    weights_sha256: NotRequired[str | None]
    differences: Metrics


class First(TypedDict):
    model: str
    metrics: Metrics


class Comparison(Counted):
    split: str | None
    first: First
    compared: list[Compared]


Report = Annotated[Content, AfterValidator(_agrees_with_itself)]


def read_report(path: Path) -> dict[str, Any]:
    """The content of metrics.json. Raises InputError, which names every place that is not as evaluate_model.py writes
    it."""
    return read_json(path, Report, "what evaluate_model.py writes; measure the run again, or remove it")


def read_comparison(path: Path) -> dict[str, Any]:
    """The content of comparison.json. Raises InputError, which names every place that is not as evaluate_model.py
    writes it."""
    return read_json(path, Comparison, "what evaluate_model.py --compare writes; compare again, or remove it")
