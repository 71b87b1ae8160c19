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

from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING

from lesions.faults import exits_cleanly

# --help answers at once, and an error of an import is a clear one, so the functions import what they need.
if TYPE_CHECKING:
    from lesions.evaluation.options import MeasureOptions


@exits_cleanly
def main() -> None:
    from lesions.evaluation.options import parse_options
    from lesions.output.places import check_writable
    from lesions.run_folder import EVALUATION, RECORD

    what, how = parse_options(__doc__)
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
    from lesions.faults import InputError
    from lesions.ground_truth import write_predictions
    from lesions.model.familiarity import find_unfamiliar
    from lesions.report.console import NO_DIAGNOSIS, describe_folder, describe_image
    from lesions.run_folder import METRICS_FILE

    if output and (output / METRICS_FILE).is_file():
        raise InputError(f"{output} holds metrics, beside which other predictions would lie: give another --output")
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
