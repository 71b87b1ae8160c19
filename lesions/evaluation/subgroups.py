"""Whom a model serves less well: metrics by sex, age, site, and how the diagnosis was confirmed."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from lesions.arrays import Array
from lesions.metrics.intervals import estimate
from lesions.metrics.measured import Measured
from lesions.metrics.scores import Weighted

AGE_BANDS = {"under 40": (0, 40), "40 to 59": (40, 60), "60 and over": (60, 200)}  # years
SUBGROUP_METRICS = ("accuracy", "balanced_accuracy")
ENOUGH_LESIONS = 30  # with fewer, a subgroup is shown but not compared
COLUMNS = {"sex": "sex", "localization": "site", "skin_tone": "skin tone", "dx_type": "confirmed by"}


def measure_subgroups(measured: Measured) -> dict[str, dict[str, dict[str, Any]]]:
    """`{kind: {subgroup: {n_images, n_lesions, accuracy, balanced_accuracy}}}`, each metric with its interval."""
    return {
        kind: {
            name: {**(part := measured.only(mask)).counts(), **part.metrics(SUBGROUP_METRICS)}
            for name, mask in members.items()
        }
        for kind, members in subgroup_masks(measured.rows).items()
    }


def measure_gaps(measured: Measured) -> dict[str, dict[str, Any]]:
    """For each kind, the subgroup with the lowest accuracy against all other images: `{kind: {subgroup, metric,
    value, low, high, n_images}}`; value is the others' accuracy minus the subgroup's.

    Only subgroups of 30 lesions or more are compared. The lowest of several is low partly by chance: mention a gap
    only if its interval excludes 0. How the diagnosis was confirmed is not a group of people, and depends on the
    diagnosis, so it has no gap.
    """
    gaps = {}
    for kind, members in subgroup_masks(measured.rows).items():
        large = {
            name: mask
            for name, mask in members.items()
            if name != "unknown" and len(np.unique(measured.lesions[mask])) >= ENOUGH_LESIONS
        }
        if kind == "confirmed by" or len(large) < 2:
            continue
        right = measured.right
        lowest = min(large, key=lambda name: right[large[name]].mean())
        inside = large[lowest].astype(np.float64)

        def gap(weights: Array, inside: Array = inside) -> dict[str, Array]:
            within, outside = (
                Weighted(measured.probabilities, measured.truth, weights * part).accuracy
                for part in (inside, 1 - inside)
            )
            return {"gap": outside - within}

        about = {"subgroup": lowest, "metric": "accuracy", "n_images": int(inside.sum())}
        gaps[kind] = about | estimate(gap, measured.lesions)["gap"]
    return gaps


def subgroup_masks(rows: pd.DataFrame) -> dict[str, dict[str, np.ndarray]]:
    """Masks (n,) of the subgroups that hold an image, by kind."""
    groups: dict[str, dict[str, pd.Series]] = {}
    for column, kind in COLUMNS.items():
        if column in rows:
            values = rows[column].fillna("unknown").replace("", "unknown")
            groups[kind] = {value: values == value for value in sorted(values.unique())}
    if "age" in rows:
        groups["age"] = {band: rows["age"].between(low, high, "left") for band, (low, high) in AGE_BANDS.items()}
        groups["age"]["unknown"] = rows["age"].isna()
    return {
        kind: {name: mask.to_numpy() for name, mask in members.items() if mask.any()}
        for kind, members in groups.items()
    }
