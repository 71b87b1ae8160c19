"""Operating points: thresholds on the probability of melanoma, or of malignancy, chosen on validation.

An image is positive if the probability reaches the threshold. Training stores the thresholds with the run; the
evaluation measures them on images that did not choose them.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from lesions.arrays import Array
from lesions.diagnoses import labels_of
from lesions.evaluation.options import PREVALENCE
from lesions.metrics.intervals import estimate
from lesions.metrics.measured import Measured
from lesions.metrics.targets import is_case, score_of


def measure_operating_points(
    points: list[dict[str, Any]], measured: Measured, prevalence: float = PREVALENCE
) -> list[dict[str, Any]]:
    """Each point of `choose_thresholds` with sensitivity and specificity, PPV and NPV, measured on these images.

    PPV and NPV follow from the first two by Bayes' rule at the stated prevalence, since the share of cases in a data
    set is not the share in any clinic. A metric that can't be computed is None, with a reason.
    """
    result = []
    for point in points:
        cases = is_case(point, measured.truth, measured.labels).astype(np.float64)
        scores = score_of(point, measured.probabilities, measured.labels)
        called = (scores >= point["threshold"]).astype(np.float64)

        def rates(weights: Array, cases: Array = cases, called: Array = called) -> dict[str, Array]:
            with np.errstate(invalid="ignore", divide="ignore"):
                sensitivity = weights @ (cases * called) / (weights @ cases)
                specificity = weights @ ((1 - cases) * (1 - called)) / (weights @ (1 - cases))
                right, wrong = sensitivity * prevalence, (1 - specificity) * (1 - prevalence)
                spared, missed = specificity * (1 - prevalence), (1 - sensitivity) * prevalence
                ppv, npv = right / (right + wrong), spared / (spared + missed)
            return {"sensitivity": sensitivity, "specificity": specificity, "ppv": ppv, "npv": npv}

        about = {name: point[name] for name in ("target", "aim", "level", "threshold")}
        about["labels"] = labels_of(point)
        counts = {"n_cases": int(cases.sum()), "n_images": len(cases), "prevalence": prevalence}
        result.append(about | counts)
        for name, metric in estimate(rates, measured.lesions).items():
            result[-1][name] = metric
            if not np.isfinite(metric["value"]):
                reason = "no image of a case, of a control, or on that side of the threshold"
                result[-1][name] = {"value": None, "low": None, "high": None, "reason": reason}
    return result
