"""Synthetic images that resemble dermatoscopy, so that every stage runs on a machine without data. Not real."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from PIL import Image
from tqdm import tqdm

Array = NDArray[np.float64]

WIDTH, HEIGHT = 128, 96  # pixels; HAM10000's aspect of 4 : 3
SEED = 10015
LESIONS = {"akiec": 36, "bcc": 42, "bkl": 54, "df": 30, "mel": 54, "nv": 120, "vasc": 30}
SITES = ("abdomen", "back", "chest", "face", "foot", "lower extremity", "scalp", "trunk", "upper extremity")

BROWN, DARK, TAN = (0.50, 0.31, 0.20), (0.25, 0.15, 0.12), (0.68, 0.50, 0.34)
PINK, RED, PURPLE = (0.88, 0.56, 0.52), (0.78, 0.30, 0.28), (0.48, 0.12, 0.24)
BLUE_GRAY, WHITE, YELLOW = (0.42, 0.46, 0.56), (0.96, 0.90, 0.86), (0.90, 0.78, 0.50)


@dataclass(frozen=True)
class Canvas:
    """An image being drawn, in the lesion's own coordinates (its radius is 1)."""

    x: Array
    y: Array
    pixels: Array  # height x width x 3, in [0, 1]

    def paint(self, where: Array, color: tuple[float, float, float], strength: float = 1.0) -> None:
        """Blends `color` over the canvas; `where` is the opacity of each pixel in [0, 1]."""
        opacity = (where * strength)[..., None]
        self.pixels[:] = self.pixels * (1 - opacity) + np.asarray(color) * opacity

    def disc(self, x: float, y: float, radius: float) -> Array:
        """Opacity of a soft-edged disc."""
        return _soft(radius - np.hypot(self.x - x, self.y - y), edge=radius / 4)


def draw_sample(folder: Path) -> None:
    """Writes HAM10000_metadata.csv and the synthetic images into `folder`, one to four per lesion.

    Every call writes the same files: a lesion's appearance depends on its number alone.
    """
    rows, number = [], 0
    total = sum(LESIONS.values())
    with tqdm(total=total, desc="drawing lesions", unit="lesion") as progress:
        for dx, count in LESIONS.items():
            for _ in range(count):
                random = np.random.RandomState(SEED + number)  # RandomState: its stream never changes
                age, sex, site = (
                    float(5 * random.randint(4, 18)),
                    random.choice(["female", "male"]),
                    random.choice(SITES),
                )
                for view in range(random.choice([1, 2, 2, 3, 4])):
                    image_id = f"DRAWN_{number:04d}_{view}"
                    draw_lesion(dx, SEED + number, view).save(folder / f"{image_id}.jpg", quality=92)
                    rows.append((f"DRAWN_{number:04d}", image_id, dx, "synthetic", age, sex, site))
                number += 1
                progress.update()
    columns = ["lesion_id", "image_id", "dx", "dx_type", "age", "sex", "localization"]
    pd.DataFrame(rows, columns=columns).to_csv(folder / "HAM10000_metadata.csv", index=False)


def draw_lesion(dx: str, seed: int, view: int, zoom: int = 1) -> Image.Image:
    """One image of the synthetic lesion `seed` with diagnosis `dx`; each `view` has its own rotation, position and
    light. With `zoom`, it has so many times the pixels along each side."""
    shape, camera = np.random.RandomState(seed), np.random.RandomState(seed * 31 + view)
    turn, scale = camera.uniform(0, 2 * np.pi), camera.uniform(0.85, 1.2) * 30
    row, column = np.mgrid[0 : HEIGHT * zoom, 0 : WIDTH * zoom] / zoom
    across = (column - WIDTH / 2 - camera.uniform(-8, 8)) / scale
    down = (row - HEIGHT / 2 - camera.uniform(-6, 6)) / scale
    x, y = across * np.cos(turn) - down * np.sin(turn), across * np.sin(turn) + down * np.cos(turn)

    skin = np.array([0.90, 0.73, 0.63]) + shape.uniform(-0.05, 0.05, 3)
    canvas = Canvas(x, y, np.broadcast_to(skin, (*x.shape, 3)).copy())
    LOOKS[dx](canvas, shape)
    # Many lesions are faint; without this the classes would be as easy to recognize as flags.
    canvas.pixels[:] = skin + (canvas.pixels - skin) * shape.uniform(0.6, 1.0)
    _add_hair(canvas, camera)

    light = 1 - 0.12 * np.hypot(across, down)[..., None] / 2
    noise = camera.normal(0, 0.02, canvas.pixels.shape)
    image = canvas.pixels * light * camera.uniform(0.92, 1.06, 3) + noise
    return Image.fromarray((image.clip(0, 1) * 255).astype(np.uint8))


def _soft(signed_distance: Array, edge: float) -> Array:
    return 1 / (1 + np.exp(-np.clip(signed_distance / edge * 4, -30, 30)))


def _outline(canvas: Canvas, shape: np.random.RandomState, ragged: float, edge: float) -> Array:
    """Opacity of the lesion's body: a disc whose radius wobbles by `ragged`, with a border `edge` wide."""
    angle, radius = np.arctan2(canvas.y, canvas.x), np.ones_like(canvas.x)
    for wave in range(2, 7):
        radius += ragged / wave * shape.normal() * np.cos(wave * angle + shape.uniform(0, 2 * np.pi))
    return _soft(radius - np.hypot(canvas.x, canvas.y), edge)


def _dots(
    canvas: Canvas, shape: np.random.RandomState, count: int, sizes: tuple[float, float], reach: float = 0.75
) -> Array:
    opacity = np.zeros_like(canvas.x)
    for _ in range(count):
        distance, angle = reach * np.sqrt(shape.uniform()), shape.uniform(0, 2 * np.pi)
        dot = canvas.disc(distance * np.cos(angle), distance * np.sin(angle), shape.uniform(*sizes))
        opacity = np.maximum(opacity, dot)
    return opacity


def _network(canvas: Canvas, mesh: float) -> Array:
    """Opacity of a pigment network: thin lines around round holes, `mesh` holes per radius."""
    lines = np.abs(np.sin(canvas.x * mesh * np.pi)) * np.abs(np.sin(canvas.y * mesh * np.pi))
    return _soft(0.35 - lines, 0.3)


def _vessels(canvas: Canvas, shape: np.random.RandomState, count: int) -> Array:
    opacity = np.zeros_like(canvas.x)
    for _ in range(count):
        turn, bend, offset = shape.uniform(0, np.pi), shape.uniform(2, 5), shape.uniform(-0.6, 0.6)
        along = canvas.x * np.cos(turn) + canvas.y * np.sin(turn)
        aside = canvas.y * np.cos(turn) - canvas.x * np.sin(turn)
        opacity = np.maximum(opacity, _soft(0.045 - np.abs(aside - offset - 0.15 * np.sin(bend * along)), 0.04))
    return opacity


def _add_hair(canvas: Canvas, camera: np.random.RandomState) -> None:
    canvas.paint(_vessels(canvas, camera, camera.randint(0, 3)), (0.2, 0.15, 0.12), 0.5)


def _nevus(canvas: Canvas, shape: np.random.RandomState) -> None:
    body = _outline(canvas, shape, ragged=shape.uniform(0.05, 0.15), edge=0.20)
    canvas.paint(body, BROWN, shape.uniform(0.55, 0.9))
    canvas.paint(body * _network(canvas, shape.uniform(3, 5)), DARK, 0.45)


def _melanoma(canvas: Canvas, shape: np.random.RandomState) -> None:
    body = _outline(canvas, shape, ragged=shape.uniform(0.3, 0.5), edge=0.15)
    canvas.paint(body, BROWN, 0.9)
    canvas.paint(body * _dots(canvas, shape, shape.randint(3, 6), (0.2, 0.5)), DARK, 0.8)
    canvas.paint(body * _network(canvas, 4), DARK, 0.3)
    canvas.paint(body * _dots(canvas, shape, 2, (0.2, 0.45), 0.5), BLUE_GRAY, shape.uniform(0.2, 0.7))


def _benign_keratosis(canvas: Canvas, shape: np.random.RandomState) -> None:
    body = _outline(canvas, shape, ragged=0.20, edge=0.05)
    canvas.paint(body, TAN, shape.uniform(0.7, 0.95))
    canvas.paint(body * _dots(canvas, shape, shape.randint(5, 15), (0.05, 0.10), 0.9), YELLOW, 0.9)
    canvas.paint(body * _dots(canvas, shape, shape.randint(3, 9), (0.05, 0.10), 0.9), DARK, 0.8)


def _basal_cell_carcinoma(canvas: Canvas, shape: np.random.RandomState) -> None:
    body = _outline(canvas, shape, ragged=0.20, edge=0.25)
    canvas.paint(body, PINK, 0.7)
    canvas.paint(body * _dots(canvas, shape, shape.randint(2, 6), (0.12, 0.28)), BLUE_GRAY, 0.8)
    canvas.paint(body * _vessels(canvas, shape, shape.randint(3, 6)), RED, 0.8)


def _actinic_keratosis(canvas: Canvas, shape: np.random.RandomState) -> None:
    body = _outline(canvas, shape, ragged=0.30, edge=0.35)
    canvas.paint(body, RED, shape.uniform(0.45, 0.65))
    canvas.paint(body * _dots(canvas, shape, shape.randint(6, 17), (0.06, 0.13), 0.9), WHITE, 0.75)


def _dermatofibroma(canvas: Canvas, shape: np.random.RandomState) -> None:
    body = _outline(canvas, shape, ragged=0.12, edge=0.35)
    canvas.paint(body, TAN, 0.8)
    canvas.paint(body * _network(canvas, shape.uniform(3, 5)), BROWN, 0.5)
    canvas.paint(canvas.disc(0, 0, shape.uniform(0.35, 0.55)), WHITE, shape.uniform(0.5, 0.9))


def _vascular(canvas: Canvas, shape: np.random.RandomState) -> None:
    body = _outline(canvas, shape, ragged=0.15, edge=0.12)
    canvas.paint(body, RED, 0.75)
    canvas.paint(body * _dots(canvas, shape, shape.randint(4, 10), (0.15, 0.32), 0.8), PURPLE, 0.85)


LOOKS = {
    "akiec": _actinic_keratosis,
    "bcc": _basal_cell_carcinoma,
    "bkl": _benign_keratosis,
    "df": _dermatofibroma,
    "mel": _melanoma,
    "nv": _nevus,
    "vasc": _vascular,
}
