"""The files of a model folder, checked before transformers reads them: some send it to other files, or to the Hub."""

from __future__ import annotations

import re
from collections.abc import Iterable
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from transformers import PreTrainedModel
from transformers.utils import SAFE_WEIGHTS_INDEX_NAME, SAFE_WEIGHTS_NAME
from typing_extensions import TypedDict

from lesions.diagnoses import MOST_LABELS
from lesions.faults import Faults, InputError
from lesions.output.files import check_regular, read_json
from lesions.output.places import is_plain
from lesions.run_folder import WEIGHTS

CODE, ATTENTION = ("auto_map", "custom_pipelines"), ("attn_implementation", "_attn_implementation")
# Keys of a config, and files, for which transformers would load another model than model.safetensors holds.
REDIRECTIONS = {
    "transformers_weights": "that the weights are read from another file",
    "configuration_files": "that another config is read instead",
    "quantization_config": "for quantized weights",
    "fusion_config": "for layers that are fused when they are loaded",
}
FOREIGN = {
    "adapter_*": "an adapter of PEFT, whose base may be any model of the Hub. Merge it into its base",
    "shard-*-model-*.safetensors": "a distributed checkpoint, which would be read instead of other weights. Remove it",
}
# More than any model has: Swin's and ConvNeXt's depths count the layers of each stage.
LARGEST = {"num_labels": MOST_LABELS, "image_size": 4096, "num_hidden_layers": 1000, "depths": 1000}


class Index(TypedDict):
    metadata: dict[str, Any]
    weight_map: dict[str, str]


def plain_config(path: Path) -> dict[str, Any]:
    """The content of a config. Raises InputError if it names code or another file, at any depth, or numbers that would
    fill the memory: transformers would ask the user whether to run the code of `auto_map`, and would fetch an
    attention kernel, `owner/name`, from the Hub."""
    content = read_json(path)
    parts = [content]
    for part in parts:  # the list grows
        parts += part.values() if isinstance(part, dict) else part if isinstance(part, list) else ()
        about = part if isinstance(part, dict) else {}
        asked = [name for name in CODE if name in about] + [name for name in ATTENTION if "/" in str(about.get(name))]
        if asked:
            raise InputError(
                f"{path} asks to run code that comes with the model ({asked[0]}). It is never run here: give a model "
                "of an architecture that transformers holds"
            )
        for name, what in REDIRECTIONS.items():
            if about.get(name) is not None:
                raise InputError(
                    f"{path} asks {what} ({name}), which is not done here; remove that, or give another model"
                )
    content = content if isinstance(content, dict) else {}
    for name, most in LARGEST.items():
        found = content.get(name)
        numbers = [one for one in (found if isinstance(found, list) else [found]) if isinstance(one, (int, float))]
        if max(numbers, default=0) > most:
            raise InputError(f"{path}: {name} {found} is more than {most}; give another model")
    return content


def check_processor_files(folder: Path) -> None:
    """Raises InputError if transformers would not take the preprocessing from preprocessor_config.json alone."""
    for name in ("preprocessor_config.json", "processor_config.json"):
        if (folder / name).exists() and "image_processor" in plain_config(folder / name):
            raise InputError(
                f"{folder / name} holds a second preprocessing (image_processor). Move that into "
                "preprocessor_config.json, and remove it there"
            )


def check_weights(folder: Path) -> None:
    """Raises InputError unless the weights are model.safetensors, or all the shards that its index names.

    These alone are what metrics and thresholds are bound to; see `lesions.run_folder.weights_of`.
    """
    for pattern, what in FOREIGN.items():
        for file in folder.glob(pattern):
            raise InputError(f"{file} belongs to {what}, or give another model")
    whole, index = folder / SAFE_WEIGHTS_NAME, folder / SAFE_WEIGHTS_INDEX_NAME
    if whole.exists() and index.exists():
        raise InputError(f"{folder} holds {whole.name} and {index.name}, two sets of weights; remove one of them")
    if whole.exists():
        check_regular(whole)
        return
    if not index.exists():
        raise InputError(f"{folder} holds no weights as safetensors; other formats are not read")
    named = set(read_json(index, Index, "an index of weights; fetch it again")["weight_map"].values())
    faults = Faults()
    odd = {name for name in named if not is_plain(name) or not fnmatchcase(name, WEIGHTS)}
    there = {file.name for file in folder.glob(WEIGHTS)}
    faults.add(f"shard in {index} that is not the name of a file beside it, {WEIGHTS}", *sorted(map(repr, odd)))
    faults.add(f"shard in {index} that is missing", *sorted(named - odd - there))
    faults.add(f"weights beside {index} that it does not name", *sorted(there - named))
    faults.raise_if_any("fetch the whole model again, or give another model")
    for name in named:
        check_regular(folder / name)


def left_over(model: PreTrainedModel, unexpected: Iterable[str]) -> list[str]:
    """Those of the `unexpected` weights of a file that belong to a layer as `model` has some, perhaps of other numbers:
    its config asks for fewer layers, or for some without a bias. Others, such as a second head, a pooler, or the half
    of CLIP that reads text, are no part of a classifier."""
    prefix = f"{model.base_model_prefix}."  # which a checkpoint of the backbone alone lacks

    def kind(layer: str) -> str:
        return re.sub(r"\d+", "N", layer.removeprefix(prefix))

    layers = {kind(name) for name, module in model.named_modules() if not [*module.children()]}
    return [name for name in unexpected if kind(name.rpartition(".")[0]) in layers]
