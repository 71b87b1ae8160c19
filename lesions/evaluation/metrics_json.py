"""metrics.json: every figure of an evaluation, each with its interval and its n."""

from __future__ import annotations

from typing import Any

from lesions.evaluation.calibration import describe_calibration
from lesions.evaluation.cohort import describe_cohort
from lesions.evaluation.operating_points import PREVALENCE, measure_operating_points
from lesions.evaluation.selective import measure_selective
from lesions.evaluation.subgroups import measure_gaps, measure_subgroups
from lesions.metrics.intervals import LEVEL, RESAMPLES, RULE, recall_intervals
from lesions.metrics.measured import Measured
from lesions.metrics.scores import LesionMetrics


def build_report(
    about: dict[str, Any], measured: Measured, record: dict[str, Any] | None, prevalence: float = PREVALENCE
) -> dict[str, Any]:
    """The content of metrics.json. `record` is the run's training.json, where the model has one: it holds what
    training folded into the head, and the operating points.

    A figure that can't be computed is None, with a reason beside it.
    """
    plain = LesionMetrics().compute(predictions=measured.probabilities, references=measured.truth)
    record = record or {}
    return {
        **about,
        **measured.counts(),
        "interval": {
            "level": LEVEL,
            "method": f"percentile bootstrap over {'lesions' if measured.n_lesions else 'images'}",
            "resamples": RESAMPLES,
            "absent_diagnoses": RULE,
        },
        "metrics": measured.figures(),
        "per_class": _by_class(plain["per_class"], measured),
        "confusion_matrix": {"labels": measured.labels, "counts": plain["confusion"]},
        "calibration": describe_calibration(measured, record.get("decision")),
        "operating_points": measure_operating_points(record.get("operating_points") or [], measured, prevalence),
        "selective": measure_selective(measured),
        "cohort": describe_cohort(measured),
        "subgroups": measure_subgroups(measured),
        "gaps": measure_gaps(measured),
    }


def _by_class(per_class: dict[str, list], measured: Measured) -> dict[str, dict[str, Any]]:
    why = {"precision": "never predicted", "specificity": "every image has this diagnosis"}
    intervals = recall_intervals(measured.probabilities, measured.truth, measured.lesions)
    result: dict[str, dict[str, Any]] = {}
    for number, label in enumerate(measured.labels):
        row = {name: values[number] for name, values in per_class.items()}
        missing = [name for name, value in row.items() if value is None]
        if missing:
            default = "no image of this diagnosis" if not row["support"] else "every image has this diagnosis"
            row["reasons"] = {name: why.get(name, default) for name in missing}
        row["recall_interval"] = list(intervals[number])
        result[label] = row
    return result
