"""The options of evaluate_model.py: what is measured, and how."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from lesions.run_folder import EVALUATION

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


@dataclass
class EvaluateOptions:
    """What is measured, and where the results go."""

    model: str | None = field(
        default=None, metadata={"help": "a run folder of train.py, any other model folder, or a Hub id"}
    )
    dataset: str | None = field(default=None, metadata={"help": "folder that data_prep.py wrote, or a Hub id"})
    images: Path | None = field(
        default=None,
        metadata={"help": "an image, or a folder with images at any depth", "metavar": "PATH"},
    )
    compare: list[Path] | None = field(
        default=None,
        metadata={
            "help": "folders of models that this program has measured on the same split: each against the first",
            "metavar": "RUN",
        },
    )
    split: str = field(default="test", metadata={"help": "split of --dataset to measure on (default: %(default)s)"})
    ground_truth: Path | None = field(
        default=None,
        metadata={
            "help": "CSV for --images: image,MEL,NV,... (one-hot) or image_id,dx[,lesion_id]",
            "metavar": "FILE.csv",
        },
    )
    output: Path | None = field(
        default=None,
        metadata={
            "help": f"folder for the results (default: `{EVALUATION}` in the model's folder; for another split "
            f"`{EVALUATION}-SPLIT`; for --compare `comparison`)",
            "metavar": "FOLDER",
        },
    )

    def faults(self) -> list[str]:
        """Everything about these options that can't work."""
        given = [f"--{name}" for name in ("dataset", "images", "compare") if getattr(self, name)]
        ground_truth_alone = self.ground_truth and not self.images
        measures = self.dataset or self.ground_truth
        homeless = measures and not self.output and (self.images or not Path(self.model or "").is_dir())
        faults = {
            f"give one of --dataset, --images and --compare, not {' and '.join(given) or 'none'}": len(given) != 1,
            "--model is required": not self.model and not self.compare,
            "--compare takes two runs or more": self.compare and len(self.compare) < 2,
            "--ground_truth goes with --images; a --dataset has its own": ground_truth_alone,
            "--output is required: the model is not in a folder that could take the results": self.model and homeless,
        }
        if self.ground_truth and self.images and self.output:
            place, images = self.output.resolve(), self.images.resolve()
            written = [place / "ground_truth.csv", place / "predictions.csv"]
            faults |= {
                "--output would replace the file --ground_truth; give another": self.ground_truth.resolve() in written,
                "--output lies in --images, where its figures would be images": place.is_relative_to(images),
            }
        return [fault for fault, found in faults.items() if found]

    @property
    def folder(self) -> Path | None:
        """Where the results go; None where the answers are printed only."""
        if self.output or self.images:
            return self.output
        if self.compare:
            return Path("comparison")
        return Path(self.model or "") / (EVALUATION if self.split == "test" else f"{EVALUATION}-{self.split}")


def parse_options(description: str | None) -> tuple[EvaluateOptions, MeasureOptions]:
    """The options from the command line. Raises InputError with everything that is wrong with them."""
    from lesions.options import OptionParser

    parser = OptionParser(EvaluateOptions, MeasureOptions, description=description)
    what, how = parser.parse()
    faults = what.faults()
    if how.batch_size < 1:
        faults.append("--batch_size must be at least 1")
    if not 0 < how.prevalence < 1:
        faults.append("--prevalence is a share: above 0 and below 1")
    if how.robustness is not None and how.robustness < 0:
        faults.append("--robustness is a number of images, or 0 for all")
    more = how.tta != "none" or how.by_lesion or how.maps or how.robustness is not None
    if what.images and not what.ground_truth and more:
        faults.append("--tta, --by_lesion, --robustness and --maps measure: they need --dataset or --ground_truth")
    if faults:
        parser.error("\n".join(faults))
    return what, how
