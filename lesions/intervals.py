"""95 % intervals of the headline metrics: a bootstrap over lesions, not pictures, all resamples at once."""

from __future__ import annotations

import warnings

import numpy as np
from numpy.typing import NDArray

from lesions.metrics import ECE_BINS, HEADLINE, calibration_bins

Array = NDArray[np.float64]

RESAMPLES = 2000
LEVEL = 0.95
RESAMPLES_AT_ONCE = 250  # bounds the memory: this many weights a picture


def bootstrap_intervals(
    probabilities: Array, labels: NDArray[np.int64], lesions: NDArray, resamples: int = RESAMPLES, seed: int = 0
) -> dict[str, tuple[float, float]]:
    """Percentile intervals `{metric: (low, high)}` of every headline metric.

    Lesions are drawn with replacement, each with all its pictures: pictures of one lesion are no independent cases,
    and intervals over pictures would come out too narrow. A class without a case in a resample is left out of that
    resample's macro means, as it is left out of the figure itself where the split holds none.

    Args: probabilities of shape (n, classes), label numbers (n,), lesion ids (n,).
    """
    random = np.random.default_rng(seed)
    _, lesion_of = np.unique(lesions, return_inverse=True)
    count = lesion_of.max() + 1
    drawn: list[dict[str, Array]] = []
    for start in range(0, resamples, RESAMPLES_AT_ONCE):
        size = min(RESAMPLES_AT_ONCE, resamples - start)
        times_drawn = random.multinomial(count, np.full(count, 1 / count), size=size)
        drawn.append(weighted_metrics(probabilities, labels, times_drawn[:, lesion_of].astype(np.float64)))
    tails = [(1 - LEVEL) / 2, (1 + LEVEL) / 2]
    values = {name: np.concatenate([part[name] for part in drawn]) for name in HEADLINE}
    quantiles = {name: np.nanquantile(resampled, tails) for name, resampled in values.items()}
    return {name: (float(low), float(high)) for name, (low, high) in quantiles.items()}


def weighted_metrics(probabilities: Array, labels: NDArray[np.int64], weights: Array) -> dict[str, Array]:
    """The headline metrics under each row of `weights`, shape (resamples, n); values of shape (resamples,).

    With scikit-learn, the same takes one call a metric, class and resample: minutes instead of seconds. A test
    holds the two equal.
    """
    classes = probabilities.shape[1]
    total = weights.sum(axis=1)
    decided = probabilities.argmax(axis=1)
    cells = np.eye(classes * classes)[labels * classes + decided]
    confusion = (weights @ cells).reshape(-1, classes, classes)
    hits, cases, calls = confusion.diagonal(axis1=1, axis2=2), confusion.sum(axis=2), confusion.sum(axis=1)

    truth = np.eye(classes)[labels]
    ranked = [_ranking_metrics(probabilities[:, c], truth[:, c], weights) for c in range(classes)]
    with np.errstate(invalid="ignore", divide="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # nanmean of a resample in which no class has a value
        f1 = np.where(cases > 0, 2 * hits / (cases + calls), np.nan)
        own = np.clip(probabilities[np.arange(len(labels)), labels], np.finfo(np.float64).eps, 1)
        return {
            "accuracy": hits.sum(axis=1) / total,
            "balanced_accuracy": np.nanmean(hits / cases, axis=1),
            "f1_macro": np.nanmean(f1, axis=1),
            "f1_weighted": np.nansum(f1 * cases, axis=1) / total,
            "roc_auc_macro": np.nanmean([auc for auc, _ in ranked], axis=0),
            "average_precision_macro": np.nanmean([precision for _, precision in ranked], axis=0),
            "log_loss": weights @ -np.log(own) / total,
            "brier": weights @ ((probabilities - truth) ** 2).sum(axis=1) / total,
            "ece": _weighted_ece(probabilities, decided == labels, weights) / total,
        }


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
