"""Measure a trained model on a split of the data set, apply it to any images, or compare two models.

    python evaluate_model.py --model runs/deit-tiny --dataset data/ham10000 --split test
    python evaluate_model.py --model you/name --images lesion.jpg
    python evaluate_model.py --model you/name --images DIR --ground_truth FILE.csv --output OUT
    python evaluate_model.py --compare runs/deit-tiny runs/deit-base

The first writes metrics.json (95 % intervals from a bootstrap over lesions), predictions.csv (the ISIC 2018 form),
ground_truth.csv, figures, and report.html, which shows all of it and works without a network. --tta, --by_lesion,
--robustness and --maps add to it. Images without a ground truth get an answer each, and --output is optional.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lesions.faults import InputError, exits_cleanly
from lesions.files import write_json, write_text
from lesions.hub import local_folder, public_name, revision_of
from lesions.run_folder import RECORD, check_split, record_of

if TYPE_CHECKING:
    from lesions.evaluation.prediction import Predictor
    from lesions.metrics.measured import Measured

BATCH_SIZE = 16  # on a CPU, more are no faster
FIGURES_ON_REQUEST = ("robustness.png", "examples.png")


def own_options() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--model", help="a run folder of train.py, any model folder, or a Hub id")
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--dataset", help="folder that data_prep.py wrote, or a Hub id")
    what.add_argument("--images", type=Path, help="an image, or a folder of them (.jpg, .jpeg, .png, also below it)")
    what.add_argument(
        "--compare",
        nargs="+",
        type=Path,
        metavar="RUN",
        help="folders that this program has measured on the same split: each against the first, paired",
    )
    add("--split", default="test", help="split of --dataset to measure on (default: test)")
    add("--ground_truth", type=Path, help="CSV for --images: image,MEL,NV,... (one-hot) or image_id,dx[,lesion_id]")
    add(
        "--output",
        type=Path,
        help="folder for the results (default: `evaluation` in the model's folder; another split: `evaluation-SPLIT`; "
        "of --compare: `comparison`)",
    )
    add("--batch_size", type=int, default=BATCH_SIZE, help=f"images a forward pass (default: {BATCH_SIZE})")
    add(
        "--prevalence",
        type=float,
        default=0.05,
        metavar="SHARE",
        help="of melanoma, or of malignancy, for which PPV and NPV are stated (default: 0.05)",
    )
    add(
        "--tta",
        choices=("none", "flips", "dihedral"),
        default="none",
        help="measure as well what the mean over mirrored (4), or turned and mirrored (8) views gives (default: none)",
    )
    add("--by_lesion", action="store_true", help="measure as well the mean over all images of a lesion")
    add(
        "--robustness",
        type=int,
        metavar="N",
        help="measure as well, on N images drawn at random (0: all), the accuracy under blur, brightness, color "
        "cast, JPEG, rotation, scale and crop: 40 passes over them",
    )
    add("--maps", action="store_true", help="draw where the model looked, and test whether the maps mean something")
    return parser


def parse_arguments() -> argparse.Namespace:
    parser = own_options()
    arguments = parser.parse_args()
    if arguments.compare:
        if len(arguments.compare) < 2:
            parser.error("--compare needs two runs or more")
        arguments.output = arguments.output or Path("comparison")
        return arguments
    if not arguments.model:
        parser.error("--model is needed")
    if arguments.ground_truth and not arguments.images:
        parser.error("--ground_truth goes with --images; a --dataset has its own")
    if arguments.output is None and (arguments.ground_truth or arguments.dataset):
        if arguments.images or not Path(arguments.model).is_dir():
            parser.error("--output is needed: there is no run folder to put the results into")
        name = "evaluation" if arguments.split == "test" else f"evaluation-{arguments.split}"
        arguments.output = Path(arguments.model) / name
    if arguments.batch_size < 1:
        parser.error("--batch_size must be at least 1")
    if not 0 < arguments.prevalence < 1:
        parser.error("--prevalence is a share, above 0 and below 1")
    return arguments


@exits_cleanly
def main() -> None:
    arguments = parse_arguments()
    if arguments.compare:
        compare(arguments.compare, arguments.output)
    elif arguments.images:
        evaluate_images(arguments)
    else:
        evaluate_split(arguments)
    if arguments.output:
        print(f"\nresults are in {arguments.output}")
    if arguments.dataset and arguments.output.name == "evaluation" and (Path(arguments.model) / RECORD).is_file():
        print(f"Next:\n  python -m model_card {arguments.model}")


def evaluate_split(arguments: argparse.Namespace) -> None:
    """Measures the model on one split of the data set and writes everything into the output folder."""
    import numpy as np

    from lesions.dataset import SHARES, dataset_fingerprint, load_splits, title_of
    from lesions.evaluation.prediction import Predictor
    from lesions.metrics.measured import Measured

    predictor = Predictor(local_folder(arguments.model, "model"))
    splits = load_splits(arguments.dataset, arguments.split)
    part, labels = splits[arguments.split], predictor.labels
    names = part.features["label"].names
    if set(names) != set(labels):
        raise InputError(
            f"{arguments.model} tells apart {', '.join(labels)}, {arguments.dataset} {', '.join(names)}: not the same"
        )
    fingerprint = dataset_fingerprint(splits, arguments.split)
    if arguments.split in SHARES:
        check_split({arguments.model: record_of(predictor.folder)}, title_of(arguments.dataset), fingerprint)
    truth = np.array([labels.index(names[number]) for number in part["label"]])
    rows = part.remove_columns(["image", "label"]).to_pandas().rename(columns={"image_id": "image"})
    about = {
        "model": public_name(arguments.model),
        "dataset": public_name(arguments.dataset),
        "split": arguments.split,
        "dataset_revision": revision_of(local_folder(arguments.dataset, "dataset")),
        "dataset_fingerprint": fingerprint,
    }
    measured = Measured(predictor.probabilities(part, arguments.batch_size), truth, labels, rows)
    write_results(arguments, about, predictor, part, measured)


def evaluate_images(arguments: argparse.Namespace) -> None:
    """Answers for one image or each of a folder; measures the model where there is a ground truth."""
    from lesions.evaluation.image_folder import ImageFolder
    from lesions.evaluation.prediction import Predictor
    from lesions.report.console import NO_DIAGNOSIS, describe_folder, describe_image, find_point

    images = ImageFolder(arguments.images)
    predictor = Predictor(local_folder(arguments.model, "model"))
    labels = predictor.labels
    truth = None
    if arguments.ground_truth:
        from lesions.ground_truth import read_ground_truth

        truth = read_ground_truth(arguments.ground_truth, labels, images.names)
    probabilities = predictor.probabilities(images, arguments.batch_size)
    images.raise_if_broken()
    if truth is not None:
        from lesions.metrics.measured import Measured

        about = {
            "model": public_name(arguments.model),
            "dataset": public_name(str(arguments.images)),
            "split": None,
            "dataset_revision": None,
            "dataset_fingerprint": None,
        }
        measured = Measured(probabilities, truth["dx"].map(labels.index).to_numpy(), labels, truth)
        return write_results(arguments, about, predictor, images, measured)
    if arguments.output:
        from lesions.ground_truth import write_predictions

        write_predictions(arguments.output / "predictions.csv", images.names, probabilities, labels)
    point = find_point(record_of(predictor.folder))
    if len(images) == 1:
        print(describe_image(arguments.images.name, probabilities[0], labels, point))
    else:
        print(describe_folder(images.names, probabilities, labels, point))
    print(f"\n{NO_DIAGNOSIS}")


def write_results(
    arguments: argparse.Namespace, about: dict[str, Any], predictor: Predictor, images: Any, measured: Measured
) -> None:
    """Computes every figure, writes metrics.json, the CSV files, the figures and the page, and prints a summary."""
    from lesions.evaluation.metrics_json import build_report
    from lesions.ground_truth import write_ground_truth, write_predictions
    from lesions.report.console import print_report
    from lesions.report.page import write_page

    record, output = record_of(predictor.folder), arguments.output
    for name in FIGURES_ON_REQUEST:  # an earlier evaluation into this folder may have been asked for more
        (output / name).unlink(missing_ok=True)
    report = build_report(about, measured, record, arguments.prevalence)
    report |= measure_more(arguments, predictor, images, measured)
    write_predictions(output / "predictions.csv", list(measured.rows["image"]), measured.probabilities, measured.labels)
    write_ground_truth(output / "ground_truth.csv", measured.rows, [measured.labels[n] for n in measured.truth])
    write_figures(output, report, measured)
    write_json(output / "metrics.json", report)
    write_page(output, report)
    print_report(report)


def measure_more(
    arguments: argparse.Namespace, predictor: Predictor, images: Any, measured: Measured
) -> dict[str, Any]:
    """What was asked for besides: sections of metrics.json, and the images of --maps."""
    from lesions.evaluation.comparison import paired_differences
    from lesions.evaluation.prediction import VIEWS

    more: dict[str, Any] = {}
    if arguments.tta != "none":
        alone = predictor.seconds
        answers = predictor.probabilities(images, arguments.batch_size, arguments.tta, "all views")
        several = measured.of_probabilities(answers)
        more["test_time_augmentation"] = {
            "views": arguments.tta,
            "n_views": len(VIEWS[arguments.tta]),
            "cost": predictor.seconds / alone,
            "metrics": several.figures(),
            "gain": paired_differences(measured, several),
        }
    if arguments.by_lesion:
        lesions = measured.by_lesion()
        more["by_lesion"] = {
            "n_lesions": len(lesions),
            "n_with_several": int((lesions.rows["n_images"] > 1).sum()),
            "metrics": lesions.figures(),
        }
    if arguments.robustness is not None:
        from lesions.evaluation.robustness import measure_robustness

        more["robustness"] = measure_robustness(predictor, images, measured, arguments.robustness, arguments.batch_size)
    if arguments.maps:
        from lesions.evaluation.attribution import deletion_test, explain_examples, load_to_explain
        from lesions.report.figures import save_examples

        model = load_to_explain(predictor)
        save_examples(arguments.output / "examples.png", explain_examples(predictor, model, images, measured))
        more["maps"] = deletion_test(predictor, model, images, measured, arguments.batch_size)
    return more


def write_figures(output: Path, report: dict[str, Any], measured: Measured) -> None:
    import numpy as np

    from lesions.report import figures

    title = f"{report['dataset']}, {report['split']}" if report["split"] else report["dataset"]
    title += f": n = {len(measured)}"
    counts, labels = np.array(report["confusion_matrix"]["counts"]), measured.labels
    figures.save_confusion_matrix(output / "confusion_matrix.png", counts, labels, title)
    figures.save_roc_curves(output / "roc_curves.png", measured.probabilities, measured.truth, labels, title)
    figures.save_reliability(output / "reliability.png", report["calibration"], title)
    figures.save_selective(output / "selective.png", report["selective"], title)
    if "robustness" in report:
        changed = f"{report['dataset']}: {report['robustness']['n_images']} images, changed"
        figures.save_robustness(output / "robustness.png", report["robustness"], changed)


def compare(runs: list[Path], output: Path) -> None:
    """Writes comparison.json and comparison.md into `output`, and prints the latter."""
    from lesions.evaluation.comparison import as_markdown, compare_runs

    comparison = compare_runs(runs)
    table = as_markdown(comparison)
    write_json(output / "comparison.json", comparison)
    write_text(output / "comparison.md", table)
    print(table, end="")


if __name__ == "__main__":
    main()
