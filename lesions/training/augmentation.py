"""Augmentation for dermatoscopy: a lesion has no upright side, and its color varies little by chance.

One affine warp does rotation, flip, zoom, stretch, shift and the resize to the model's size, so that an image is
interpolated once. One table of 256 levels per channel does color and normalization.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from numpy.random import Generator
from numpy.typing import NDArray

from lesions.exports import export_again

ZOOM = (0.7, 1.2)  # below 1 the image shrinks and is mirrored beyond its edge
ASPECT = 1.15  # stretched by at most this
SHIFT = 0.1  # of the side
COLOR = 0.15  # brightness, contrast and gamma move by at most this share, each channel by half of it

cv2.setNumThreads(1)  # images this small gain nothing from threads, and each data loader worker would start its own


def augment(
    pixels: NDArray[np.uint8], side: int, zoom: float, levels: NDArray[np.float32], random: Generator
) -> NDArray[np.float32]:
    """A random variant of the image `pixels` (h, w, 3), normalized, of shape (side, side, 3).

    `zoom` is the scale of an evaluation, in output pixels per input pixel; the random zoom multiplies it.
    `levels` (256, 3) holds the normalized value of each level of red, green and blue.
    """
    middle = np.array([pixels.shape[1], pixels.shape[0]]) / 2
    angle = random.uniform(0, 2 * math.pi)
    zoom *= math.exp(random.uniform(*np.log(ZOOM)))
    stretch, flip = math.exp(random.uniform(-1, 1) * math.log(ASPECT)), random.choice([-1, 1])
    turn = np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    matrix = turn @ np.diag([flip * zoom * stretch, zoom / stretch])
    shift = side * (0.5 + random.uniform(-SHIFT, SHIFT, 2)) - matrix @ middle
    warped = cv2.warpAffine(
        pixels,
        np.column_stack([matrix, shift]),
        (side, side),
        flags=cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_REFLECT_101,
    )
    return cv2.LUT(warped, change_colors(levels, random)[None])


def change_colors(levels: NDArray[np.float32], random: Generator) -> NDArray[np.float32]:
    """`levels` after a random change of gamma, contrast, brightness and color cast."""
    gamma, contrast, brightness = np.exp(random.uniform(-COLOR, COLOR, 3))
    cast = np.exp(random.uniform(-COLOR / 2, COLOR / 2, 3))
    gray = (np.linspace(0, 1, 256) ** gamma - 0.5) * contrast + 0.5
    changed = np.clip(gray[:, None] * brightness * cast, 0, 1)
    return (levels[0] + changed * (levels[-1] - levels[0])).astype(np.float32)  # normalization is affine


@dataclass(frozen=True)
class Augmentation:
    """Random variants of training images, smaller ones in the first epochs."""

    seed: int
    low_side: int = 0  # pixels
    low_epochs: float = 0
    exports: float = 0  # share of the images that become another export of the same photograph

    def draw(self, pixels: NDArray[np.uint8], levels: NDArray[np.float32], epoch: int, row: int) -> NDArray[np.float32]:
        """The variant of the square image `pixels` (side, side, 3) for this epoch: see `augment`.

        It depends on the seed, the epoch and the row of the data set alone.
        """
        full = pixels.shape[0]
        side = self.low_side if epoch < self.low_epochs else full
        random = np.random.default_rng((self.seed, epoch, row))
        if self.exports and random.random() < self.exports:
            pixels = export_again(pixels, random)
        return augment(pixels, side, side / full, levels, random)


MIXUP_ALPHA = 0.8  # of the Beta distribution, as DeiT was trained; CutMix has 1


def mix(
    pixels: torch.Tensor, targets: torch.Tensor, share: float, random: np.random.Generator
) -> tuple[torch.Tensor, torch.Tensor]:
    """Mixes `share` of all batches: each image (batch, 3, h, w) with another, and targets (batch, classes) alike.

    Of the mixed batches, half are blended and half have a square of the other image pasted in.
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
