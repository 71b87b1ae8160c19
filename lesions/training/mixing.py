"""Pictures mixed in pairs: mixup (Zhang et al. 2018) and CutMix (Yun et al. 2019)."""

from __future__ import annotations

import math

import numpy as np
import torch

MIXUP_ALPHA = 0.8  # of the Beta distribution, as DeiT was trained; CutMix has 1


def mix(
    pixels: torch.Tensor, targets: torch.Tensor, share: float, random: np.random.Generator
) -> tuple[torch.Tensor, torch.Tensor]:
    """Mixes `share` of all batches: each picture (batch, 3, h, w) with another, and targets (batch, classes) alike.

    Of the mixed batches, half are blended and half have a square of the other picture pasted in.
    """
    if random.random() >= share:
        return pixels, targets
    order = torch.from_numpy(random.permutation(len(pixels))).to(pixels.device)
    if random.random() < 0.5:
        kept = random.beta(MIXUP_ALPHA, MIXUP_ALPHA)
        pixels = torch.lerp(pixels[order], pixels, kept)
    else:
        side = pixels.shape[-1]
        cut = int(side * math.sqrt(1 - random.beta(1, 1)))
        top, left = random.integers(0, side - cut + 1, 2)
        box = (..., slice(top, top + cut), slice(left, left + cut))
        others = pixels[order][box]
        pixels = pixels.clone()
        pixels[box] = others
        kept = 1 - (cut / side) ** 2
    return pixels, torch.lerp(targets[order], targets, kept)
