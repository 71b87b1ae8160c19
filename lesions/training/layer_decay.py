"""Layer-wise learning rates: the nearer a layer is to the image, the more of its pretraining it keeps."""

from __future__ import annotations

import re
from typing import Any

from torch import nn

LAYER = re.compile(r"\.layers?\.(\d+)\.")  # of the encoder, in transformers' names of DeiT, ViT and their kin


def layers_of(model: nn.Module) -> list[str]:
    """The names of the numbered layers, the one nearest to the image first. A number alone says nothing: each stage of
    a ConvNeXt or ResNet counts its layers from 0."""
    found = [(name, LAYER.search(name)) for name, _ in model.named_parameters()]
    return list(dict.fromkeys(name[: layer.end()] for name, layer in found if layer))


def parameter_groups(model: nn.Module, learning_rate: float, decay: float, weight_decay: float) -> list[dict[str, Any]]:
    """The optimizer's groups: the heads have the full rate, each layer `decay` times that of the layer above it.

    Embeddings count as the layer below the first, and what lies between two layers, as between the stages of a CNN,
    as the lower one. A model whose layers are not numbered has one rate.
    Weight decay leaves out biases, norms, tokens and positions, as in Touvron et al. 2021 (DeiT).
    """
    layers, reached = layers_of(model), 0
    depth = len(layers)
    groups: dict[tuple[int, float], dict[str, Any]] = {}
    for name, parameter in model.named_parameters():
        if found := LAYER.search(name):
            layer = reached = layers.index(name[: found.end()]) + 1
        elif "embeddings" in name:
            layer = 0
        else:
            layer = reached if 0 < reached < depth else depth + 1
        decayed = weight_decay if parameter.ndim > 1 and parameter.shape[0] > 1 else 0.0
        rate = learning_rate * decay ** (depth + 1 - layer)
        group = groups.setdefault((layer, decayed), {"params": [], "lr": rate, "weight_decay": decayed})
        group["params"].append(parameter)
    return list(groups.values())
