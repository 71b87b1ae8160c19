"""Probabilities from a trained model, as `pipeline("image-classification")` computes them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import DataLoader
from tqdm import tqdm

from lesions.metrics import softmax
from lesions.model import load_for_prediction, load_processor
from lesions.pictures import LesionPictures, collate


def predict(folder: Path, rows: Any, batch_size: int) -> tuple[NDArray[np.float64], list[str]]:
    """Probabilities of shape (n, classes) for `rows` with an `image` each, and the labels of the columns.

    In float32, with the model's own preprocessing.
    """
    model, processor = load_for_prediction(folder), load_processor(folder)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    model.to(device)
    loader = DataLoader(LesionPictures(rows, processor), batch_size=batch_size, collate_fn=collate)
    logits = []
    with torch.inference_mode(), tqdm(total=len(rows), desc="predicting", unit="picture") as progress:
        for batch in loader:
            logits.append(model(pixel_values=batch["pixel_values"].to(device)).logits.cpu())
            progress.update(len(logits[-1]))
    labels = [model.config.id2label[number] for number in range(model.config.num_labels)]
    return softmax(torch.cat(logits).numpy()), labels
