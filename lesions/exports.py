"""Another export of the same photograph: what cameras, archives and apps do to an image before a model sees it.

A photograph reaches a user resized, sharpened, compressed and with other colors than the copy in the training data.
Each step below is applied with a probability of its own, in the order in which a photograph meets them.
"""

from __future__ import annotations

import math

import cv2
import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

Pixels = NDArray[np.uint8]

ENLARGE = (cv2.INTER_LINEAR, cv2.INTER_CUBIC, cv2.INTER_LANCZOS4)
GRAY = np.array([0.299, 0.587, 0.114], np.float32)  # ITU-R BT.601, as in JPEG


def export_again(pixels: Pixels, random: Generator) -> Pixels:
    """The image `pixels` (h, w, 3) as another export of the same photograph, of the same size."""
    steps = ((0.15, _dark_corners), (0.5, _resample), (0.25, _blur), (0.4, _sharpen), (0.5, _recolor), (0.2, _noise))
    for probability, step in (*steps, (0.5, _compress)):
        if random.random() < probability:
            pixels = step(pixels, random)
    return pixels


def _dark_corners(pixels: Pixels, random: Generator) -> Pixels:
    """The round dark frame of a dermatoscope, with a soft edge, or a black border."""
    height, width = pixels.shape[:2]
    y, x = np.mgrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j].astype(np.float32)
    distance = np.hypot(x, y) if random.random() < 0.7 else np.maximum(abs(x), abs(y)) * 1.2
    light = np.clip((random.uniform(1.0, 1.4) - distance) / random.uniform(0.02, 0.3), 0, 1)
    return cv2.multiply(pixels, cv2.merge([light] * 3), dtype=cv2.CV_8U)


def _resample(pixels: Pixels, random: Generator) -> Pixels:
    """Shrunk to between a third and all of its side, and enlarged again."""
    height, width = pixels.shape[:2]
    share = math.exp(random.uniform(math.log(1 / 3), 0))
    small = cv2.resize(pixels, (round(width * share), round(height * share)), interpolation=cv2.INTER_AREA)
    return cv2.resize(small, (width, height), interpolation=int(random.choice(ENLARGE)))


def _blur(pixels: Pixels, random: Generator) -> Pixels:
    """Out of focus: a sigma of up to 1.5 % of the shorter side."""
    return cv2.GaussianBlur(pixels, (0, 0), random.uniform(0.001, 0.015) * min(pixels.shape[:2]))


def _sharpen(pixels: Pixels, random: Generator) -> Pixels:
    """An unsharp mask of up to 150 %."""
    amount = random.uniform(0.2, 1.5)
    soft = cv2.GaussianBlur(pixels, (0, 0), random.uniform(0.003, 0.01) * min(pixels.shape[:2]))
    return cv2.addWeighted(pixels, 1 + amount, soft, -amount, 0)


def _recolor(pixels: Pixels, random: Generator) -> Pixels:
    """White balance and saturation, and a little of one channel in another."""
    saturation = math.exp(random.uniform(-0.4, 0.4))
    matrix = (1 - saturation) * np.tile(GRAY, (3, 1)) + saturation * np.eye(3, dtype=np.float32)
    gains = np.exp(random.uniform(-0.15, 0.15, 3))
    return cv2.transform(pixels, (gains[:, None] * matrix).astype(np.float32))


def _noise(pixels: Pixels, random: Generator) -> Pixels:
    """Noise of the sensor, with a standard deviation of up to 8 of 255 levels."""
    noise = random.uniform(1, 8) * random.standard_normal(pixels.shape, np.float32)
    return cv2.add(pixels, noise, dtype=cv2.CV_8U)


def _compress(pixels: Pixels, random: Generator) -> Pixels:
    """JPEG of quality 40 to 95."""
    options = [cv2.IMWRITE_JPEG_QUALITY, int(random.integers(40, 96))]
    encoded = cv2.imencode(".jpg", cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR), options)[1]
    return cv2.imdecode(encoded, cv2.IMREAD_COLOR_RGB)
