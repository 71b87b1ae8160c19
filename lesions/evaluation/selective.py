"""Selective prediction: how good the answers are if the least certain images go to a person."""

from __future__ import annotations

from typing import Any

import numpy as np

from lesions.metrics.measured import Measured

COVERAGES = (1.0, 0.9, 0.8, 0.7, 0.6, 0.5)
SELECTIVE_METRICS = ("accuracy", "balanced_accuracy")


def measure_selective(measured: Measured) -> list[dict[str, Any]]:
    """Accuracy and balanced accuracy on the share `coverage` of the images whose top probability is highest.

    The bootstrap does not choose the images again. All images of a rare diagnosis may go to the person: `n_classes`
    says how many diagnoses are left.
    """
    order = np.argsort(-measured.probabilities.max(axis=1), kind="stable")
    result = []
    for coverage in COVERAGES:
        kept = measured.only(np.sort(order[: max(1, round(coverage * len(measured)))]))
        about = {"coverage": coverage, "n_images": len(kept), "n_classes": len(np.unique(kept.truth))}
        result.append(about | kept.metrics(SELECTIVE_METRICS))
    return result
