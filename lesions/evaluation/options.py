"""How a model is measured. Light: evaluate_model.py --help loads it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

PREVALENCE = 0.05


@dataclass(frozen=True)
class MeasureOptions:
    """The options of a measurement; the last four measure more than the plain answers."""

    batch_size: int = field(default=16, metadata={"help": "images per forward pass (default: %(default)s)"})
    backend: Literal["torch", "onnx"] = field(
        default="torch",
        metadata={
            "help": "onnx: predict with onnx/model.onnx, which `python -m model_card RUN --onnx` writes "
            "(default: %(default)s)"
        },
    )
    prevalence: float = field(
        default=PREVALENCE,
        metadata={
            "help": "share of melanoma, or of malignancy, at which PPV and NPV are reported (default: %(default)s)",
            "metavar": "SHARE",
        },
    )
    malignant: list[str] | None = field(
        default=None,
        metadata={
            "help": "the malignant labels (default: those that the model was trained with, or the well-known ones); "
            "there is a yes or no only for labels that thresholds were chosen for, see lesions.evaluation.limits",
            "metavar": "LABEL",
        },
    )
    tta: Literal["none", "flips", "dihedral"] = field(
        default="none",
        metadata={
            "help": "also measure the mean over mirrored (4 views), or rotated and mirrored (8 views) images "
            "(default: %(default)s)"
        },
    )
    by_lesion: bool = field(
        default=False,
        metadata={"help": "also measure the mean over all images of a lesion", "metavar": "true|false"},
    )
    robustness: int | None = field(
        default=None,
        metadata={
            "help": "also measure the accuracy on N sampled images (0: all) under blur, brightness, color cast, JPEG, "
            "rotation, scale, crop and other exports: 45 passes over them",
            "metavar": "N",
        },
    )
    maps: bool = field(
        default=False,
        metadata={
            "help": "also draw where the model looked, and test whether these maps mean anything",
            "metavar": "true|false",
        },
    )
