"""From probabilities to decisions: what is fitted on validation and folded into the weights of the head.

Two numbers are fitted, not one per class: 17 validation images of a class are too few to fit a bias to.
The temperature divides the logits to minimize the log loss (Guo et al. 2017). Then `tau * log(share of the class in
training)` is subtracted, the logit adjustment of Menon et al. 2021, with the `tau` for which the most probable class
scores best by the chosen metric.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax
from transformers import PreTrainedModel

from lesions.metrics.probabilities import softmax
from lesions.metrics.scores import headline
from lesions.model.half_precision import round_to_half
from lesions.model.loading import heads
from lesions.training.thresholds import choose_thresholds

if TYPE_CHECKING:
    from lesions.training.trainer import WeightedTrainer

AIMS = {"balanced": "balanced_accuracy", "f1": "f1_macro", "accuracy": "accuracy"}
TAUS = np.linspace(-1, 1, 41)


def decide(trainer: WeightedTrainer, aim: str, counts: list[int], malignant: list[str] | None = None) -> dict[str, Any]:
    """Fits the decision on the validation split and puts it into the model's head; then chooses, on the same split,
    the operating points of the model as it will be saved.

    `counts` are the images of each class in the training split; `malignant` are the labels that the user calls so.
    Returns both for the record, with the metrics before
    and after.
    """
    model = trainer.accelerator.unwrap_model(trainer.model)
    round_to_half(model)
    predicted = trainer.predict(trainer.eval_dataset, metric_key_prefix="validation")
    logits, truth = np.asarray(predicted.predictions), np.asarray(predicted.label_ids)
    decision = fit_decision(logits, truth, np.array(counts) / sum(counts), aim)
    fold_decision(model, decision)
    folded = logits / decision["temperature"] + np.array(decision["bias"])
    return {
        "decision": {**decision, "before": headline(logits, truth), "after": headline(folded, truth)},
        "operating_points": choose_thresholds(softmax(folded), truth, list(model.config.label2id), malignant),
    }


def fit_decision(
    logits: NDArray[np.floating], labels: NDArray[np.int64], shares: NDArray[np.float64], aim: str
) -> dict[str, Any]:
    """Temperature, tau and the bias of each class, from validation logits (n, classes).

    `shares` (classes,) are the classes' shares of the training split. `aim` is a key of AIMS, or `none`: tau 0.
    Of equally good values of tau, the one nearest to 0 is taken.
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
    """Puts temperature and bias into the weights of the head, or of both heads, whose mean the logits are."""
    for head in heads(model):
        head.weight.div_(decision["temperature"])
        head.bias.div_(decision["temperature"])
        head.bias.add_(torch.tensor(decision["bias"], dtype=head.bias.dtype, device=head.bias.device))
