"""Whether the prediction sets hold what they promise: their coverage and size, measured on diagnosed images."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lesions.arrays import Array
from lesions.evaluation.subgroups import subgroup_masks
from lesions.metrics.conformal import prediction_sets
from lesions.metrics.intervals import estimate
from lesions.metrics.measured import Measured

SUBGROUPS = ("skin tone", "site")


def measure_prediction_sets(
    thresholds: list[dict[str, Any]], measured: Measured, guaranteed: bool
) -> list[dict[str, Any]]:
    """Coverage, size of the sets and share of single answers, for each level, with intervals over lesions.

    Every lesion counts once, as the mean over its images: the guarantee is for lesions. `guaranteed` says whether
    these images come from the source that the thresholds were chosen on, but did not choose them.
    """
    return [_measure_level(chosen, measured, guaranteed) for chosen in thresholds]


def _measure_level(chosen: dict[str, Any], measured: Measured, guaranteed: bool) -> dict[str, Any]:
    sets = prediction_sets(measured.probabilities, measured.labels, chosen)
    covered, sizes = sets[np.arange(len(sets)), measured.truth].astype(np.float64), sets.sum(axis=1).astype(np.float64)
    everything = np.ones(len(sets), dtype=bool)
    groups = {kind: members for kind, members in subgroup_masks(measured.rows).items() if kind in SUBGROUPS}
    means: dict[Hashable, tuple[NDArray[np.bool_], Array]] = {
        "coverage": (everything, covered),
        "mean_size": (everything, sizes),
        "single": (everything, (sizes == 1).astype(np.float64)),
    }
    present = {label: measured.truth == n for n, label in enumerate(measured.labels) if (measured.truth == n).any()}
    means |= {("diagnosis", label): (cases, covered) for label, cases in present.items()}
    for kind, members in groups.items():
        for name, mask in members.items():
            means |= {(kind, name, "coverage"): (mask, covered), (kind, name, "mean_size"): (mask, sizes)}
    found = _estimate_means(means, measured.lesions)
    return {
        "level": chosen["level"],
        "guaranteed": guaranteed,
        **{name: found[name] for name in ("coverage", "mean_size", "single")},
        "by_diagnosis": {
            label: {**chosen["by_diagnosis"][label], "coverage": found.get(("diagnosis", label))}
            for label in measured.labels
        },
        "subgroups": {
            kind: {
                name: {
                    **measured.only(mask).counts(),
                    **{metric: found[kind, name, metric] for metric in ("coverage", "mean_size")},
                }
                for name, mask in members.items()
            }
            for kind, members in groups.items()
        },
    }


def _estimate_means(
    means: dict[Hashable, tuple[NDArray[np.bool_], Array]], lesions: NDArray
) -> dict[Hashable, dict[str, Any]]:
    """The mean of each value (n,) over the lesions of its mask (n,), with its interval."""
    _, lesion_of, n_images = np.unique(lesions, return_inverse=True, return_counts=True)
    of_lesion = 1 / n_images[lesion_of]

    def statistic(weights: Array) -> dict[Hashable, Array]:
        totals = weights @ np.stack([of_lesion * mask for mask, _ in means.values()], axis=1)
        sums = weights @ np.stack([of_lesion * mask * values for mask, values in means.values()], axis=1)
        ratios = np.divide(sums, totals, out=np.full_like(sums, np.nan), where=totals > 0)
        return dict(zip(means, ratios.T, strict=True))

    return estimate(statistic, lesions)
