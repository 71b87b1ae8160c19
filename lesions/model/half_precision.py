"""Weights stored in float16: half the download."""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from transformers import PreTrainedModel

from lesions.model.loading import HEAD
from lesions.output.files import whole_file
from lesions.run_folder import WEIGHTS


@torch.no_grad()
def round_to_half(model: PreTrainedModel) -> None:
    """Rounds the weights to the values that `store_in_half` keeps, so that what is measured is what is stored."""
    for name, weights in model.state_dict().items():
        weights.copy_(_in_half(name, weights))


def store_in_half(folder: Path) -> None:
    """Stores the weights of a model folder in float16. Its config.json still says float32: the model computes in that.

    Heads stay float32: they are small, and so they keep the fitted decision to the last digit. Weights beyond the
    range of float16 stay float32 too.
    """
    for file in folder.glob(WEIGHTS):
        stored = load_file(file)
        with whole_file(file) as partial:
            save_file({name: _in_half(name, weights) for name, weights in stored.items()}, partial, {"format": "pt"})


def _in_half(name: str, weights: torch.Tensor) -> torch.Tensor:
    if weights.dtype != torch.float32 or HEAD.search(name):
        return weights
    half = weights.half()
    return half if half.isfinite().all() else weights
