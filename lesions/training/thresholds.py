"""Operating points: thresholds on the probability of melanoma, or of malignancy, chosen on validation."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import roc_curve

from lesions.metrics.targets import TARGETS, is_case, score_of

OPERATING_AIMS = [(kind, level) for kind in ("sensitivity", "specificity") for level in (0.9, 0.95)]


def choose_thresholds(
    probabilities: NDArray[np.float64], truth: NDArray[np.int64], labels: list[str]
) -> list[dict[str, Any]]:
    """The operating points of every target: `{target, aim, level, threshold, validation}`, from validation images.

    For a sensitivity, the highest threshold that reaches it; for a specificity, the lowest. A target without a case,
    or without a control, has no operating point.
    """
    chosen = []
    for target in TARGETS:
        cases, scores = is_case(target, truth, labels), score_of(target, probabilities, labels)
        if cases.all() or not cases.any():
            continue
        false_positive, sensitivity, thresholds = roc_curve(cases, scores, drop_intermediate=False)
        specificity = 1 - false_positive
        for aim, level in OPERATING_AIMS:
            reached = np.flatnonzero((sensitivity if aim == "sensitivity" else specificity) >= level - 1e-12)
            at = reached[0] if aim == "sensitivity" else reached[-1]
            # The strictest threshold of a ROC curve, above all scores, is infinite, which JSON can't hold.
            threshold = float(min(thresholds[at], np.nextafter(scores.max(), 2)))
            measured = {"sensitivity": float(sensitivity[at]), "specificity": float(specificity[at])}
            about = {"n_cases": int(cases.sum()), "n_images": len(cases)}
            chosen.append(
                {"target": target, "aim": aim, "level": level, "threshold": threshold, "validation": measured | about}
            )
    return chosen
