"""The last layer of a DeiT or ViT, computed for the tokens that the heads read and for no other.

The heads read the class token, and DeiT's distillation token. What the last layer would make of the patches is thrown
away; they only have to be there for these tokens to attend to. Answers and gradients are the same but for rounding.
"""

from __future__ import annotations

from typing import Any

import torch
from transformers import PreTrainedModel
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS
from transformers.models.deit.modeling_deit import DeiTLayer, eager_attention_forward
from transformers.models.vit.modeling_vit import ViTLayer


def spare_last_layer(model: PreTrainedModel) -> PreTrainedModel:
    """Changes the last layer of an image classifier so, where it is a DeiT or ViT, and returns the same model.

    It then gives no attention of its last layer, and no last hidden states of its patches.
    """
    backbone: Any = getattr(model, model.base_model_prefix, None)
    layers = getattr(backbone, "layers", None)
    if layers and type(layers[-1]) in SPARED:
        layers[-1].read = 1 + hasattr(backbone.embeddings, "distillation_token")
        # A class, not a function on the instance: that would go on using this layer's weights in a copy on another GPU.
        layers[-1].__class__ = SPARED[type(layers[-1])]
    return model


class FirstTokens:
    """What the layers of both architectures make of the first `read` tokens, shape (images, read, size).

    As in DeiTLayer and DeiTAttention of transformers, but that only these tokens ask.
    """

    read: int

    def forward(
        self: Any, hidden_states: torch.Tensor, attention_mask: torch.Tensor | None = None, **options: Any
    ) -> torch.Tensor:
        attention, residual = self.attention, hidden_states[:, : self.read]
        every = self.layernorm_before(hidden_states)
        asked = ((attention.q_proj, every[:, : self.read]), (attention.k_proj, every), (attention.v_proj, every))
        parts = [project(tokens).unflatten(-1, (-1, attention.head_dim)).transpose(1, 2) for project, tokens in asked]
        attend = ALL_ATTENTION_FUNCTIONS.get_interface(attention.config._attn_implementation, eager_attention_forward)
        dropout = attention.attention_dropout if self.training else 0.0
        mixed, _ = attend(attention, *parts, attention_mask, dropout=dropout, scaling=attention.scaling, **options)
        hidden_states = residual + self.dropout(attention.o_proj(mixed.flatten(2)))
        return hidden_states + self.dropout(self.mlp(self.layernorm_after(hidden_states)))


class LastDeiTLayer(FirstTokens, DeiTLayer):
    pass


class LastViTLayer(FirstTokens, ViTLayer):
    pass


SPARED = {DeiTLayer: LastDeiTLayer, ViTLayer: LastViTLayer}
