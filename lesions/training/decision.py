"""From probabilities to decisions: what is fitted on validation and folded into the weights of the head.

Two numbers are fitted, not one a class: a class with 17 validation images can't carry a bias of its own.
The temperature divides the logits so that the log loss is least (Guo et al. 2017). Then `tau` subtracts
`tau * log(share of the class in training)`, the logit adjustment of Menon et al. 2021, so that the decision, the
most probable class, does best by the metric that is aimed at.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax
from transformers import PreTrainedModel

from lesions.metrics.scores import headline
from lesions.model.loading import heads

AIMS = {"balanced": "balanced_accuracy", "f1": "f1_macro", "accuracy": "accuracy"}
TAUS = np.linspace(-1, 1, 41)


def fit_decision(
    logits: NDArray[np.floating], labels: NDArray[np.int64], shares: NDArray[np.float64], aim: str
) -> dict[str, Any]:
    """Temperature, tau and the bias of each class, from validation logits (n, classes).

    `shares` (classes,) are the classes' shares of the training split. `aim` is a key of AIMS, or `none`: tau 0.
    Of values of tau that do alike, the one nearest to 0 is taken.
    """
    rows = np.arange(len(labels))

    def log_loss(log_temperature: float) -> float:
        return -log_softmax(logits.astype(np.float64) / np.exp(log_temperature), axis=1)[rows, labels].mean()

    temperature = float(np.exp(minimize_scalar(log_loss, bounds=(-3, 3), method="bounded").x))
    tau = 0.0
    if aim != "none":
        reached = [headline(logits / temperature - tau * np.log(shares), labels)[AIMS[aim]] for tau in TAUS]
        best = np.flatnonzero(np.array(reached) >= max(reached) - 1e-12)
        tau = float(TAUS[best[np.abs(TAUS[best]).argmin()]])
    return {"aim": aim, "temperature": temperature, "tau": tau, "bias": (-tau * np.log(shares)).tolist()}


@torch.no_grad()
def fold_decision(model: PreTrainedModel, decision: dict[str, Any]) -> None:
    """Puts temperature and bias into the weights of the head, or of both: `logits` are their mean."""
    for head in heads(model):
        head.weight.div_(decision["temperature"])
        head.bias.div_(decision["temperature"])
        head.bias.add_(torch.tensor(decision["bias"], dtype=head.bias.dtype, device=head.bias.device))
