"""Layer-wise learning rates: the nearer a layer is to the image, the more of its pretraining it keeps."""

from __future__ import annotations

import re
from typing import Any

from torch import nn

LAYER = re.compile(r"\.layers?\.(\d+)\.")  # of the encoder, in transformers' names of DeiT, ViT and their kin


def parameter_groups(model: nn.Module, learning_rate: float, decay: float, weight_decay: float) -> list[dict[str, Any]]:
    """The optimizer's groups: the heads have the full rate, each layer `decay` times that of the layer above it.

    Embeddings count as the layer below the first. A model whose layers are not numbered has one rate.
    Weight decay leaves out biases, norms, tokens and positions, as in Touvron et al. 2021 (DeiT).
    """
    names = [name for name, _ in model.named_parameters()]
    depth = 1 + max((int(found[1]) for name in names if (found := LAYER.search(name))), default=-1)
    groups: dict[tuple[int, float], dict[str, Any]] = {}
    for name, parameter in model.named_parameters():
        found = LAYER.search(name)
        layer = int(found[1]) + 1 if found else 0 if "embeddings" in name else depth + 1
        decayed = weight_decay if parameter.ndim > 1 and parameter.shape[0] > 1 else 0.0
        rate = learning_rate * decay ** (depth + 1 - layer)
        group = groups.setdefault((layer, decayed), {"params": [], "lr": rate, "weight_decay": decayed})
        group["params"].append(parameter)
    return list(groups.values())
