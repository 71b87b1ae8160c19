"""The metrics of a classifier of lesions: an `evaluate.Metric` that computes them through scikit-learn."""

from __future__ import annotations

from typing import Any

import datasets
import evaluate
import numpy as np
from numpy.typing import NDArray
from sklearn import metrics as sk

from lesions.metrics.names import HEADLINE
from lesions.metrics.probabilities import decide, softmax

Array = NDArray[np.float64]

ECE_BINS = 15


def headline(logits: Array, labels: NDArray[np.int64]) -> dict[str, float]:
    """The headline metrics of logits (n, classes) and label numbers (n,)."""
    measured = LesionMetrics().compute(predictions=softmax(logits), references=labels)
    return {name: measured[name] for name in HEADLINE}


class LesionMetrics(evaluate.Metric):
    """Every figure of `metrics.json` but the intervals, from probabilities and labels.

    `compute(predictions=..., references=...)` takes probabilities of shape (n, classes), rows that sum to one, and
    label numbers of shape (n,). Macro figures are means over the classes that have a case; a figure that has no
    value at all is None.
    """

    def _info(self) -> evaluate.MetricInfo:
        return evaluate.MetricInfo(
            description=self.__doc__,
            citation="",
            inputs_description="predictions: probabilities a class; references: label numbers",
            features=datasets.Features(
                {"predictions": datasets.List(datasets.Value("float64")), "references": datasets.Value("int64")}
            ),
        )

    def _compute(self, predictions: Any, references: Any) -> dict[str, Any]:
        return measure(np.asarray(predictions, dtype=np.float64), np.asarray(references, dtype=np.int64))


def measure(probabilities: Array, labels: NDArray[np.int64]) -> dict[str, Any]:
    """The headline metrics, `per_class` (a dict of lists in label order) and `confusion`: rows are the truth, and an
    undecided image is in none of the columns."""
    classes = np.arange(probabilities.shape[1])
    decided = decide(probabilities)
    present = [c for c in classes if (labels == c).any()]
    confusion = sk.confusion_matrix(labels, decided, labels=classes)
    per_class = _measure_classes(probabilities, labels, confusion)

    def macro(name: str) -> float | None:
        values = [per_class[name][c] for c in present if per_class[name][c] is not None]
        return float(np.mean(values)) if values else None

    return {
        "accuracy": float(sk.accuracy_score(labels, decided)),
        "balanced_accuracy": macro("recall"),
        "f1_macro": macro("f1"),
        "f1_weighted": float(sk.f1_score(labels, decided, labels=classes, average="weighted", zero_division=0)),
        "roc_auc_macro": macro("roc_auc"),
        "average_precision_macro": macro("average_precision"),
        "log_loss": float(sk.log_loss(labels, probabilities, labels=classes)),
        # The sum over classes, in [0, 2], as Brier (1950) defined it.
        "brier": float(sk.brier_score_loss(labels, probabilities, labels=classes, scale_by_half=False)),
        "ece": expected_calibration_error(probabilities, labels),
        "per_class": per_class,
        "confusion": confusion.tolist(),
    }


def _measure_classes(probabilities: Array, labels: NDArray[np.int64], confusion: NDArray[np.int64]) -> dict[str, list]:
    hits, calls = np.diag(confusion), confusion.sum(axis=0)
    cases = np.bincount(labels, minlength=len(hits))  # not the sum of the row, which lacks undecided ones
    others, n = len(labels) - cases, len(labels)

    def ratio(parts: NDArray, wholes: NDArray) -> list[float | None]:
        return [float(part / whole) if whole else None for part, whole in zip(parts, wholes, strict=True)]

    scores = [(labels == c, probabilities[:, c]) for c in range(len(cases))]
    both = [0 < count < n for count in cases]
    return {
        "support": cases.tolist(),
        "precision": ratio(hits, calls),
        "recall": ratio(hits, cases),
        "specificity": ratio(others - (calls - hits), others),
        "f1": ratio(2 * hits, cases + calls),
        "roc_auc": [float(sk.roc_auc_score(*score)) if ok else None for score, ok in zip(scores, both, strict=True)],
        "average_precision": [
            float(sk.average_precision_score(*score)) if count else None
            for score, count in zip(scores, cases, strict=True)
        ],
    }


def calibration_bins(probabilities: Array) -> NDArray[np.int64]:
    """The bin of each image's top probability, of 15 bins of equal width over (0, 1]."""
    return np.clip(np.ceil(probabilities.max(axis=1) * ECE_BINS).astype(np.int64) - 1, 0, ECE_BINS - 1)


def expected_calibration_error(probabilities: Array, labels: NDArray[np.int64]) -> float:
    """ECE of the top class with 15 bins of equal width (Guo et al. 2017, eq. 3)."""
    gap = (decide(probabilities) == labels) - probabilities.max(axis=1)
    return float(np.abs(np.bincount(calibration_bins(probabilities), weights=gap, minlength=ECE_BINS)).sum() / len(gap))
