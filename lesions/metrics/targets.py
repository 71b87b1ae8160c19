"""What an image can be called positive for: melanoma, or any malignant diagnosis."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from lesions.arrays import Array, Numbers
from lesions.diagnoses import BY_CODE

TARGETS = {
    "melanoma": {"mel"},
    "malignant": {code for code, diagnosis in BY_CODE.items() if diagnosis.malignant},
}


def score_of(target: str, probabilities: Array, labels: list[str]) -> Array:
    """The probability (n,) of any diagnosis of the target, a key of TARGETS."""
    return probabilities[:, [label in TARGETS[target] for label in labels]].sum(axis=1)


def is_case(target: str, truth: Numbers, labels: list[str]) -> NDArray[np.bool_]:
    """Which of the label numbers (n,) are diagnoses of the target."""
    return np.isin(truth, [number for number, label in enumerate(labels) if label in TARGETS[target]])
