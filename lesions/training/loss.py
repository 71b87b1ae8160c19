"""The loss: class-weighted cross-entropy over the heads of a model, with a teacher's part for DeiT's second head."""

from __future__ import annotations

from typing import Any

import torch

from lesions.training.distillation import Distillation


def weighted_sum(
    outputs: Any,
    targets: torch.Tensor,
    smoothing: float = 0.0,
    distillation: Distillation | None = None,
    answers: torch.Tensor | None = None,
) -> torch.Tensor:
    """The loss of a batch, summed over its images: divide it by the sum of their weights.

    `targets` (batch, classes) hold each image's weight on its class, or shares of it on several. A model with two
    heads has the mean of both heads' losses. With a teacher's `answers`, logits (batch, classes), its second head
    learns from them instead, for the share of the loss that `distillation` says.
    """
    weights = targets.sum(-1, keepdim=True)
    smooth = (1 - smoothing) * targets + smoothing * weights / targets.shape[-1]
    if "cls_logits" not in outputs:
        return cross_entropy(outputs["logits"], smooth)
    on_labels = cross_entropy(outputs["cls_logits"], smooth)
    if distillation is None or answers is None:
        return (on_labels + cross_entropy(outputs["distillation_logits"], smooth)) / 2
    taught = distillation.loss(outputs["distillation_logits"].float(), answers)
    alpha = distillation.alpha
    return (1 - alpha) * on_labels + alpha * (weights[:, 0] * taught).sum()


def cross_entropy(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Cross-entropy with targets of any sum, both (batch, classes), summed over the batch."""
    return -(targets * logits.float().log_softmax(-1)).sum()
