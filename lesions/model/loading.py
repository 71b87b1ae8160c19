"""Models: from a pretrained checkpoint to one that is ready to train, or from a trained folder to one that predicts."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import torch
from PIL import Image
from transformers import AutoConfig, AutoImageProcessor, AutoModelForImageClassification, PreTrainedModel
from transformers import DeiTForImageClassificationWithTeacher as TwoTokenDeit
from transformers.image_processing_utils import BaseImageProcessor

from lesions.faults import InputError
from lesions.model.folder import LARGEST, check_processor_files, check_weights, left_over, plain_config
from lesions.model.inputs import check_steps
from lesions.model.resolution import image_side
from lesions.output.places import check_utf8
from lesions.output.plain_text import in_short

# On a CPU, attention written out trains faster than torch's fused one: 1.3 times in bfloat16 at 224 pixels, 1.8 times
# at 128. In float32 both are equally fast.
ON_CPU = "eager"
HEAD = re.compile("classifier|head")  # in the names of a classifier's last layers
GRAY = Image.new("RGB", (30, 20), "gray")  # what each model and its preprocessing are tried on
ONE_OF_ALL = (None, "single_label_classification")  # problem types of which the probabilities are a softmax


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
    plain_config(path)
    with usable(path):
        config = AutoConfig.from_pretrained(folder, trust_remote_code=False)
    if sorted(config.id2label) != list(range(len(config.id2label))):
        raise InputError(f"{path}: id2label must number the labels from 0 on, not {sorted(config.id2label)}")
    return config


def load_processor(folder: Path) -> BaseImageProcessor:
    """The checkpoint's own preprocessing. Always the PIL backend, so that every stage resizes alike."""
    path = folder / "preprocessor_config.json"
    check_processor_files(folder)
    with usable(path):
        processor: BaseImageProcessor = AutoImageProcessor.from_pretrained(
            folder, backend="pil", trust_remote_code=False
        )
        try:
            side = image_side(processor)
        except InputError as error:
            raise InputError(f"{path}: {error}") from error
        if max(side, *filter(None, vars(processor.size).values())) > LARGEST["image_size"]:
            raise ValueError(f"its images have more than {LARGEST['image_size']} pixels a side")
        if isinstance(processor.resample, bool) or processor.resample not in list(Image.Resampling):
            # For a text, transformers would take another filter without a word.
            raise ValueError(f"resample {processor.resample!r} is not the number of a filter of Pillow, 0 to 5")
        values = processor(GRAY, return_tensors="np")["pixel_values"][0]
        if values.shape != (3, side, side) or not np.isfinite(values).all():
            raise InputError(
                f"{path} turns an image into values of the shape {values.shape}, which must be (3, {side}, {side}), or "
                "not all finite numbers"
            )
        check_steps(processor)
        return processor


def check_trainable(folder: Path, teachers: list[Path], from_scratch: bool) -> None:
    """Raises InputError unless `folder` holds an image classifier that can be trained, before any weights are read.

    To learn from `teachers`, it needs DeiT's distillation token.
    """
    config = read_config(folder)
    for teacher in teachers:
        read_config(teacher)
        check_weights(teacher)
    if teachers and config.model_type != "deit":
        raise InputError(f"--teacher needs a DeiT, which has a distillation token; {folder} holds {config.model_type}")
    heads(_sketch(_architecture(config), config, folder))
    load_processor(folder)
    if not from_scratch:
        check_weights(folder)


def _architecture(config: Any) -> Any:
    return TwoTokenDeit if config.model_type == "deit" else AutoModelForImageClassification


def _build(architecture: Any, config: Any) -> PreTrainedModel:
    model: PreTrainedModel = architecture(config) if architecture is TwoTokenDeit else architecture.from_config(config)
    return model


def _sketch(architecture: Any, config: Any, folder: Path) -> PreTrainedModel:
    """The model without its weights. Raises InputError if these would fill the memory."""
    with usable(folder / "config.json"), torch.device("meta"):
        model = _build(architecture, config)
    needed, there = 4 * sum(weights.numel() for weights in model.parameters()), psutil.virtual_memory().total
    if needed > there:
        raise InputError(
            f"{folder / 'config.json'} asks for a model of {needed / 1e9:,.0f} GB, and this machine has a memory of "
            f"{there / 1e9:,.0f} GB; give a smaller model"
        )
    return model


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
    config.problem_type = None  # pipeline() would give other probabilities for another one
    if from_scratch:
        model = _build(_architecture(config), config).float()
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


def load_for_prediction(folder: Path) -> tuple[PreTrainedModel, BaseImageProcessor]:
    """A trained float32 model in evaluation mode, which answered a gray image, and its preprocessing."""
    config = read_config(folder)
    labels = list(config.id2label.values())
    kind = "one label" if len(labels) == 1 else f"{config.problem_type!r} (problem_type)"
    if config.problem_type not in ONE_OF_ALL or len(labels) == 1:  # pipeline() takes the sigmoid of one
        raise InputError(
            f"{folder / 'config.json'}: the outputs of a model for {kind} are not probabilities of one diagnosis among "
            "all; give another model"
        )
    if repeated := [label for label, times in Counter(labels).items() if times > 1]:
        raise InputError(f"the model in {folder} has several outputs of one name: {in_short(repeated)}")
    model, misfits = _load(AutoModelForImageClassification, folder, config=config)
    _refuse_misfits(folder, misfits)
    processor = load_processor(folder)
    check_answer(model.eval(), len(labels), processor, f"the model in {folder}")
    return model, processor


@torch.inference_mode()
def check_answer(model: Any, count: int, processor: BaseImageProcessor, what: str) -> None:
    """Raises InputError, about `what`, unless the model's answer to a gray image is `count` finite numbers: finite
    weights may still overflow, and other image sizes than the model's may be asked for."""
    with usable(what):
        logits = model(pixel_values=processor(GRAY, return_tensors="pt")["pixel_values"]).logits
    if logits.shape != (1, count) or not logits.isfinite().all():
        raise InputError(f"{what} does not answer a gray image with {count} finite numbers; give another model")


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
    """The model, and the names of its weights that the folder lacks, holds in another shape, or holds more of."""
    check_weights(folder)
    _sketch(architecture, options["config"], folder)
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
    wrong = [*report["missing_keys"], *(name for name, *_ in report["mismatched_keys"])]
    return model, sorted([*wrong, *left_over(model, report["unexpected_keys"])])
