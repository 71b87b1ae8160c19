"""Operating points: thresholds on the probability of melanoma, or of malignancy, chosen on validation."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import roc_curve

from lesions.diagnoses import targets_of
from lesions.metrics.targets import is_case, score_of

OPERATING_AIMS = [(kind, level) for kind in ("sensitivity", "specificity") for level in (0.9, 0.95)]


def choose_thresholds(
    probabilities: NDArray[np.float64],
    truth: NDArray[np.int64],
    labels: list[str],
    malignant: list[str] | None = None,
) -> list[dict[str, Any]]:
    """The operating points of every target: `{target, labels, aim, level, threshold, validation}`, from validation
    images. `malignant` are the labels that the user calls so.

    For a sensitivity, the highest threshold that reaches it; for a specificity, the lowest. A target without a case,
    or without a control, has no operating point; nor has malignancy, unless it is known of every label.
    """
    chosen = []
    for target, members in targets_of(labels, malignant).items():
        about = {"target": target, "labels": members}
        cases, scores = is_case(about, truth, labels), score_of(about, probabilities, labels)
        if cases.all() or not cases.any():
            continue
        false_positive, sensitivity, thresholds = roc_curve(cases, scores, drop_intermediate=False)
        specificity = 1 - false_positive
        for aim, level in OPERATING_AIMS:
            reached = np.flatnonzero((sensitivity if aim == "sensitivity" else specificity) >= level - 1e-12)
            at = reached[0] if aim == "sensitivity" else reached[-1]
            # The strictest threshold of a ROC curve, above all scores, is infinite, which JSON can't hold.
            threshold = float(min(thresholds[at], np.nextafter(scores.max(), 2)))
            measured: dict[str, float] = {"sensitivity": float(sensitivity[at]), "specificity": float(specificity[at])}
            measured |= {"n_cases": int(cases.sum()), "n_images": len(cases)}
            chosen.append({**about, "aim": aim, "level": level, "threshold": threshold, "validation": measured})
    return chosen
