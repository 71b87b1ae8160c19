"""The last layer of a DeiT or ViT, computed for the tokens that the heads read and for no other.

The heads read the class token, and DeiT's distillation token. What the last layer would make of the patches is thrown
away; they only have to be there for these tokens to attend to. Answers and gradients are the same but for rounding.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from torch import nn
from transformers import PreTrainedModel
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS
from transformers.models.deit.modeling_deit import DeiTLayer, eager_attention_forward
from transformers.models.vit.modeling_vit import ViTLayer


def spare_last_layer(model: PreTrainedModel) -> PreTrainedModel:
    """Changes the last layer of an image classifier so, where it is a DeiT or ViT, and returns the same model.

    It then gives no attention of its last layer, and no last hidden states of its patches.
    """
    backbone = getattr(model, model.base_model_prefix, None)
    layers = getattr(backbone, "layers", None)
    if layers and isinstance(layers[-1], DeiTLayer | ViTLayer):
        read = 1 + hasattr(backbone.embeddings, "distillation_token")
        layers[-1].forward = partial(_first_tokens, layers[-1], read)
    return model


def _first_tokens(
    layer: nn.Module, read: int, hidden_states: torch.Tensor, attention_mask: torch.Tensor | None = None, **options: Any
) -> torch.Tensor:
    """What `layer` makes of the first `read` of its tokens, shape (pictures, read, size).

    As in DeiTLayer and DeiTAttention of transformers, but that only these tokens ask.
    """
    attention, residual = layer.attention, hidden_states[:, :read]
    attended = layer.layernorm_before(hidden_states)
    projections = ((attention.q_proj, attended[:, :read]), (attention.k_proj, attended), (attention.v_proj, attended))
    parts = [project(tokens).unflatten(-1, (-1, attention.head_dim)).transpose(1, 2) for project, tokens in projections]
    attend = ALL_ATTENTION_FUNCTIONS.get_interface(attention.config._attn_implementation, eager_attention_forward)
    dropout = attention.attention_dropout if layer.training else 0.0
    mixed, _ = attend(attention, *parts, attention_mask, dropout=dropout, scaling=attention.scaling, **options)
    hidden_states = residual + layer.dropout(attention.o_proj(mixed.flatten(2)))
    return hidden_states + layer.dropout(layer.mlp(layer.layernorm_after(hidden_states)))
