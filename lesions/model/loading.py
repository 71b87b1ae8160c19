"""Models: from a pretrained checkpoint to one that is ready to train, or from a trained folder to one that predicts."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from transformers import AutoConfig, AutoImageProcessor, AutoModelForImageClassification, PreTrainedModel
from transformers import DeiTForImageClassificationWithTeacher as TwoTokenDeit
from transformers.image_processing_utils import BaseImageProcessor

from lesions.faults import InputError
from lesions.model.resolution import image_side
from lesions.output.files import read_json
from lesions.output.places import check_utf8
from lesions.output.plain_text import in_short
from lesions.run_folder import WEIGHTS

# On a CPU, attention written out trains faster than torch's fused one: 1.3 times in bfloat16 at 224 pixels, 1.8 times
# at 128. In float32 both are equally fast.
ON_CPU = "eager"
HEAD = re.compile("classifier|head")  # in the names of a classifier's last layers
LARGEST_SIDE, MOST_LABELS = 4096, 100_000  # pixels; more than any model has, and less than fills the memory
CODE, ATTENTION = ("auto_map", "custom_pipelines"), ("attn_implementation", "_attn_implementation")


@contextmanager
def usable(what: object) -> Iterator[None]:
    """Turns whatever a library raises on somebody's broken file into one InputError that names it."""
    try:
        yield
    except InputError:
        raise
    except Exception as error:
        reason = str(error).strip() or type(error).__name__
        raise InputError(
            f"{what} can't be used: {reason.splitlines()[0]}\nFetch it again, or give another model"
        ) from error


def read_config(folder: Path) -> Any:
    """The config of the model in `folder`. Raises InputError, also if it brings code of its own."""
    path = folder / "config.json"
    if not path.is_file():
        raise InputError(f"{folder} is not a model folder: it holds no config.json")
    check_utf8(folder)
    content = _refuse_code(path)
    for name, most in (("num_labels", MOST_LABELS), ("image_size", LARGEST_SIDE)):
        if isinstance(content.get(name), (int, float)) and content[name] > most:
            raise InputError(f"{path}: {name} {content[name]} is more than {most}; give another model")
    with usable(path):
        config = AutoConfig.from_pretrained(folder, trust_remote_code=False)
    if sorted(config.id2label) != list(range(len(config.id2label))):
        raise InputError(f"{path}: id2label must number the labels from 0 on, not {sorted(config.id2label)}")
    return config


def load_processor(folder: Path) -> BaseImageProcessor:
    """The checkpoint's own preprocessing. Always the PIL backend, so that every stage resizes alike."""
    path = folder / "preprocessor_config.json"
    if path.is_file():
        _refuse_code(path)
    with usable(path):
        processor: BaseImageProcessor = AutoImageProcessor.from_pretrained(
            folder, backend="pil", trust_remote_code=False
        )
        try:
            side = image_side(processor)
        except InputError as error:
            raise InputError(f"{path}: {error}") from error
        if max(side, *filter(None, vars(processor.size).values())) > LARGEST_SIDE:
            raise ValueError(f"its images have more than {LARGEST_SIDE} pixels a side")
        if isinstance(processor.resample, bool) or processor.resample not in list(Image.Resampling):
            # For a text, transformers would take another filter without a word.
            raise ValueError(f"resample {processor.resample!r} is not the number of a filter of Pillow, 0 to 5")
        gray = Image.new("RGB", (30, 20), "gray")
        values = processor(gray, return_tensors="np")["pixel_values"][0]
        if values.shape != (3, side, side) or not np.isfinite(values).all():
            raise InputError(
                f"{path} turns an image into values of the shape {values.shape}, which must be (3, {side}, {side}), or "
                "not all finite numbers"
            )
        return processor


def _refuse_code(path: Path) -> dict[str, Any]:
    """The content of a config. Raises InputError if it names code, at any depth: transformers would ask the user
    whether to run that of `auto_map`, and would fetch an attention kernel, `owner/name`, from the Hub."""
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
    return content if isinstance(content, dict) else {}


def check_trainable(folder: Path, teachers: list[Path]) -> None:
    """Raises InputError unless `folder` holds an image classifier that can be trained, before its weights are read.

    To learn from `teachers`, it needs DeiT's distillation token.
    """
    config = read_config(folder)
    for teacher in teachers:
        read_config(teacher)
    if teachers and config.model_type != "deit":
        raise InputError(f"--teacher needs a DeiT, which has a distillation token; {folder} holds {config.model_type}")
    with usable(folder / "config.json"), torch.device("meta"):
        heads(_build(config))
    load_processor(folder)


def _architecture(config: Any) -> Any:
    return TwoTokenDeit if config.model_type == "deit" else AutoModelForImageClassification


def _build(config: Any) -> PreTrainedModel:
    architecture = _architecture(config)
    return architecture(config) if architecture is TwoTokenDeit else architecture.from_config(config)


def load_for_training(folder: Path, labels: list[str], from_scratch: bool, new_head: bool) -> PreTrainedModel:
    """A float32 model with one output per label, all of it trainable.

    A DeiT keeps its class token and its distillation token, with a head on each; any other architecture goes
    through AutoModelForImageClassification. A head for other labels is replaced, unless replacing it could be
    a mistake: see `check_labels`.
    """
    config = read_config(folder)
    if not from_scratch and not new_head:
        check_labels(config.id2label, labels, folder)
    if not torch.cuda.is_available():
        config._attn_implementation = ON_CPU  # models without the choice ignore it
    config.id2label = dict(enumerate(labels))  # sets num_labels too
    config.label2id = {name: number for number, name in enumerate(labels)}
    if from_scratch:
        model = _build(config).float()
    else:
        model, misfits = _load(_architecture(config), folder, config=config)
        _refuse_misfits(folder, [name for name in misfits if not HEAD.search(name)])
        if new_head:
            for module in heads(model):
                torch.nn.init.trunc_normal_(module.weight, std=config.initializer_range)
                torch.nn.init.zeros_(module.bias)
    return _with_slow_statistics(model)


def _with_slow_statistics(model: PreTrainedModel) -> PreTrainedModel:
    """Makes batch norms remember more than the last batch.

    transformers gives torch the momentum of EfficientNet and MobileNet as TensorFlow counts it, 0.99 for the share
    that stays; torch takes it for the share that is new, so that evaluation would normalize by the last few images.
    """
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d) and module.momentum and module.momentum > 0.5:
            module.momentum = max(1 - module.momentum, 0.01)  # MobileNetV1's 0.9997 is for longer trainings
    return model


def heads(model: PreTrainedModel) -> list[torch.nn.Linear]:
    """The linear layers that give a logit for each label: one, or DeiT's two, whose mean is the model's answer."""
    found = [
        module
        for name, module in model.named_modules()
        if HEAD.search(name) and isinstance(module, torch.nn.Linear) and module.out_features == model.config.num_labels
    ]
    if not found:
        raise InputError(f"{type(model).__name__} has no linear head, so train.py can't train it")
    return found


def load_for_prediction(folder: Path) -> PreTrainedModel:
    """A trained float32 model in evaluation mode."""
    labels = list(read_config(folder).id2label.values())
    if repeated := [label for label, times in Counter(labels).items() if times > 1]:
        raise InputError(f"the model in {folder} has several outputs of one name: {in_short(repeated)}")
    model, misfits = _load(AutoModelForImageClassification, folder)
    _refuse_misfits(folder, misfits)
    return model.eval()


def check_labels(id2label: dict[int, str], labels: list[str], folder: Path) -> None:
    """Refuses to train a head that was made for as many other labels, or for some of the same labels.

    Its outputs would silently mean something else. ImageNet's 1000 classes can't be mistaken so.
    """
    found = [id2label[number] for number in sorted(id2label)]
    nameless = all(re.fullmatch(r"LABEL_\d+", name) for name in found)
    if found != labels and not nameless and (len(found) == len(labels) or set(found) & set(labels)):
        raise InputError(
            f"the model in {folder} distinguishes {in_short(found)}; the data set has {in_short(labels)}. "
            "Add --new_head to train a new head on its backbone, or give another --model"
        )


def _refuse_misfits(folder: Path, names: list[str]) -> None:
    if names:
        raise InputError(f"the weights in {folder} do not fit its config.json, or are incomplete: {names[:5]}")


def _load(architecture: Any, folder: Path, **options: object) -> tuple[PreTrainedModel, list[str]]:
    """The model, and the names of its weights that the folder lacks or holds in another shape."""
    if not any(folder.glob(WEIGHTS)):
        raise InputError(f"{folder} holds no weights as safetensors; other formats are not read")
    with usable(f"the model in {folder}"):
        # A checkpoint stored in half precision would otherwise be trained in it.
        model, report = architecture.from_pretrained(
            folder,
            dtype=torch.float32,
            use_safetensors=True,
            trust_remote_code=False,
            output_loading_info=True,
            ignore_mismatched_sizes=True,
            **options,
        )
    broken = [name for name, weights in model.state_dict().items() if not weights.isfinite().all()]
    if broken:
        raise InputError(f"weights in {folder} are not finite numbers: {broken[:5]}; give another model")
    return model, sorted([*report["missing_keys"], *(name for name, *_ in report["mismatched_keys"])])
