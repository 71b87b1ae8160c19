"""The one definition of every metric, with weights: weights of one give the value, resampled weights its interval.

scikit-learn needs one call for each metric, class and resample: minutes instead of seconds. The tests hold the two
equal.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from functools import cached_property
from typing import Any

import datasets
import evaluate
import numpy as np
from numpy.typing import NDArray

from lesions.arrays import Array, Numbers
from lesions.metrics.names import HEADLINE
from lesions.metrics.probabilities import decide, softmax

ECE_BINS = 15


class LesionMetrics(evaluate.Metric):
    """The metrics of a classifier of lesions, for the Trainer and for the evaluation.

    `compute(predictions=..., references=..., names=...)` takes probabilities of shape (n, classes), rows that sum to
    one, and label numbers of shape (n,); `names` are keys of METRICS or of PER_CLASS, by default the headline metrics.
    It returns a number for each of METRICS, and a list in label order for each of PER_CLASS. Macro metrics are means
    over the classes that have a case. A metric that has no value is None.
    """

    def __init__(self) -> None:
        # In memory: a cache that is full or can't be written to would lose hours of work, at their end.
        super().__init__(keep_in_memory=True, cache_dir=tempfile.gettempdir())

    def _info(self) -> evaluate.MetricInfo:
        return evaluate.MetricInfo(
            description=self.__doc__,
            citation="",
            inputs_description="predictions: probability of each class; references: label numbers",
            features=datasets.Features(
                {"predictions": datasets.List(datasets.Value("float64")), "references": datasets.Value("int64")}
            ),
        )

    def _compute(self, predictions: Any, references: Any, names: Sequence[str] = HEADLINE) -> dict[str, Any]:
        probabilities, truth = np.asarray(predictions, np.float64), np.asarray(references, np.int64)
        values = weighted_metrics(probabilities, truth, np.ones((1, len(truth))), names)
        return {name: _without_nan(value[0].tolist()) for name, value in values.items()}


def headline(logits: Array, truth: Numbers) -> dict[str, float]:
    """The headline metrics of logits (n, classes) and label numbers (n,)."""
    return LesionMetrics().compute(predictions=softmax(logits), references=truth)


def weighted_metrics(
    probabilities: Array, truth: Numbers, weights: Array, names: Sequence[str] = HEADLINE
) -> dict[str, Array]:
    """The metrics `names` of probabilities (n, classes) and label numbers (n,), under each row of weights (k, n).

    A metric of METRICS has the shape (k,), one of PER_CLASS (k, classes). Without a value it is NaN.
    """
    weighted = Weighted(probabilities, truth, weights)
    return {name: getattr(weighted, name) for name in names}


class Weighted:
    """Metrics under k rows of weights, each computed when it is asked for. Their names are those of names.py."""

    def __init__(self, probabilities: Array, truth: Numbers, weights: Array) -> None:
        self.probabilities, self.weights, self.decided = probabilities, weights, decide(probabilities)
        self.classes = np.arange(probabilities.shape[1])
        self.is_case = (truth[:, None] == self.classes).astype(np.float64)
        self.right = self.decided == truth

    # Sums of weights: of all images, (k,), and of each class, (k, classes).

    @cached_property
    def total(self) -> Array:
        return self.weights.sum(axis=1)

    @cached_property
    def cases(self) -> Array:
        return self.weights @ self.is_case

    @cached_property
    def calls(self) -> Array:
        return self.weights @ (self.decided[:, None] == self.classes).astype(np.float64)

    @cached_property
    def hits(self) -> Array:
        return self.weights @ (self.is_case * self.right[:, None])

    # Metrics of each class, (k, classes).

    @property
    def precision(self) -> Array:
        return _ratio(self.hits, self.calls)

    @property
    def recall(self) -> Array:
        return _ratio(self.hits, self.cases)

    @property
    def specificity(self) -> Array:
        controls = self.total[:, None] - self.cases
        return _ratio(controls - (self.calls - self.hits), controls)

    @property
    def f1(self) -> Array:
        return _ratio(2 * self.hits, self.cases + self.calls)

    @property
    def roc_auc(self) -> Array:
        return self._ranked[0]

    @property
    def average_precision(self) -> Array:
        return self._ranked[1]

    @cached_property
    def _ranked(self) -> tuple[Array, Array]:
        """Area under the ROC curve and average precision of each class.

        Equal scores form one threshold, as in scikit-learn: half of their pairs count as ranked right.
        """
        areas, precisions = [], []
        for scores, is_case in zip(self.probabilities.T, self.is_case.T, strict=True):
            order = np.argsort(-scores, kind="stable")
            thresholds = np.flatnonzero(np.r_[True, np.diff(scores[order]) != 0])
            every = np.add.reduceat(self.weights[:, order], thresholds, axis=1)
            cases = np.add.reduceat(self.weights[:, order] * is_case[order], thresholds, axis=1)
            above, cases_above = every.cumsum(axis=1), cases.cumsum(axis=1)
            controls, controls_above = every - cases, above - cases_above
            wrongly_ranked = (cases * (controls_above - controls / 2)).sum(axis=1)
            areas.append(1 - _ratio(wrongly_ranked, cases_above[:, -1] * controls_above[:, -1]))
            precision = np.divide(cases_above, above, out=np.zeros_like(above), where=above > 0)
            precisions.append(_ratio((cases * precision).sum(axis=1), cases_above[:, -1]))
        return np.stack(areas, axis=1), np.stack(precisions, axis=1)

    # Headline metrics, (k,).

    @property
    def accuracy(self) -> Array:
        return self._mean(self.right)

    @property
    def balanced_accuracy(self) -> Array:
        return self._macro(self.recall)

    @property
    def f1_macro(self) -> Array:
        return self._macro(self.f1)

    @property
    def f1_weighted(self) -> Array:
        return _ratio(np.nansum(self.f1 * self.cases, axis=1), self.total)

    @property
    def roc_auc_macro(self) -> Array:
        return self._macro(self.roc_auc)

    @property
    def average_precision_macro(self) -> Array:
        return self._macro(self.average_precision)

    @property
    def log_loss(self) -> Array:
        own = (self.probabilities * self.is_case).sum(axis=1)
        return self._mean(-np.log(np.clip(own, np.finfo(np.float64).eps, 1)))

    @property
    def brier(self) -> Array:
        """The sum over classes, in [0, 2], as Brier (1950) defined it."""
        return self._mean(((self.probabilities - self.is_case) ** 2).sum(axis=1))

    @property
    def ece(self) -> Array:
        """ECE of the top class with 15 bins of equal width (Guo et al. 2017, eq. 3)."""
        in_bin = np.eye(ECE_BINS)[calibration_bins(self.probabilities)]
        gap = self.right - self.probabilities.max(axis=1)
        return _ratio(np.abs(self.weights @ (in_bin * gap[:, None])).sum(axis=1), self.total)

    def _mean(self, of_each_image: NDArray) -> Array:
        return _ratio(self.weights @ of_each_image, self.total)

    def _macro(self, of_each_class: Array) -> Array:
        """The mean over the classes that have a case and a value."""
        counted = (self.cases > 0) & ~np.isnan(of_each_class)
        return _ratio(np.where(counted, of_each_class, 0).sum(axis=1), counted.sum(axis=1))


def calibration_bins(probabilities: Array) -> Numbers:
    """The bin of each image's top probability, of 15 bins of equal width over (0, 1]."""
    return np.clip(np.ceil(probabilities.max(axis=1) * ECE_BINS).astype(np.int64) - 1, 0, ECE_BINS - 1)


def _ratio(part: NDArray, whole: NDArray) -> Array:
    return np.divide(part, whole, out=np.full(np.shape(part), np.nan), where=whole > 0)


def _without_nan(value: Any) -> Any:
    if isinstance(value, list):
        return [_without_nan(each) for each in value]
    return None if np.isnan(value) else value
