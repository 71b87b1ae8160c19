"""How many of the measured images look unlike the training images, and how good the answers to them are."""

from __future__ import annotations

from typing import Any

import numpy as np

from lesions.arrays import Array
from lesions.evaluation.prediction import Answers, Predictor
from lesions.metrics.intervals import estimate
from lesions.metrics.measured import Measured
from lesions.model.familiarity import find_unfamiliar


def measure_unfamiliar(
    chosen: dict[str, float] | None, predictor: Predictor, answers: Answers, measured: Measured
) -> dict[str, Any] | None:
    """The share of the images that are refused as unlike the training images, of all and of each diagnosis, and the
    accuracy on either side, with intervals over lesions. None where the run stores no threshold."""
    refused = find_unfamiliar(chosen, predictor.familiarity, answers.features)
    if refused is None:
        return None
    right = measured.right.astype(np.float64)
    # Numbers, since a diagnosis may be called "all", as the leukemia is.
    groups = {str(number): measured.truth == number for number in range(len(measured.labels))}
    means = {"all": (np.ones(len(measured), dtype=bool), refused.astype(np.float64))}
    means |= {number: (cases, refused.astype(np.float64)) for number, cases in groups.items() if cases.any()}
    means |= {side: (mask, right) for side, mask in (("accepted", ~refused), ("refused", refused)) if mask.any()}

    def statistic(weights: Array) -> dict[str, Array]:
        with np.errstate(invalid="ignore"):  # a resample may lack one side
            return {name: (weights @ (mask * values)) / (weights @ mask) for name, (mask, values) in means.items()}

    found = estimate(statistic, measured.lesions)
    return {
        **(chosen or {}),
        "n_refused": int(refused.sum()),
        "refused": found["all"],
        "by_diagnosis": {label: found.get(str(number)) for number, label in enumerate(measured.labels)},
        "accuracy": {side: found.get(side) for side in ("accepted", "refused")},
    }
