"""Prediction sets: the diagnoses that can't be ruled out.

Label-conditional conformal prediction (V. Vovk 2012, "Conditional validity of inductive conformal predictors"): a
diagnosis belongs to the set of an image if its probability reaches the diagnosis's own threshold, which was chosen on
images of that diagnosis in the validation split. Of new images of that diagnosis from the same source, at least the
share `level` then has it in its set.

Images of one lesion are not independent, so the guarantee is for one image of a new lesion (Y. Lee, R. Barber and
R. Willett 2023, "Distribution-free inference with hierarchical data"): each of the K lesions of a diagnosis has the
weight 1 / (K + 1), shared evenly by its images. Thresholds can guarantee no more than K / (K + 1). The model's
checkpoint and temperature were chosen on the same images, so the guarantee is exact only as far as these few choices
don't fit them; evaluate_model.py measures what is reached.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from lesions.arrays import Array, Numbers

LEVELS = (0.9, 0.95)


def choose_thresholds(
    probabilities: Array, truth: Numbers, lesions: NDArray, labels: list[str]
) -> list[dict[str, Any]]:
    """The thresholds for each of LEVELS, from the probabilities (n, classes) of validation images.

    `{level, by_diagnosis: {label: {threshold, guarantee, n_lesions}}}`. `guarantee` is `level`, or what the number of
    lesions allows. A diagnosis without a validation lesion can never be ruled out: threshold 0, guarantee None.
    """
    chosen = []
    for level in LEVELS:
        by_diagnosis = {}
        for number, label in enumerate(labels):
            cases = truth == number
            by_diagnosis[label] = _choose_threshold(probabilities[cases, number], lesions[cases], level)
        chosen.append({"level": level, "by_diagnosis": by_diagnosis})
    return chosen


def _choose_threshold(scores: Array, lesions: NDArray, level: float) -> dict[str, Any]:
    """The highest threshold on `scores` (n,) that covers the share `level` of the lesions, the new one counted too."""
    if not len(scores):
        return {"threshold": 0.0, "guarantee": None, "n_lesions": 0}
    _, lesion_of, n_images = np.unique(lesions, return_inverse=True, return_counts=True)
    k = len(n_images)
    guarantee = min(level, k / (k + 1))
    order = np.argsort(-scores, kind="stable")
    covered = np.cumsum(1 / ((k + 1) * n_images[lesion_of[order]]))
    at = int(np.argmax(covered >= guarantee - 1e-9))
    return {"threshold": float(scores[order[at]]), "guarantee": guarantee, "n_lesions": k}


def prediction_sets(probabilities: Array, labels: list[str], chosen: dict[str, Any]) -> NDArray[np.bool_]:
    """Which diagnoses each image's set holds, (n, classes): those that reach their threshold, and the most probable.

    `chosen` is one of `choose_thresholds`' list.
    """
    thresholds = np.array([chosen["by_diagnosis"][label]["threshold"] for label in labels])
    most_probable = np.arange(len(labels)) == probabilities.argmax(axis=1)[:, None]
    return (probabilities >= thresholds) | most_probable


def guaranteed_share(chosen: dict[str, Any]) -> float:
    """The share of new lesions whose set holds their diagnosis, where the diagnoses are as frequent as among the
    validation lesions. It is below the level if some diagnosis has too few of these.

    `chosen` is one of `choose_thresholds`' list.
    """
    rows = chosen["by_diagnosis"].values()
    held = sum(row["guarantee"] * row["n_lesions"] for row in rows if row["guarantee"] is not None)
    return held / max(1, sum(row["n_lesions"] for row in rows))
