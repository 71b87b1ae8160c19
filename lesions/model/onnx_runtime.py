"""A model's ONNX file through ONNX Runtime, called as the transformers model is."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from transformers.modeling_outputs import ImageClassifierOutput

from lesions.faults import InputError
from lesions.model.loading import check_answer, load_processor, read_config, usable
from lesions.model.onnx_file import check_export

if TYPE_CHECKING:
    import onnxruntime


def open_session(file: Path | bytes) -> onnxruntime.InferenceSession:
    """ONNX Runtime on the CPU, with as many threads as torch uses, for a file or its content."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    model = file if isinstance(file, bytes) else str(file)
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])


class OnnxClassifier:
    """The ONNX file of a model folder, with the part of a transformers model's interface that prediction uses."""

    def __init__(self, folder: Path) -> None:
        file = check_export(folder)
        with usable(file):
            self.session = open_session(file)
        self.config, seen = read_config(folder), list[torch.Tensor]()
        self.note_features: Callable[[torch.Tensor], object] = seen.append
        self.processor = load_processor(folder)
        check_answer(self, self.config.num_labels, self.processor, str(file))
        if not all(features.isfinite().all() for features in seen):
            raise InputError(f"{file} gives features that are not finite numbers; export it again")
        self.note_features = lambda features: None

    def __call__(self, pixel_values: torch.Tensor) -> ImageClassifierOutput:
        """Logits (n, classes) of pixels (n, 3, side, side), both float32 on the CPU.

        If the file gives features too, `note_features` is called with them, (n, size).
        """
        logits, *more = self.session.run(None, {"pixel_values": pixel_values.numpy()})
        if more:
            self.note_features(torch.from_numpy(more[0]))
        return ImageClassifierOutput(logits=torch.from_numpy(logits))
