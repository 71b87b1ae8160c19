"""Calibration: the bins of the reliability diagram, and what the decision fitted in training changed."""

from __future__ import annotations

from typing import Any

import numpy as np

from lesions.arrays import Array
from lesions.metrics.measured import Measured
from lesions.metrics.probabilities import softmax
from lesions.metrics.scores import ECE_BINS, calibration_bins

CALIBRATION_METRICS = ("log_loss", "brier", "ece")
BINNING = f"the most probable diagnosis's probability, {ECE_BINS} bins of equal width"


def describe_calibration(measured: Measured, decision: dict[str, Any] | None) -> dict[str, Any]:
    """Bins of the reliability diagram; log loss, Brier score and ECE, also `without_decision`: as they were before
    training folded `decision` (see `lesions.training.decision`) into the head. None where training folded nothing.

    A bin: images, mean probability, and share whose most probable diagnosis was right.
    """
    before = None
    if decision:
        answers = measured.of_probabilities(undo_decision(measured.probabilities, decision))
        before = answers.metrics((*CALIBRATION_METRICS, "accuracy", "balanced_accuracy", "f1_macro"))
    return {"binning": BINNING, "bins": reliability_bins(measured), "without_decision": before}


def reliability_bins(measured: Measured) -> list[dict[str, float]]:
    """The bins that hold an image, from low to high."""
    number, top = calibration_bins(measured.probabilities), measured.probabilities.max(axis=1)
    right = measured.right
    return [
        {
            "low": b / ECE_BINS,
            "high": (b + 1) / ECE_BINS,
            "n_images": int((number == b).sum()),
            "confidence": float(top[number == b].mean()),
            "accuracy": float(right[number == b].mean()),
        }
        for b in np.unique(number).tolist()
    ]


def undo_decision(probabilities: Array, decision: dict[str, Any]) -> Array:
    """The probabilities (n, classes) that the model gave before `decision` was folded into its head.

    The logits were divided by the temperature, then a bias was added. A softmax loses a constant per row, which changes
    nothing here.
    """
    logits = np.log(np.clip(probabilities, np.finfo(np.float64).tiny, 1))
    return softmax((logits - np.array(decision["bias"])) * decision["temperature"])
