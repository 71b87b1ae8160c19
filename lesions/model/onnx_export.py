"""The model as an ONNX file, which browsers and other runtimes take."""

from __future__ import annotations

import logging
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import nn
from transformers import PreTrainedModel

from lesions.faults import InputError
from lesions.metrics.probabilities import softmax
from lesions.model.familiarity import Familiarity
from lesions.model.loading import heads, load_for_prediction
from lesions.model.onnx_file import MODEL_HASH, ONNX_FILE, check_packages, model_hash
from lesions.model.onnx_runtime import open_session
from lesions.model.resolution import image_side
from lesions.output.files import whole_file

if TYPE_CHECKING:
    import onnx

OPSET = 18
TOLERANCE = 1e-4  # of a probability, between PyTorch and the exported file


class Traced(nn.Module):
    """The model with plain tensors in and out, as the exporter wants it.

    It gives logits (n, classes); and if there is a `familiarity`, the features (n, size) that the first head reads, and
    their distance (n,) from the training images.
    """

    whitening: torch.Tensor
    center: torch.Tensor

    def __init__(self, model: PreTrainedModel, familiarity: Familiarity | None) -> None:
        super().__init__()
        self.model, self.familiar = model, familiarity is not None
        if familiarity:
            seen: list[torch.Tensor] = []
            heads(model)[0].register_forward_pre_hook(lambda head, inputs: seen.append(inputs[0]))
            self.take_features = seen.pop
            self.register_buffer("whitening", torch.from_numpy(familiarity.whitening))
            self.register_buffer("center", torch.from_numpy(familiarity.center))

    def forward(self, pixel_values: torch.Tensor) -> tuple[torch.Tensor, ...]:
        logits = self.model(pixel_values=pixel_values).logits
        if not self.familiar:
            return (logits,)
        features = self.take_features()
        return logits, features, (features @ self.whitening - self.center).square().sum(1)


def export_onnx(folder: Path) -> Path:
    """Writes the ONNX file of a model folder, see `exported`, and returns its path."""
    content = exported(folder)
    with whole_file(folder / ONNX_FILE) as partial:
        partial.write_bytes(content)
    return folder / ONNX_FILE


def exported(folder: Path) -> bytes:
    """The content of the ONNX file of a model folder.

    Its input is `pixel_values`, float32 (n, 3, side, side) for any n. Its outputs are `logits`, float32 (n, classes),
    and if the run knows how familiar an image is, `features` (n, size) and `distance` (n,), see `Familiarity`.
    Raises InputError where a package is missing, or where the file does not answer as PyTorch does.
    """
    check_packages()
    import onnx

    model, processor = load_for_prediction(folder)
    model.set_attn_implementation("eager")  # a smaller graph than torch's fused attention gives
    side = image_side(processor)
    pixels = torch.randn(3, 3, side, side, generator=torch.Generator().manual_seed(0))
    traced = Traced(model, Familiarity.load(folder)).eval()
    graph = _trace(traced, pixels)
    _strip(graph)
    _store_in_half(graph)
    onnx.helper.set_model_props(graph, {MODEL_HASH: model_hash(folder)})
    onnx.checker.check_model(graph, full_check=True)
    content = graph.SerializeToString()
    _check_answers(content, traced, pixels)
    return content


def _trace(traced: Traced, pixels: torch.Tensor) -> onnx.ModelProto:
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)  # it warns of options that nobody set
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # the exporter calls what torch is about to remove
        program = torch.onnx.export(
            traced,
            (pixels,),
            dynamo=True,
            opset_version=OPSET,
            input_names=["pixel_values"],
            output_names=["logits", "features", "distance"][: 3 if traced.familiar else 1],
            dynamic_shapes={"pixel_values": {0: torch.export.Dim("batch_size")}},
            verbose=False,
        )
    assert program is not None  # as documented for dynamo=True without a file
    return program.model_proto


def _strip(model: onnx.ModelProto) -> None:
    """Removes the exporter's notes, which name the source files of this machine and fill a megabyte."""
    graph = model.graph
    for part in (model, graph, *graph.node, *graph.value_info, *graph.initializer, *graph.input, *graph.output):
        part.ClearField("metadata_props")
        part.ClearField("doc_string")


def _store_in_half(model: onnx.ModelProto) -> None:
    """Stores in float16 what it holds exactly, with a node that casts it back; runtimes fold that when they load.

    A run's weights have values of float16 already (see `half_precision`), its heads have not: so the heads stay as
    they are, and no answer changes.
    """
    from onnx import TensorProto, helper, numpy_helper

    casts = []
    for tensor in model.graph.initializer:
        if tensor.data_type != TensorProto.FLOAT or not tensor.dims:
            continue
        values = numpy_helper.to_array(tensor)
        with np.errstate(over="ignore"):
            half = values.astype(np.float16)
        if not np.array_equal(half.astype(np.float32), values):
            continue
        name = tensor.name
        tensor.CopyFrom(numpy_helper.from_array(half, f"{name}_half"))
        casts.append(helper.make_node("Cast", [tensor.name], [name], to=TensorProto.FLOAT))
    nodes = [*casts, *model.graph.node]
    del model.graph.node[:]
    model.graph.node.extend(nodes)


@torch.inference_mode()
def _check_answers(content: bytes, traced: Traced, pixels: torch.Tensor) -> None:
    logits, *expected = (output.numpy() for output in traced(pixels))
    found, *more = open_session(content).run(None, {"pixel_values": pixels.numpy()})
    largest = np.abs(softmax(found) - softmax(logits)).max()
    if not all(np.allclose(*pair, rtol=1e-3, atol=1e-3) for pair in zip(more, expected, strict=True)):
        raise InputError("the exported file's features differ from PyTorch's; nothing was written")
    if not largest <= TOLERANCE:
        raise InputError(
            f"the exported file's probabilities differ from PyTorch's by {largest:.1e}; nothing was written"
        )
