"""The parts of metrics.json, as `lesions.report.reading` makes sure of them."""

from __future__ import annotations

from typing import Annotated, Any, Literal, NotRequired

from pydantic import AfterValidator, Field
from typing_extensions import TypedDict  # pydantic takes no other before Python 3.12

from lesions.metrics.names import METRICS
from lesions.output.files import Number


def _has_both_ends(metric: dict[str, Any]) -> dict[str, Any]:
    if (metric["low"] is None) != (metric["high"] is None):
        raise ValueError("an interval has two ends")
    return metric


def _is_metric(name: str) -> str:
    if name not in METRICS:
        raise ValueError("not the name of a metric")
    return name


class Interval(TypedDict):
    value: Number | None
    low: Number | None
    high: Number | None
    reason: NotRequired[str]
    note: NotRequired[str]


Metric = Annotated[Interval, AfterValidator(_has_both_ends)]
Metrics = dict[Annotated[str, AfterValidator(_is_metric)], Metric]


class Diagnosis(TypedDict):
    """Of each label: the metrics of PER_CLASS."""

    support: int
    precision: Number | None
    recall: Number | None
    specificity: Number | None
    f1: Number | None
    roc_auc: Number | None
    average_precision: Number | None
    recall_interval: Annotated[list[Number | None], Field(min_length=2, max_length=2)]


class Counted(TypedDict):
    n_images: int
    n_lesions: int | None


class Answers(TypedDict):
    accuracy: Metric
    balanced_accuracy: Metric


class Group(Counted, Answers): ...


class Ages(TypedDict):
    median: Number | None
    quartiles: Annotated[list[Number | None], Field(min_length=2, max_length=2)]


class People(Counted):
    age: NotRequired[Ages]
    sex: NotRequired[dict[str, int]]
    confirmed_by: NotRequired[dict[str, int]]
    site: NotRequired[dict[str, int]]


class Cohort(TypedDict):
    all: People
    by_diagnosis: dict[str, People]


class Gap(Interval):
    subgroup: str
    n_images: int


class Bin(TypedDict):
    low: Number
    high: Number
    n_images: int
    accuracy: Number


class Calibration(TypedDict):
    binning: str
    bins: list[Bin]
    without_decision: Metrics | None


class Point(TypedDict):
    target: Literal["melanoma", "malignant"]
    labels: NotRequired[list[str]]
    aim: str
    level: Number
    threshold: Number
    n_cases: int
    n_images: int
    prevalence: Number
    sensitivity: Metric
    specificity: Metric
    ppv: Metric
    npv: Metric


class Answered(Answers):
    coverage: Number
    n_images: int
    n_classes: int


class Covered(TypedDict):
    guarantee: Number | None
    n_lesions: int
    coverage: Metric | None


class CoveredGroup(Counted):
    coverage: Metric
    mean_size: Metric


class Sets(TypedDict):
    level: Number
    guaranteed: bool
    coverage: Metric
    mean_size: Metric
    single: Metric
    by_diagnosis: dict[str, Covered]
    subgroups: dict[str, dict[str, CoveredGroup]]


class Unfamiliar(TypedDict):
    accepted: Number
    n_refused: int
    refused: Metric
    by_diagnosis: dict[str, Metric | None]
    accuracy: dict[Literal["accepted", "refused"], Metric | None]


class Views(TypedDict):
    views: str
    n_views: int
    cost: Number
    metrics: Metrics
    gain: Metrics


class ByLesion(TypedDict):
    n_lesions: int
    n_with_several: int
    metrics: Metrics


class Strength(Answers):
    strength: Number


class Change(TypedDict):
    unit: str
    strengths: list[Strength]


class Robustness(Counted):
    unchanged: Answers
    changes: dict[str, Change]


class Deleted(TypedDict):
    deleted_share: Number
    map: Metric
    center: Metric
    random: Metric
    advantage: Metric


class Maps(TypedDict):
    n_images: int
    shares: NotRequired[list[Deleted]]
