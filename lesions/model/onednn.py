"""Predicting through oneDNN, in full float32, on CPUs where torch's own choice is slower.

torch multiplies float32 matrices through MKL, which gives some AMD processors with AVX-512 less than half of what they
can do; through oneDNN, which torch carries too, DeiT-tiny predicts about twice as fast there, and a tenth faster on a
Zen 4, with the same result to the last digits. On the one Intel Xeon that was measured both
multiply alike, but oneDNN adds the bias and the GELU in passing, a tenth faster in all; torch's own attention is the
faster one there. For a linear layer, torch offers oneDNN by an operator of its compiler only; for attention, not at
all, but a product of matrices a head is a convolution of as many groups, and convolutions go through oneDNN.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from transformers import AttentionInterface, PreTrainedModel
from transformers.activations import GELUActivation
from transformers.integrations.sdpa_attention import sdpa_attention_forward

from lesions.cpu import has_avx512, is_amd_with_avx512

HEADS_AT_ONCE = 12  # whose scores stay in the processor's cache


class OneDnnLinear(nn.Module):
    """A linear layer, and the GELU behind it if there is one, that goes through oneDNN where no gradient is asked for,
    with weights packed once."""

    def __init__(self, linear: nn.Linear, gelu: nn.Module | None = None) -> None:
        super().__init__()
        self.linear, self.gelu = linear, gelu or nn.Identity()
        self.packed = torch.ops.mkldnn._reorder_linear_weight(linear.weight.detach())
        self.then = "gelu" if gelu else "none"

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        if torch.is_grad_enabled() or inputs.dtype != torch.float32:
            return self.gelu(self.linear(inputs))
        return torch.ops.mkldnn._linear_pointwise(inputs, self.packed, self.linear.bias, self.then, [], "none")


def attention(
    module: nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    scaling: float,
    **options: Any,
) -> tuple[torch.Tensor, None]:
    """softmax(query key^T scaling) value, each (images, heads, tokens, size), as (images, tokens, heads, size).

    What transformers calls as an attention implementation; torch's own where a gradient, a mask or a bias is asked for.
    """
    plain = attention_mask is None and options.get("position_bias") is None and query.shape == key.shape
    if torch.is_grad_enabled() or query.dtype != torch.float32 or getattr(module, "is_causal", False) or not plain:
        return sdpa_attention_forward(module, query, key, value, attention_mask, scaling=scaling, **options)
    heads = query.shape[1]
    images = max(1, HEADS_AT_ONCE // heads)
    parts = zip(*(tensor.split(images) for tensor in (query * scaling, key, value)), strict=True)
    return torch.cat([_by_convolution(*part) for part in parts]).transpose(1, 2), None


def _by_convolution(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
    """A group a head: the columns of the right matrix are its input, the rows of the left one its filters."""
    images, heads, tokens, size = query.shape
    groups = images * heads
    columns, rows = key.mT.reshape(1, groups * size, tokens, 1), query.reshape(groups * tokens, size, 1, 1)
    shares = torch.conv2d(columns, rows, groups=groups).view(groups, tokens, tokens).softmax(-1)
    columns, rows = value.reshape(1, groups * tokens, size, 1), shares.view(groups * tokens, tokens, 1, 1)
    return torch.conv2d(columns, rows, groups=groups).view(query.shape)


AttentionInterface.register("onednn", attention)


def speed_up(model: PreTrainedModel) -> None:
    """Sends the linear layers of a float32 model through oneDNN, and its attention, on CPUs that gain by it.

    To be called when the weights are final: they are packed here.
    """
    if not torch.backends.mkldnn.is_available() or not has_avx512():
        return
    for block in [module for module in model.modules() if isinstance(getattr(module, "fc1", None), nn.Linear)]:
        if isinstance(getattr(block, "activation_fn", None), GELUActivation):
            block.fc1, block.activation_fn = OneDnnLinear(block.fc1, block.activation_fn), nn.Identity()
    layers = [(parent, name) for parent in model.modules() for name, child in parent.named_children()
              if type(child) is nn.Linear and not isinstance(parent, OneDnnLinear)]  # fmt: skip
    for parent, name in layers:
        setattr(parent, name, OneDnnLinear(getattr(parent, name)))
    if is_amd_with_avx512() and model.config._attn_implementation == "sdpa":  # a model that lets it be chosen
        model.set_attn_implementation("onednn")
