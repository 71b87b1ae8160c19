"""Measure a trained model on a split of a data set, apply it to any images, or compare several models.

    python evaluate_model.py --model runs/deit-tiny --dataset data/ham10000 --split test
    python evaluate_model.py --model you/name --images lesion.jpg
    python evaluate_model.py --model you/name --images DIR --ground_truth FILE.csv --output OUT
    python evaluate_model.py --compare runs/deit-tiny runs/deit-base

The first command writes metrics.json (95 % intervals from a bootstrap over lesions), predictions.csv (the ISIC 2018
form), ground_truth.csv, figures, and report.html, which shows all of them without a network. Images without a ground
truth get an answer each, and --output is optional.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from shlex import quote

from lesions.evaluation.options import MeasureOptions
from lesions.faults import exits_cleanly
from lesions.options import OptionParser
from lesions.output.places import check_writable
from lesions.run_folder import EVALUATION, RECORD

# --help answers at once, so the functions below import torch and pandas when they need them.


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


def parse_options() -> tuple[EvaluateOptions, MeasureOptions]:
    """The options from the command line. Raises InputError with everything that is wrong with them."""
    parser = OptionParser(EvaluateOptions, MeasureOptions, description=__doc__)
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


@exits_cleanly
def main() -> None:
    what, how = parse_options()
    output = what.folder
    if output:
        check_writable(output)
    if what.compare and output:
        compare(what.compare, output)
    elif what.dataset and what.model and output:
        from lesions.evaluation.measure import measure_split

        measure_split(what.model, what.dataset, what.split, output, how)
    elif what.ground_truth and what.images and what.model and output:
        from lesions.evaluation.measure import measure_images

        measure_images(what.model, what.images, what.ground_truth, output, how)
    elif what.images and what.model:
        answer(what.model, what.images, output, how)
    if output:
        print(f"\nresults are in {output}")
    if what.dataset and output and output.name == EVALUATION and Path(what.model or "", RECORD).is_file():
        print(f"Next:\n  python -m model_card {quote(str(what.model))}")


def answer(model: str, place: Path, output: Path | None, how: MeasureOptions) -> None:
    """Prints an answer for each image at `place`, and writes predictions.csv into `output`, if there is one."""
    from lesions.evaluation.image_folder import ImageFolder
    from lesions.evaluation.prediction import Predictor
    from lesions.ground_truth import write_predictions
    from lesions.model.familiarity import find_unfamiliar
    from lesions.report.console import NO_DIAGNOSIS, describe_folder, describe_image

    images, predictor = ImageFolder(place), Predictor.of(model, how)
    answers = predictor.probabilities(images, how.batch_size)
    images.raise_if_broken()
    probabilities, record = answers.probabilities, predictor.record
    unfamiliar = find_unfamiliar(record.get("familiarity"), predictor.familiarity, answers.features)
    if output:
        write_predictions(output / "predictions.csv", images.names, probabilities, predictor.labels)
    if len(images) == 1:
        print(describe_image(place.name, probabilities, predictor.labels, record, unfamiliar))
    else:
        print(describe_folder(images.names, probabilities, predictor.labels, record, unfamiliar))
    print(f"\n{NO_DIAGNOSIS}")


def compare(runs: list[Path], output: Path) -> None:
    """Writes comparison.json and comparison.md into `output`, and prints the latter."""
    from lesions.evaluation.comparison import as_markdown, compare_runs
    from lesions.output.files import write_json, write_text

    comparison = compare_runs(runs)
    table = as_markdown(comparison)
    write_json(output / "comparison.json", comparison)
    write_text(output / "comparison.md", table)
    print(table, end="")


if __name__ == "__main__":
    main()
