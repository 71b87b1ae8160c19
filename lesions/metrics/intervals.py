"""95 % intervals: a bootstrap over lesions, not images, all resamples at once."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from functools import lru_cache
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from lesions.arrays import Array, Numbers
from lesions.metrics.names import HEADLINE
from lesions.metrics.scores import Weighted, weighted_metrics

Name = TypeVar("Name", bound=Hashable)

RESAMPLES = 2000
LEVEL = 0.95
RESAMPLES_AT_ONCE = 250  # bounds the memory: this many weights an image
RULE = (  # a class without a case in a resample
    "a diagnosis without a case in a resample is left out of that resample's macro means; a resample in which a "
    "metric has no value is left out of that metric's interval"
)


def resample(
    statistic: Callable[[Array], dict[Name, Array]], lesions: NDArray, resamples: int = RESAMPLES, seed: int = 0
) -> dict[Name, Array]:
    """The values, shape (resamples, ...), of each metric that `statistic` computes from weights (k, n), k at a time.

    Lesions are sampled with replacement, each with all its images: images of one lesion are not independent, so
    intervals over images would be too narrow. An image's weight is how often its lesion was sampled. The same lesions
    and seed give the same samples, so differences between two models are paired.
    """
    _, lesion_of = np.unique(lesions, return_inverse=True)
    times_sampled = _sample(int(lesion_of.max()) + 1, resamples, seed)
    parts: list[dict[Name, Array]] = []
    for start in range(0, resamples, RESAMPLES_AT_ONCE):
        parts.append(statistic(times_sampled[start : start + RESAMPLES_AT_ONCE, lesion_of].astype(np.float64)))
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


@lru_cache(maxsize=8)  # an evaluation asks about forty times, mostly for the whole split
def _sample(count: int, resamples: int, seed: int) -> NDArray[np.int32]:
    """How often each of `count` lesions is sampled in each resample, shape (resamples, count)."""
    times = np.random.default_rng(seed).multinomial(count, np.full(count, 1 / count), size=resamples)
    return times.astype(np.int32)


def percentiles(values: Array) -> tuple[float, float] | tuple[None, None]:
    """The 95 % percentile interval of resampled values, without NaN; (None, None) where all are NaN."""
    if np.isnan(values).all():
        return None, None
    low, high = np.nanquantile(values, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)


def estimate(statistic: Callable[[Array], dict[Name, Array]], lesions: NDArray) -> dict[Name, dict[str, Any]]:
    """Each metric of `statistic` as `{value, low, high}`: the value counts every image once."""
    intervals = {name: percentiles(values) for name, values in resample(statistic, lesions).items()}
    return {
        name: {"value": float(value[0]), "low": intervals[name][0], "high": intervals[name][1]}
        for name, value in statistic(np.ones((1, len(lesions)))).items()
    }


def bootstrap_intervals(
    probabilities: Array,
    truth: Numbers,
    lesions: NDArray,
    names: Sequence[str] = HEADLINE,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> dict[str, tuple[float, float] | tuple[None, None]]:
    """Percentile intervals `{metric: (low, high)}` of the headline metrics `names`; see RULE for absent diagnoses.

    Args: probabilities of shape (n, classes), label numbers (n,), lesion ids (n,).
    """
    values = resample(lambda weights: weighted_metrics(probabilities, truth, weights, names), lesions, resamples, seed)
    return {name: percentiles(each) for name, each in values.items()}


def recall_intervals(
    probabilities: Array, truth: Numbers, lesions: NDArray
) -> list[tuple[float, float] | tuple[None, None]]:
    """The interval of each diagnosis's recall at the plain decision, in label order."""
    recall = resample(lambda weights: {"recall": Weighted(probabilities, truth, weights).recall}, lesions)["recall"]
    return [percentiles(column) for column in recall.T]
