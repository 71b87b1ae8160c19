"""Pictures as the model takes them: one torch data set for training and for prediction, one preprocessing."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch.utils.data import Dataset
from transformers.image_processing_utils import BaseImageProcessor

from lesions.augmentation import augment
from lesions.model import picture_side


class LesionPictures(Dataset):
    """Rows of a `datasets.Dataset` as `{"pixel_values": float32 (3, side, side), "labels": int}`.

    With `augment_seed`, every picture is augmented anew each epoch. What is drawn depends on the seed, the epoch
    and the row alone, so it is the same however many workers or processes load it, and after a resume.
    """

    def __init__(self, rows: Any, processor: BaseImageProcessor, augment_seed: int | None = None) -> None:
        self.rows, self.processor, self.augment_seed = rows, processor, augment_seed
        self.side, self.epoch = picture_side(processor), 0

    def set_epoch(self, epoch: int) -> None:
        """To be called at the start of each epoch, before the data loader's workers start."""
        self.epoch = epoch

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> dict[str, Any]:
        row = self.rows[index]
        image, options = row["image"].convert("RGB"), {}
        if self.augment_seed is not None:
            random = np.random.default_rng((self.augment_seed, self.epoch, index))
            image = augment(image, self.side, random)
            options = {"do_resize": False, "do_center_crop": False}
        pixels = self.processor(image, return_tensors="pt", **options)["pixel_values"][0]
        return {"pixel_values": pixels, "labels": row["label"]}


def collate(examples: list[dict[str, Any]]) -> dict[str, torch.Tensor]:
    """Stacks examples into a batch."""
    return {
        "pixel_values": torch.stack([example["pixel_values"] for example in examples]),
        "labels": torch.tensor([example["labels"] for example in examples]),
    }
