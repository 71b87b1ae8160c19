"""Distillation through DeiT's own token: Touvron et al. 2021, "Training data-efficient image transformers"."""

from __future__ import annotations

import math
from dataclasses import dataclass
from inspect import signature
from pathlib import Path

import torch
from torch import nn
from torch.nn.functional import cross_entropy, interpolate, kl_div, log_softmax

from lesions.faults import InputError
from lesions.model.inputs import levels_of
from lesions.model.loading import ON_CPU, load_for_prediction
from lesions.model.resolution import image_side
from lesions.output.plain_text import in_short


class Teacher(nn.Module):
    """A trained classifier that sees the same images as the student, augmentation included.

    `normalized_by` is the student's processor: the images come as it normalizes them.
    Raises InputError if the model in `folder` was trained for other diagnoses, or with red and blue swapped.
    """

    scale: torch.Tensor
    offset: torch.Tensor

    def __init__(self, folder: Path, labels: list[str], normalized_by: nn.Module) -> None:
        super().__init__()
        self.model, processor = load_for_prediction(folder)
        self.model.requires_grad_(False)
        if not torch.cuda.is_available():
            self.model.set_attn_implementation(ON_CPU)
        own = [self.model.config.id2label[number] for number in range(self.model.config.num_labels)]
        if set(own) != set(labels):
            raise InputError(
                f"the teacher in {folder} distinguishes {in_short(own)}; the data set has {in_short(labels)}. "
                "Give a --teacher of the same diagnoses"
            )
        swapped = [getattr(one, "do_flip_channel_order", False) for one in (normalized_by, processor)]
        if swapped[0] != swapped[1]:
            raise InputError(
                f"the teacher in {folder} and the model take red and blue in different orders "
                "(do_flip_channel_order in preprocessor_config.json). Give a --teacher of the same order"
            )
        self.order = [own.index(name) for name in labels]
        self.side = image_side(processor)
        # A teacher that interpolates its positions is better and faster on small images than on enlarged ones. Images
        # larger than its own are shrunk for every teacher, for the same two reasons.
        self.takes_small = "interpolate_pos_encoding" in signature(self.model.forward).parameters
        # Both normalize a level of a color to a linear function of it: black and white tell which.
        student, teacher = (torch.from_numpy(levels_of(one)[[0, -1]]) for one in (normalized_by, processor))
        scale = (teacher[1] - teacher[0]) / (student[1] - student[0])
        offset = teacher[0] - student[0] * scale
        self.register_buffer("scale", scale[:, None, None])
        self.register_buffer("offset", offset[:, None, None])

    @torch.no_grad()
    def forward(self, pixel_values: torch.Tensor) -> torch.Tensor:
        """Logits (batch, classes) in the order of the student's labels."""
        images = pixel_values * self.scale + self.offset
        options = {}
        if images.shape[-1] < self.side and self.takes_small:
            options["interpolate_pos_encoding"] = True
        elif images.shape[-1] != self.side:
            images = interpolate(images, size=(self.side, self.side), mode="bilinear", antialias=True)
        return self.model(pixel_values=images, **options).logits[:, self.order].float()


class Teachers(nn.ModuleList):
    """Several teachers as one: the mean of their probabilities, as logits (batch, classes)."""

    @torch.no_grad()
    def forward(self, pixel_values: torch.Tensor) -> torch.Tensor:
        answers = torch.stack([teacher(pixel_values).log_softmax(-1) for teacher in self])
        return answers.logsumexp(0) - math.log(len(self))


@dataclass(frozen=True)
class Distillation:
    """How the distillation token learns from the teacher, and its share `alpha` of the loss."""

    kind: str  # hard or soft
    alpha: float
    temperature: float

    def loss(self, student: torch.Tensor, teacher: torch.Tensor) -> torch.Tensor:
        """The loss (batch,) of the distillation token's logits against the teacher's, both (batch, classes).

        `hard`: cross-entropy with the teacher's decision (Touvron et al. 2021, eq. 3). `soft`: Kullback-Leibler
        divergence between both at `temperature`, times its square (Hinton et al. 2015).
        """
        if self.kind == "hard":
            return cross_entropy(student, teacher.argmax(-1), reduction="none")
        student, teacher = (log_softmax(logits / self.temperature, -1) for logits in (student, teacher))
        return kl_div(student, teacher, reduction="none", log_target=True).sum(-1) * self.temperature**2
