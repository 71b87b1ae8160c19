"""Models: from a pretrained checkpoint to one that is ready to train, or from a trained folder to one that predicts."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig, AutoImageProcessor, AutoModelForImageClassification, PreTrainedModel
from transformers import DeiTForImageClassificationWithTeacher as TwoTokenDeit
from transformers.image_processing_utils import BaseImageProcessor

from lesions.faults import InputError

# On a CPU, attention written out trains faster than torch's fused one: 1.3 times in bfloat16 at 224 pixels, 1.8 times
# at 128. In float32 both are equally fast.
ON_CPU = "eager"
HEAD = re.compile("classifier|head")  # in the names of a classifier's last layers


def load_processor(folder: Path) -> BaseImageProcessor:
    """The checkpoint's own preprocessing. Always the PIL backend, so that every stage resizes alike."""
    try:
        return AutoImageProcessor.from_pretrained(folder, backend="pil")
    except (OSError, ValueError) as error:
        raise InputError(f"{folder} holds no usable preprocessor_config.json: {error}") from error


def load_for_training(folder: Path, labels: list[str], from_scratch: bool, new_head: bool) -> PreTrainedModel:
    """A float32 model with one output per label, all of it trainable.

    A DeiT keeps its class token and its distillation token, with a head on each; any other architecture goes
    through AutoModelForImageClassification. A head for other labels is replaced, unless replacing it could be
    a mistake: see `check_labels`.
    """
    config = _read_config(folder)
    if not from_scratch and not new_head:
        check_labels(config.id2label, labels, folder)
    architecture = TwoTokenDeit if config.model_type == "deit" else AutoModelForImageClassification
    if not torch.cuda.is_available():
        config._attn_implementation = ON_CPU  # models without the choice ignore it
    config.id2label = dict(enumerate(labels))  # sets num_labels too
    config.label2id = {name: number for number, name in enumerate(labels)}
    if from_scratch:
        build = architecture if architecture is TwoTokenDeit else architecture.from_config
        model = build(config).float()
    else:
        model, report = _load(architecture, folder, config=config, ignore_mismatched_sizes=True)
        missing = [name for name in report["missing_keys"] if not HEAD.search(name)]
        if missing:
            raise InputError(f"the checkpoint in {folder} lacks weights of its own backbone: {missing[:5]}")
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
    _read_config(folder)
    model, report = _load(AutoModelForImageClassification, folder)
    if report["missing_keys"]:
        raise InputError(f"the model in {folder} lacks weights: {sorted(report['missing_keys'])[:5]}")
    return model.eval()


def check_labels(id2label: dict[int, str], labels: list[str], folder: Path) -> None:
    """Refuses to train a head that was made for as many other labels, or for some of the same labels.

    Its outputs would silently mean something else. ImageNet's 1000 classes can't be mistaken so.
    """
    found = [id2label[number] for number in sorted(id2label)]
    nameless = all(re.fullmatch(r"LABEL_\d+", name) for name in found)
    if found != labels and not nameless and (len(found) == len(labels) or set(found) & set(labels)):
        raise InputError(
            f"the model in {folder} distinguishes {', '.join(found)}; the data set has {', '.join(labels)}. "
            "Add --new_head to train a new head on its backbone, or give another --model"
        )


def _read_config(folder: Path) -> AutoConfig:
    if not (folder / "config.json").is_file():
        raise InputError(f"{folder} is not a model folder: it holds no config.json")
    try:
        return AutoConfig.from_pretrained(folder)
    except (OSError, ValueError, KeyError) as error:
        raise InputError(f"{folder / 'config.json'} can't be read: {error}") from error


def _load(architecture: Any, folder: Path, **options: object) -> tuple[PreTrainedModel, dict[str, list[str]]]:
    if not any(folder.glob("*.safetensors")):
        raise InputError(f"{folder} holds no weights as safetensors; other formats are not read")
    # A checkpoint stored in half precision would otherwise be trained in it.
    return architecture.from_pretrained(
        folder, dtype=torch.float32, use_safetensors=True, output_loading_info=True, **options
    )
