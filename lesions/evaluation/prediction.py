"""Probabilities from a trained model, as `pipeline("image-classification")` computes them."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import Subset
from tqdm import tqdm

from lesions.arrays import Array, Numbers
from lesions.cpu import keep_freed_memory
from lesions.diagnoses import with_malignant
from lesions.evaluation.options import MeasureOptions
from lesions.faults import InputError
from lesions.hub import local_folder
from lesions.metrics.probabilities import softmax
from lesions.model.familiarity import COMMAND, Familiarity
from lesions.model.inputs import LesionImages, collate
from lesions.model.loading import heads, load_for_prediction
from lesions.model.onnx_runtime import OnnxClassifier
from lesions.output.plain_text import in_short
from lesions.run_folder import FAMILIARITY, record_of, weights_of

if TYPE_CHECKING:
    from datasets import Dataset

T = TypeVar("T")


def turned(pixels: torch.Tensor, quarters: int, mirrored: bool) -> torch.Tensor:
    """Pixels (n, 3, side, side), mirrored left to right if asked, then rotated by quarters of a circle."""
    pixels = pixels.flip(3) if mirrored else pixels
    return pixels.rot90(quarters, (2, 3)) if quarters else pixels  # torch would copy them for 0 quarters


# A lesion has no up or down, so the eight symmetries of the square are all alike.
View = Callable[[torch.Tensor], torch.Tensor]
QUARTERS: list[View] = [partial(turned, quarters=k, mirrored=False) for k in range(4)]
MIRRORED: list[View] = [partial(turned, quarters=k, mirrored=True) for k in range(4)]
VIEWS: dict[str, list[View]] = {
    "none": QUARTERS[:1],
    "flips": [QUARTERS[0], QUARTERS[2], MIRRORED[0], MIRRORED[2]],  # as it is, mirrored, upside down, both
    "dihedral": QUARTERS + MIRRORED,
}


def in_batches(images: LesionImages | Subset, size: int) -> Iterator[dict[str, torch.Tensor]]:
    """The images in batches of `size`. All cores together prepare a batch."""
    with ThreadPoolExecutor(torch.get_num_threads()) as threads:
        for start in range(0, len(images), size):
            rows = range(start, min(start + size, len(images)))
            yield collate(list(threads.map(images.__getitem__, rows)))


def one_ahead(batches: Iterable[T]) -> Iterator[T]:
    """`batches`, prepared one ahead in a thread: images decode while a GPU computes.

    A CPU has no core to spare for that: its computing threads would wait for the one that shares its core.
    """
    iterator = iter(batches)
    with ThreadPoolExecutor(max_workers=1) as thread:
        coming = thread.submit(next, iterator, None)
        while (batch := coming.result()) is not None:
            coming = thread.submit(next, iterator, None)
            yield batch


class Answers(NamedTuple):
    """What a model says of n images: probabilities (n, classes); the features (n, size) of the first view that its head
    reads, of size 0 unless they were asked for; and the seconds that it took."""

    probabilities: Array
    features: NDArray[np.float32]
    seconds: float


@dataclass
class Predictor:
    """A trained model with its preprocessing, on the GPU if there is one, in float32.

    Its answers hold features if `with_features` asks for them, or if the run has a `familiarity` to judge them by.
    With the backend "onnx", its ONNX file on the CPU. `malignant` are the labels that the user calls so.
    """

    folder: Path
    with_features: bool = False
    backend: str = "torch"
    malignant: list[str] | None = None

    def __post_init__(self) -> None:
        in_torch, self.weights = self.backend == "torch", weights_of(self.folder)
        self.device = torch.device("cuda" if torch.cuda.is_available() and in_torch else "cpu")
        self.model: Any
        if in_torch:
            self.model, self.processor = load_for_prediction(self.folder)
            self.model.to(self.device)
        else:
            self.model = OnnxClassifier(self.folder)
            self.processor = self.model.processor
        if self.device.type == "cpu":
            keep_freed_memory()
        self.labels = [self.model.config.id2label[number] for number in range(self.model.config.num_labels)]
        record = record_of(self.folder, self.labels) or {}  # of the run that trained it, if train.py did
        self.record = with_malignant(record, self.labels, self.malignant)
        self.familiarity = Familiarity.load(self.folder)
        if self.familiarity and in_torch and heads(self.model)[0].in_features != len(self.familiarity.center):
            raise InputError(f"{self.folder / FAMILIARITY} is of another model; delete it, or make it again: {COMMAND}")

    @classmethod
    def of(cls, model: str, options: MeasureOptions) -> Predictor:
        """The predictor of `model`, a folder or a Hub id. Raises InputError if it, or its ONNX file, is missing."""
        folder = local_folder(model, "model", everything=options.backend == "onnx")
        return cls(folder, backend=options.backend, malignant=options.malignant)

    def truth_of(self, rows: Dataset, name: str) -> Numbers:
        """The label numbers (n,) of the `rows` of the data set `name`, as the model counts its labels.

        Raises InputError if the two have different labels.
        """
        names = rows.features["label"].names
        if set(names) != set(self.labels):
            raise InputError(
                f"different diagnoses: the model {self.folder} knows {in_short(self.labels)}; {name} has "
                f"{in_short(names)}. Take data with the model's own diagnoses"
            )
        return np.array([self.labels.index(names[number]) for number in rows["label"]])

    def probabilities(self, rows: Any, batch_size: int, views: str = "none", task: str = "predicting") -> Answers:
        """The model's answers to `rows` with an `image` each: the mean over the `views`, a key of VIEWS."""
        started = time.perf_counter()
        batches = in_batches(LesionImages(rows, self.processor), batch_size)
        parts: list[Array] = []
        features: list[NDArray[np.float32]] = []
        bar = tqdm(total=len(rows), desc=task, unit="image", leave=False)
        with torch.inference_mode(), self._watch_features() as seen, bar as progress:
            for batch in one_ahead(batches) if self.device.type == "cuda" else batches:
                pixels = batch["pixel_values"].to(self.device)
                answers = [softmax(self.model(pixel_values=view(pixels)).logits.cpu().numpy()) for view in VIEWS[views]]
                parts.append(np.mean(answers, axis=0))
                features += [part.cpu().numpy() for part in seen[:1]]
                seen.clear()
                progress.update(len(pixels))
        seconds = time.perf_counter() - started
        nothing = np.empty((len(rows), 0), np.float32)
        return Answers(np.concatenate(parts), np.concatenate(features) if features else nothing, seconds)

    @contextmanager
    def _watch_features(self) -> Iterator[list[torch.Tensor]]:
        """A list to which each forward pass adds what the first head reads, of DeiT's two that of the class token."""
        seen: list[torch.Tensor] = []
        if self.backend == "onnx":
            self.model.note_features = seen.append
        if self.backend == "onnx" or not (self.with_features or self.familiarity):
            yield seen
            return
        hook = heads(self.model)[0].register_forward_pre_hook(lambda head, inputs: seen.append(inputs[0]))
        try:
            yield seen
        finally:
            hook.remove()
