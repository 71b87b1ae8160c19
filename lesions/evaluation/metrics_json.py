"""metrics.json: every metric of an evaluation, with its interval and its n."""

from __future__ import annotations

from typing import Any

from sklearn.metrics import confusion_matrix

from lesions.diagnoses import malignant_among
from lesions.evaluation.calibration import describe_calibration
from lesions.evaluation.cohort import describe_cohort
from lesions.evaluation.limits.coverage import measure_prediction_sets
from lesions.evaluation.operating_points import measure_operating_points
from lesions.evaluation.options import PREVALENCE
from lesions.evaluation.selective import measure_selective
from lesions.evaluation.subgroups import measure_gaps, measure_subgroups
from lesions.metrics.intervals import LEVEL, RESAMPLES, RULE, recall_intervals
from lesions.metrics.measured import Measured
from lesions.metrics.names import PER_CLASS
from lesions.metrics.probabilities import decide
from lesions.metrics.scores import LesionMetrics


def build_report(
    about: dict[str, Any],
    measured: Measured,
    record: dict[str, Any] | None,
    prevalence: float = PREVALENCE,
) -> dict[str, Any]:
    """The content of metrics.json. `record` is the run's training.json, where the model has one: it holds what
    training folded into the head, which labels are malignant, the operating points, and the thresholds of the
    prediction sets.

    A metric that can't be computed is None, with a reason beside it.
    """
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
        "metrics": measured.metrics(),
        "per_class": _by_class(measured),
        "confusion_matrix": {"labels": measured.labels, "counts": _confusion(measured)},
        "calibration": describe_calibration(measured, record.get("decision")),
        "malignant": malignant_among(measured.labels, record.get("malignant")),
        "operating_points": measure_operating_points(record.get("operating_points") or [], measured, prevalence),
        "prediction_sets": measure_prediction_sets(
            record.get("prediction_sets") or [],
            measured,
            guaranteed=about["split"] == "test" and about["dataset_fingerprint"] == record.get("dataset_fingerprint"),
        ),
        "selective": measure_selective(measured),
        "cohort": describe_cohort(measured),
        "subgroups": measure_subgroups(measured),
        "gaps": measure_gaps(measured),
    }


def _confusion(measured: Measured) -> list[list[int]]:
    """Rows are the truth, columns the decisions; an undecided image is in none of the columns."""
    numbers = range(len(measured.labels))
    return confusion_matrix(measured.truth, decide(measured.probabilities), labels=numbers).tolist()


def _by_class(measured: Measured) -> dict[str, dict[str, Any]]:
    why = {"precision": "never predicted", "specificity": "every image has this diagnosis"}
    answers = {"predictions": measured.probabilities, "references": measured.truth}
    per_class = LesionMetrics().compute(**answers, names=PER_CLASS)
    intervals = recall_intervals(measured.probabilities, measured.truth, measured.lesions)
    result: dict[str, dict[str, Any]] = {}
    for number, label in enumerate(measured.labels):
        row: dict[str, Any] = {"support": int((measured.truth == number).sum())}
        row |= {name: values[number] for name, values in per_class.items()}
        missing = [name for name, value in row.items() if value is None]
        if missing:
            default = "no image of this diagnosis" if not row["support"] else "every image has this diagnosis"
            row["reasons"] = {name: why.get(name, default) for name in missing}
        row["recall_interval"] = list(intervals[number])
        result[label] = row
    return result
