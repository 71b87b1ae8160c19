"""Images as the model takes them: one torch data set for training and for prediction, one preprocessing."""

from __future__ import annotations

import mmap
from typing import Any, Protocol

import cv2
import numpy as np
import psutil
import torch
from datasets import Dataset as Rows
from numpy.typing import NDArray
from PIL import Image
from torch.utils.data import Dataset
from transformers.image_processing_utils import BaseImageProcessor

from lesions.faults import InputError
from lesions.model.resolution import image_side

KEPT_SHARE = 0.4  # of the free memory, at most, for images that are decoded once and kept


class Augmentation(Protocol):
    """Draws a training image: see `lesions.training.augmentation`."""

    def draw(
        self, pixels: NDArray[np.uint8], levels: NDArray[np.float32], epoch: int, row: int
    ) -> NDArray[np.float32]: ...


class LesionImages(Dataset):
    """Rows of a `datasets.Dataset` as `{"pixel_values": float32 (3, side, side), "labels": int, "rows": int}`.

    With `augmentation`, an image looks different in each epoch. What it draws depends on the seed, the epoch and
    the row alone, so it is the same for any number of workers or processes, and after a resume.
    With `keep`, an image is decoded and resized once, if memory allows. Forked workers share these images; workers
    that start otherwise decode their own.
    """

    def __init__(
        self, rows: Any, processor: BaseImageProcessor, augmentation: Augmentation | None = None, keep: bool = False
    ) -> None:
        self.rows, self.processor, self.augmentation = rows, processor, augmentation
        self.side = image_side(processor)
        self.epoch = torch.zeros((), dtype=torch.int64).share_memory_()  # workers that live on see it change
        self.levels = levels_of(processor)
        self.kept = _keep(len(rows), self.side) if keep else None

    def __getstate__(self) -> dict[str, Any]:
        """What a worker is sent that was not forked: not the kept images, which may be gigabytes."""
        return {**self.__dict__, "kept": None}

    def set_epoch(self, epoch: int) -> None:
        """Call it at the start of each epoch, before an image of it is asked for."""
        self.epoch.fill_(epoch)

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> dict[str, Any]:
        pixels, label = self._resized(index)
        if self.augmentation:
            values = self.augmentation.draw(pixels, self.levels, int(self.epoch), index)
        else:
            values = cv2.LUT(pixels, self.levels[None])
        return {"pixel_values": torch.from_numpy(values).permute(2, 0, 1), "labels": label, "rows": index}

    def _resized(self, index: int) -> tuple[NDArray[np.uint8], int]:
        """Pixels (side, side, 3) as the processor resizes and crops them, and the label."""
        if self.kept is not None and (kept := self.kept[index])["whole"]:
            return kept["pixels"], int(kept["label"])
        try:
            row = self.rows[index]
            pixels = resize(row["image"], self.processor)
        except Exception as error:  # Pillow, numpy and datasets raise errors of every type
            ids = self.rows.select_columns("image_id") if isinstance(self.rows, Rows) else []
            name = ids[index]["image_id"] if len(ids) else f"number {index}"
            reason = f"{type(error).__name__}: {error}"
            raise InputError(f"the image {name} can't be read ({reason}); make the data set again") from error
        if self.kept is not None:
            self.kept[index] = (0, row["label"], pixels)
            self.kept[index]["whole"] = 1  # last: another worker may read this row at any moment
        return pixels, row["label"]


def resize(image: Image.Image, processor: BaseImageProcessor) -> NDArray[np.uint8]:
    """Pixels (side, side, 3) of the image as the processor resizes and crops it, not yet normalized."""
    options = {"do_rescale": False, "do_normalize": False, "return_tensors": "np"}
    if hasattr(processor, "include_top"):  # EfficientNet's normalizes a second time for it
        options["include_top"] = False
    return cv2.merge(list(processor(image.convert("RGB"), **options)["pixel_values"][0]))  # channels last


def levels_of(processor: BaseImageProcessor) -> NDArray[np.float32]:
    """The normalized value (256, 3) of each level of red, green and blue: read off the processor, to the last digit."""
    ramp = np.repeat(np.arange(256, dtype=np.uint8)[None, :, None], 3, axis=2)
    options = {"do_resize": False, "do_center_crop": False, "input_data_format": "channels_last"}
    values = processor(ramp, return_tensors="np", **options)["pixel_values"][0]  # (3, 1, 256)
    return np.ascontiguousarray(values[:, 0].T.astype(np.float32))


def check_steps(processor: BaseImageProcessor) -> None:
    """Raises ValueError unless the processor's values are those of `resize` and `levels_of`, which stand for it."""
    for image in noise(image_side(processor)):
        expected = processor(image, return_tensors="np")["pixel_values"][0].transpose(1, 2, 0)
        pixels = resize(image, processor)
        if pixels.dtype != np.uint8 or not np.allclose(
            cv2.LUT(pixels, levels_of(processor)[None]), expected, 1e-5, 1e-5
        ):
            raise ValueError(
                f"{type(processor).__name__} does not resize and crop first, and then normalize each color"
            )


def noise(side: int) -> list[Image.Image]:
    """Two images that show how a processor prepares them: a large one and a small one, of other shapes than `side`."""
    random, sizes = np.random.default_rng(0), ((2 * side, 3 * side + 1), (side // 2 + 9, side // 3 + 9))
    return [Image.fromarray(random.integers(0, 256, (*size, 3), dtype=np.uint8)) for size in sizes]


def _keep(count: int, side: int) -> NDArray[np.void] | None:
    """Room for `count` resized images in memory that forked workers share; None if that would take too much."""
    layout = np.dtype([("whole", "u1"), ("label", "i8"), ("pixels", "u1", (side, side, 3))])
    if count * layout.itemsize > KEPT_SHARE * psutil.virtual_memory().available:
        return None
    return np.frombuffer(mmap.mmap(-1, max(1, count) * layout.itemsize), dtype=layout)


def collate(examples: list[dict[str, Any]]) -> dict[str, torch.Tensor]:
    """Stacks examples into a batch."""
    return {
        "pixel_values": torch.stack([example["pixel_values"] for example in examples]),
        "labels": torch.tensor([example["labels"] for example in examples]),
        "rows": torch.tensor([example["rows"] for example in examples]),
    }
