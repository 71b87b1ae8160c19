"""metrics.json: every figure of an evaluation, each headline metric with its interval."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from lesions.intervals import LEVEL, RESAMPLES, bootstrap_intervals
from lesions.metrics import HEADLINE, LesionMetrics

AGE_BANDS = {"under 40": (0, 40), "40 to 59": (40, 60), "60 and over": (60, 200)}  # years
SUBGROUP_METRICS = ("accuracy", "balanced_accuracy")


def build_report(
    about: dict[str, Any],
    probabilities: NDArray[np.float64],
    truth: NDArray[np.int64],
    labels: list[str],
    rows: pd.DataFrame,
) -> dict[str, Any]:
    """The content of metrics.json. `rows` has a row a picture: `image`, and where known `lesion_id`, `sex`, `age`.

    A figure that can't be computed is None, with a reason beside it.
    """
    measured = LesionMetrics().compute(predictions=probabilities, references=truth)
    # A picture of unknown lesion counts as a lesion of its own.
    lesions = rows["lesion_id"] if "lesion_id" in rows else rows["image"]
    return {
        **about,
        "n_images": len(truth),
        "n_lesions": int(lesions.nunique()) if "lesion_id" in rows else None,
        "interval": {
            "level": LEVEL,
            "method": "percentile bootstrap over lesions"
            if "lesion_id" in rows
            else "percentile bootstrap over pictures",
            "resamples": RESAMPLES,
        },
        "metrics": _with_intervals(measured, HEADLINE, probabilities, truth, lesions, labels),
        "per_class": _by_class(measured["per_class"], labels),
        "confusion_matrix": {"labels": labels, "counts": measured["confusion"]},
        "subgroups": _by_subgroup(probabilities, truth, lesions, rows, labels),
    }


def _with_intervals(
    measured: dict[str, Any],
    names: tuple[str, ...],
    probabilities: NDArray[np.float64],
    truth: NDArray[np.int64],
    lesions: pd.Series,
    labels: list[str],
) -> dict[str, dict[str, Any]]:
    absent = [label for label, support in zip(labels, measured["per_class"]["support"], strict=True) if not support]
    intervals = bootstrap_intervals(probabilities, truth, lesions.to_numpy())
    result: dict[str, dict[str, Any]] = {}
    for name in names:
        value = measured[name]
        low, high = intervals[name] if value is not None else (None, None)
        result[name] = {"value": value, "low": low, "high": high}
        if value is None:
            result[name]["reason"] = "every picture has the same diagnosis"
        elif absent and name not in ("accuracy", "log_loss", "brier", "ece", "f1_weighted"):
            result[name]["note"] = f"mean over the diagnoses that have a case; none of {', '.join(absent)}"
    return result


def _by_class(per_class: dict[str, list], labels: list[str]) -> dict[str, dict[str, Any]]:
    why = {"precision": "never predicted", "specificity": "every picture has this diagnosis"}
    result: dict[str, dict[str, Any]] = {}
    for number, label in enumerate(labels):
        row = {name: values[number] for name, values in per_class.items()}
        missing = [name for name, value in row.items() if value is None]
        if missing:
            default = "no picture of this diagnosis" if not row["support"] else "every picture has this diagnosis"
            row["reasons"] = {name: why.get(name, default) for name in missing}
        result[label] = row
    return result


def _by_subgroup(
    probabilities: NDArray[np.float64],
    truth: NDArray[np.int64],
    lesions: pd.Series,
    rows: pd.DataFrame,
    labels: list[str],
) -> dict[str, dict[str, Any]]:
    groups: dict[str, dict[str, pd.Series]] = {}
    if "sex" in rows:
        groups["sex"] = {sex: rows["sex"] == sex for sex in sorted(rows["sex"].unique())}
    if "age" in rows:
        groups["age"] = {band: rows["age"].between(low, high, "left") for band, (low, high) in AGE_BANDS.items()}
        groups["age"]["unknown"] = rows["age"].isna()
    result: dict[str, dict[str, Any]] = {}
    for kind, members in groups.items():
        for name, chosen in members.items():
            mask = chosen.to_numpy()
            if not mask.any():
                continue
            measured = LesionMetrics().compute(predictions=probabilities[mask], references=truth[mask])
            result.setdefault(kind, {})[name] = {
                "n_images": int(mask.sum()),
                "n_lesions": int(lesions[mask].nunique()),
                **_with_intervals(measured, SUBGROUP_METRICS, probabilities[mask], truth[mask], lesions[mask], labels),
            }
    return result


def print_report(report: dict[str, Any]) -> None:
    """Prints the headline metrics with their intervals, and the figures of each diagnosis."""
    lesions = f" of {report['n_lesions']} lesions" if report["n_lesions"] else ""
    print(f"\n{report['n_images']} pictures{lesions}; fingerprint {report['dataset_fingerprint'] or 'none'}")
    for name, figure in report["metrics"].items():
        value = "none: " + figure["reason"] if figure["value"] is None else "{value:.4f}  [{low:.4f}, {high:.4f}]"
        print(f"  {name:<24}{value.format(**figure)}")
    columns = ("recall", "precision", "specificity", "f1", "roc_auc")
    print(f"\n  {'diagnosis':<12}{'n':>6}" + "".join(f"{column:>13}" for column in columns))
    for label, row in report["per_class"].items():
        figures = "".join(f"{'-' if row[c] is None else format(row[c], '.3f'):>13}" for c in columns)
        print(f"  {label:<12}{row['support']:>6}{figures}")
