"""A model that is not this project's: other classes, another preprocessing, and none of the project's own files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from transformers import DeiTConfig, DeiTForImageClassification, DeiTImageProcessor

EIGHT = ("apple", "bcc", "cherry", "mel", "nv", "olive", "plum", "scc")


def save_model_of_other_classes(folder: Path, names: Sequence[str] = EIGHT) -> Path:
    """Saves a small DeiT of the classes `names` with random weights, which crops the middle of a bilinear resize."""
    torch.manual_seed(0)
    shape = {"hidden_size": 24, "num_attention_heads": 3, "num_hidden_layers": 2, "intermediate_size": 48}
    labels = {"id2label": dict(enumerate(names)), "label2id": {name: number for number, name in enumerate(names)}}
    model = DeiTForImageClassification(DeiTConfig(**shape, **labels, image_size=64, initializer_range=0.5))
    model.save_pretrained(folder)
    sizes = {"size": {"height": 72, "width": 80}, "crop_size": {"height": 64, "width": 64}}
    DeiTImageProcessor(**sizes, resample=2, image_mean=[0.1, 0.2, 0.3]).save_pretrained(folder)
    return folder
