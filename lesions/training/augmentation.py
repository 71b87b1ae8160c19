"""Augmentation that suits dermatoscopy: a lesion has no upright side, and little about its colour is chance.

One affine warp does turn, flip, zoom, stretch, shift and the resize to the model's size, so that a picture is
interpolated once; one table of 256 levels a channel does colour and normalisation.
"""

from __future__ import annotations

import math

import cv2
import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

ZOOM = (0.7, 1.2)  # below 1 the picture shrinks and is mirrored beyond its edge
ASPECT = 1.15  # stretched by at most this
SHIFT = 0.1  # of the side
COLOUR = 0.15  # brightness, contrast and gamma move by at most this share, each channel by half of it

cv2.setNumThreads(1)  # pictures this small gain nothing from threads, and data loader workers would multiply them


def augment(
    pixels: NDArray[np.uint8], side: int, zoom: float, levels: NDArray[np.float32], random: Generator
) -> NDArray[np.float32]:
    """The picture `pixels` (h, w, 3) drawn anew as a normalised picture (side, side, 3).

    At `zoom`, output pixels an input pixel, the middle of the picture is seen as the model sees it in evaluation.
    `levels` (256, 3) holds the normalised value of each level of red, green and blue.
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
    return cv2.LUT(warped, change_colours(levels, random)[None])


def change_colours(levels: NDArray[np.float32], random: Generator) -> NDArray[np.float32]:
    """`levels` after a drawn change of gamma, contrast, brightness and colour cast."""
    gamma, contrast, brightness = np.exp(random.uniform(-COLOUR, COLOUR, 3))
    cast = np.exp(random.uniform(-COLOUR / 2, COLOUR / 2, 3))
    grey = (np.linspace(0, 1, 256) ** gamma - 0.5) * contrast + 0.5
    changed = np.clip(grey[:, None] * brightness * cast, 0, 1)
    return (levels[0] + changed * (levels[-1] - levels[0])).astype(np.float32)  # normalisation is affine
