"""What an image can be called positive for: melanoma, or any malignant diagnosis."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lesions.arrays import Array, Numbers
from lesions.diagnoses import labels_of


def score_of(point: Mapping[str, Any], probabilities: Array, labels: list[str]) -> Array:
    """The probability (n,) of any of the labels of an operating point."""
    return probabilities[:, [label in labels_of(point) for label in labels]].sum(axis=1)


def is_case(point: Mapping[str, Any], truth: Numbers, labels: list[str]) -> NDArray[np.bool_]:
    """Which of the label numbers (n,) an operating point is to find."""
    return np.isin(truth, [number for number, label in enumerate(labels) if label in labels_of(point)])
