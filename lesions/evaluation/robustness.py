"""Accuracy under changes like those of another camera, light, hand or export: nine kinds of five strengths each."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from dataclasses import dataclass
from io import BytesIO
from typing import Any

import cv2
import numpy as np
from PIL import Image, ImageEnhance, ImageFilter

from lesions.arrays import Numbers
from lesions.evaluation.prediction import Predictor
from lesions.exports import export_again
from lesions.images import decode
from lesions.metrics.measured import Measured

ROBUSTNESS_METRICS = ("accuracy", "balanced_accuracy")


@dataclass(frozen=True)
class Change:
    """A way to change an image, its five strengths from mild to strong, and their unit."""

    apply: Callable[[Image.Image, float], Image.Image]
    strengths: tuple[float, ...]
    unit: str


def blur(image: Image.Image, percent: float) -> Image.Image:
    return image.filter(ImageFilter.GaussianBlur(percent / 100 * min(image.size)))


def brightness(image: Image.Image, factor: float) -> Image.Image:
    return ImageEnhance.Brightness(image).enhance(factor)


def color_cast(image: Image.Image, percent: float) -> Image.Image:
    """Red up and blue down, as from daylight to a warm lamp."""
    gains = np.array([1 + percent / 100, 1, 1 - percent / 100])
    return Image.fromarray(np.clip(np.asarray(image) * gains, 0, 255).round().astype(np.uint8))


def jpeg(image: Image.Image, quality: float) -> Image.Image:
    encoded = BytesIO()
    image.save(encoded, "JPEG", quality=int(quality))
    return decode(encoded.getvalue())


def rotation(image: Image.Image, degrees: float) -> Image.Image:
    return _turn_and_scale(image, degrees, 1)


def scale(image: Image.Image, percent: float) -> Image.Image:
    """The lesion from farther away; mirrored edges fill the frame."""
    return _turn_and_scale(image, 0, percent / 100)


def crop(image: Image.Image, percent: float) -> Image.Image:
    """The middle, `percent` of each side."""
    width, height = (round(side * percent / 100) for side in image.size)
    left, top = (image.width - width) // 2, (image.height - height) // 2
    return image.crop((left, top, left + width, top + height))


def other_export(image: Image.Image, times: float) -> Image.Image:
    """The photograph saved `times` times by programs that each resample, sharpen, recolor or compress it."""
    pixels = np.asarray(image)
    random = np.random.default_rng(zlib.crc32(pixels.tobytes()))  # the same for an image wherever it is measured
    for _ in range(int(times)):
        pixels = export_again(pixels, random)
    return Image.fromarray(pixels)


def _turn_and_scale(image: Image.Image, degrees: float, factor: float) -> Image.Image:
    middle = ((image.width - 1) / 2, (image.height - 1) / 2)
    matrix = cv2.getRotationMatrix2D(middle, degrees, factor)
    options = {"flags": cv2.INTER_AREA if factor < 1 else cv2.INTER_LINEAR, "borderMode": cv2.BORDER_REFLECT_101}
    return Image.fromarray(cv2.warpAffine(np.asarray(image), matrix, image.size, **options))


CHANGES = {
    "blur": Change(blur, (0.25, 0.5, 1, 1.5, 2), "sigma, % of the shorter side"),
    "brightness, down": Change(brightness, (0.9, 0.8, 0.7, 0.6, 0.5), "factor"),
    "brightness, up": Change(brightness, (1.1, 1.2, 1.3, 1.4, 1.5), "factor"),
    "color cast": Change(color_cast, (3, 6, 9, 12, 15), "red up, blue down, %"),
    "JPEG": Change(jpeg, (75, 50, 30, 20, 10), "quality"),
    "rotation": Change(rotation, (5, 15, 30, 45, 90), "degrees"),
    "scale": Change(scale, (90, 80, 70, 60, 50), "size of the lesion, %"),
    "crop": Change(crop, (90, 80, 70, 60, 50), "remaining side, %"),
    "other export": Change(other_export, (1, 2, 3, 4, 5), "times exported"),
}


class Changed:
    """The rows of these `numbers`, whose images are changed when they are asked for."""

    def __init__(self, rows: Any, numbers: Numbers, change: Change, strength: float) -> None:
        self.rows, self.numbers, self.change, self.strength = rows, numbers, change, strength

    def __len__(self) -> int:
        return len(self.numbers)

    def __getitem__(self, index: int) -> dict[str, Any]:
        row = self.rows[int(self.numbers[index])]
        return {**row, "image": self.change.apply(row["image"].convert("RGB"), self.strength)}


def measure_robustness(
    predictor: Predictor, rows: Any, measured: Measured, count: int, batch_size: int
) -> dict[str, Any]:
    """Accuracy and balanced accuracy with intervals on `count` images sampled at random (0: all): unchanged, and
    under each change and strength. `measured` holds the model's answers to the unchanged `rows`."""
    numbers = np.arange(len(measured))
    if 0 < count < len(measured):
        numbers = np.sort(np.random.default_rng(0).choice(numbers, count, replace=False))
    part, changes = measured.only(numbers), {}
    for name, change in CHANGES.items():
        points = []
        for strength in change.strengths:
            changed = Changed(rows, numbers, change, strength)
            answers = predictor.probabilities(changed, batch_size, task=f"{name} {strength:g}")
            metrics = part.of_probabilities(answers.probabilities).metrics(ROBUSTNESS_METRICS)
            points.append({"strength": strength, **metrics})
        changes[name] = {"unit": change.unit, "strengths": points}
    return {**part.counts(), "unchanged": part.metrics(ROBUSTNESS_METRICS), "changes": changes}
