"""Augmentation that suits dermatoscopy: a lesion has no upright side, and little about its colour is chance."""

from __future__ import annotations

import math

from numpy.random import Generator
from PIL import Image, ImageEnhance

SMALLEST_CROP = 0.5  # share of the picture's area; less would often cut the lesion itself away
ASPECT = 4 / 3  # a crop is stretched by at most this
COLOUR = 0.15  # brightness, contrast and saturation move by at most this share
TURNS = (None, *Image.Transpose)  # the eight ways to turn and flip a square


def augment(image: Image.Image, side: int, random: Generator) -> Image.Image:
    """A `side` x `side` picture: random resized crop, one of eight turns and flips, mild change of colour.

    The crop is drawn in shares of width and height, so that a crop of the whole is the squashed square that
    the models' own preprocessing makes.
    """
    area, stretch = random.uniform(SMALLEST_CROP, 1), math.exp(random.uniform(-1, 1) * math.log(ASPECT))
    width, height = min(1, math.sqrt(area * stretch)), min(1, math.sqrt(area / stretch))
    left, top = random.uniform(0, 1 - width), random.uniform(0, 1 - height)
    box = (
        left * image.width,
        top * image.height,
        (left + width) * image.width,
        (top + height) * image.height,
    )
    image = image.resize((side, side), Image.Resampling.BICUBIC, box=box, reducing_gap=2)

    turn = TURNS[random.integers(len(TURNS))]
    if turn is not None:
        image = image.transpose(turn)
    for change in (ImageEnhance.Brightness, ImageEnhance.Contrast, ImageEnhance.Color):
        image = change(image).enhance(random.uniform(1 - COLOUR, 1 + COLOUR))
    return image
