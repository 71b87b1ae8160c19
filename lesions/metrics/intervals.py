"""95 % intervals: a bootstrap over lesions, not images, all resamples at once."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lesions.metrics.names import HEADLINE
from lesions.metrics.probabilities import decide
from lesions.metrics.scores import ECE_BINS, calibration_bins

Array = NDArray[np.float64]

RESAMPLES = 2000
LEVEL = 0.95
RESAMPLES_AT_ONCE = 250  # bounds the memory: this many weights an image
RULE = (  # a class without a case in a resample
    "a diagnosis without a case in a resample is left out of that resample's macro means; a resample in which a "
    "figure has no value at all is left out of that figure's interval"
)


def resample(
    statistic: Callable[[Array], dict[str, Array]], lesions: NDArray, resamples: int = RESAMPLES, seed: int = 0
) -> dict[str, Array]:
    """The values, shape (resamples,), of each figure that `statistic` computes from weights (k, n), k at a time.

    Lesions are drawn with replacement, each with all its images: images of one lesion are no independent cases,
    and intervals over images would come out too narrow. An image's weight is how often its lesion was drawn.
    The same lesions and seed give the same draws, so that differences of two models are paired.
    """
    _, lesion_of = np.unique(lesions, return_inverse=True)
    times_drawn = _draw(int(lesion_of.max()) + 1, resamples, seed)
    parts: list[dict[str, Array]] = []
    for start in range(0, resamples, RESAMPLES_AT_ONCE):
        parts.append(statistic(times_drawn[start : start + RESAMPLES_AT_ONCE, lesion_of].astype(np.float64)))
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


@lru_cache(maxsize=8)  # an evaluation asks some forty times, mostly for those of the whole split
def _draw(count: int, resamples: int, seed: int) -> NDArray[np.int32]:
    """How often each of `count` lesions is drawn in each resample, shape (resamples, count)."""
    draws = np.random.default_rng(seed).multinomial(count, np.full(count, 1 / count), size=resamples)
    return draws.astype(np.int32)


def percentiles(values: Array) -> tuple[float, float] | tuple[None, None]:
    """The 95 % percentile interval of resampled values, NaN left out; (None, None) where all are NaN."""
    if np.isnan(values).all():
        return None, None
    low, high = np.nanquantile(values, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)


def estimate(statistic: Callable[[Array], dict[str, Array]], lesions: NDArray) -> dict[str, dict[str, Any]]:
    """Each figure of `statistic` as `{value, low, high}`: with all images once, and its interval over `lesions`."""
    intervals = {name: percentiles(values) for name, values in resample(statistic, lesions).items()}
    return {
        name: {"value": float(value[0]), "low": intervals[name][0], "high": intervals[name][1]}
        for name, value in statistic(np.ones((1, len(lesions)))).items()
    }


def bootstrap_intervals(
    probabilities: Array,
    labels: NDArray[np.int64],
    lesions: NDArray,
    names: Sequence[str] = HEADLINE,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> dict[str, tuple[float, float] | tuple[None, None]]:
    """Percentile intervals `{metric: (low, high)}` of the headline metrics `names`; see RULE for absent diagnoses.

    Args: probabilities of shape (n, classes), label numbers (n,), lesion ids (n,).
    """
    drawn = resample(lambda weights: weighted_metrics(probabilities, labels, weights, names), lesions, resamples, seed)
    return {name: percentiles(values) for name, values in drawn.items()}


def recall_intervals(
    probabilities: Array, labels: NDArray[np.int64], lesions: NDArray
) -> list[tuple[float, float] | tuple[None, None]]:
    """The interval of each diagnosis's recall at the plain decision, in label order."""
    right = (decide(probabilities) == labels).astype(np.float64)
    cases = np.eye(probabilities.shape[1])[labels]

    def recalls(weights: Array) -> dict[str, Array]:
        with np.errstate(invalid="ignore"):
            values = (weights @ (cases * right[:, None])) / (weights @ cases)
        return {str(number): column for number, column in enumerate(values.T)}

    return [percentiles(values) for values in resample(recalls, lesions).values()]


def weighted_metrics(
    probabilities: Array, labels: NDArray[np.int64], weights: Array, names: Sequence[str] = HEADLINE
) -> dict[str, Array]:
    """The headline metrics `names` under each row of `weights`, shape (resamples, n); values of shape (resamples,).

    With scikit-learn, the same takes one call a metric, class and resample: minutes instead of seconds. A test
    holds the two equal.
    """
    classes = probabilities.shape[1]
    total = weights.sum(axis=1)
    decided, truth = decide(probabilities), np.eye(classes)[labels]
    called = (decided[:, None] == np.arange(classes)).astype(np.float64)
    hits, cases, calls = weights @ (truth * called), weights @ truth, weights @ called
    own = np.clip(probabilities[np.arange(len(labels)), labels], np.finfo(np.float64).eps, 1)
    ranked = np.empty((classes, 2, 0))
    if {"roc_auc_macro", "average_precision_macro"} & set(names):
        ranked = np.array([_ranking_metrics(probabilities[:, c], truth[:, c], weights) for c in range(classes)])
    with np.errstate(invalid="ignore", divide="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # nanmean of a resample in which no class has a value
        f1 = np.where(cases > 0, 2 * hits / (cases + calls), np.nan)
        compute: dict[str, Callable[[], Array]] = {
            "accuracy": lambda: hits.sum(axis=1) / total,
            "balanced_accuracy": lambda: np.nanmean(hits / cases, axis=1),
            "f1_macro": lambda: np.nanmean(f1, axis=1),
            "f1_weighted": lambda: np.nansum(f1 * cases, axis=1) / total,
            "roc_auc_macro": lambda: np.nanmean(ranked[:, 0], axis=0),
            "average_precision_macro": lambda: np.nanmean(ranked[:, 1], axis=0),
            "log_loss": lambda: weights @ -np.log(own) / total,
            "brier": lambda: weights @ ((probabilities - truth) ** 2).sum(axis=1) / total,
            "ece": lambda: _weighted_ece(probabilities, decided == labels, weights) / total,
        }
        return {name: compute[name]() for name in names}


def _weighted_ece(probabilities: Array, right: NDArray[np.bool_], weights: Array) -> Array:
    in_bin = np.eye(ECE_BINS)[calibration_bins(probabilities)]
    gap = right - probabilities.max(axis=1)
    return np.abs(weights @ (in_bin * gap[:, None])).sum(axis=1)


def _ranking_metrics(scores: Array, truth: Array, weights: Array) -> tuple[Array, Array]:
    """Area under the ROC curve and average precision of one class; NaN where a resample lacks cases or controls.

    Equal scores form one threshold, as in scikit-learn: half of their pairs count as ranked right.
    """
    order = np.argsort(-scores, kind="stable")
    thresholds = np.flatnonzero(np.r_[True, np.diff(scores[order]) != 0])
    cases = np.add.reduceat(weights[:, order] * truth[order], thresholds, axis=1)
    controls = np.add.reduceat(weights[:, order] * (1 - truth[order]), thresholds, axis=1)
    cases_above, controls_above = cases.cumsum(axis=1), controls.cumsum(axis=1)
    n_cases, n_controls = cases_above[:, -1], controls_above[:, -1]
    with np.errstate(invalid="ignore", divide="ignore"):
        wrongly_ranked = (cases * (controls_above - controls / 2)).sum(axis=1)
        precision = np.nan_to_num(cases_above / (cases_above + controls_above))
        return 1 - wrongly_ranked / (n_cases * n_controls), (cases * precision).sum(axis=1) / n_cases
