"""Measure a trained model on a split of the data set, or apply it to any folder of pictures.

    python evaluate_model.py --model runs/deit-tiny --dataset data/ham10000 --split test
    python evaluate_model.py --model you/name --images DIR --ground_truth FILE.csv --output OUT

Writes metrics.json (95 % intervals from a bootstrap over lesions), predictions.csv (the ISIC 2018 form),
confusion_matrix.png and roc_curves.png. Without a ground truth, --images writes predictions.csv alone.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lesions import images
from lesions.dataset import dataset_fingerprint, load_splits
from lesions.faults import Faults, InputError, exits_cleanly
from lesions.files import write_json
from lesions.hub import local_folder, public_name

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray

BATCH_SIZE = 32


@dataclass
class Measured:
    """Predictions beside the truth: what every figure is computed from."""

    probabilities: NDArray[np.float64]  # (n, classes), columns in the order of `labels`
    truth: NDArray[np.int64]  # (n,), numbers into `labels`
    labels: list[str]
    rows: pd.DataFrame  # image, and where they are known lesion_id, sex, age: one row a picture


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--model", required=True, help="a run folder of train.py, any model folder, or a Hub id")
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--dataset", help="folder that data_prep.py wrote, or a Hub id")
    what.add_argument("--images", type=Path, help="folder of pictures (.jpg, .jpeg, .png, also in folders below it)")
    add("--split", default="test", help="split of --dataset to measure on (default: test)")
    add("--ground_truth", type=Path, help="CSV for --images: image,MEL,NV,... (one-hot) or image_id,dx[,lesion_id]")
    add(
        "--output",
        type=Path,
        help="folder for the results (default: `evaluation` in the model's folder; another split: `evaluation-SPLIT`)",
    )
    add("--batch_size", type=int, default=BATCH_SIZE, help=f"pictures a forward pass (default: {BATCH_SIZE})")
    arguments = parser.parse_args()
    if arguments.ground_truth and not arguments.images:
        parser.error("--ground_truth goes with --images; a --dataset has its own")
    if arguments.output is None:
        if arguments.images or not Path(arguments.model).is_dir():
            parser.error("--output is needed: there is no run folder to put the results into")
        name = "evaluation" if arguments.split == "test" else f"evaluation-{arguments.split}"
        arguments.output = Path(arguments.model) / name
    if arguments.batch_size < 1:
        parser.error("--batch_size must be at least 1")
    return arguments


@exits_cleanly
def main() -> None:
    arguments = parse_arguments()
    if arguments.images:
        evaluate_folder(arguments)
    else:
        evaluate_split(arguments.model, arguments.dataset, arguments.split, arguments.output, arguments.batch_size)
    print(f"\nresults are in {arguments.output}")
    if (Path(arguments.model) / "training.json").is_file() and arguments.output.name == "evaluation":
        print(f"Next:\n  python -m model_card {arguments.model}")


def evaluate_split(model: str, dataset: str, split: str, output: Path, batch_size: int = BATCH_SIZE) -> None:
    """Measures `model` on one split of `dataset` and writes everything into `output`."""
    import numpy as np

    from lesions.prediction import predict

    folder = local_folder(model, "model")
    splits = load_splits(dataset, split)
    part = splits[split]
    probabilities, labels = predict(folder, part, batch_size)
    names = part.features["label"].names
    if set(names) != set(labels):
        raise InputError(f"{model} tells apart {', '.join(labels)}, {dataset} {', '.join(names)}: not the same")
    truth = np.array([labels.index(names[number]) for number in part["label"]])
    rows = part.remove_columns(["image", "label"]).to_pandas().rename(columns={"image_id": "image"})
    about = {
        "model": public_name(model),
        "dataset": public_name(dataset),
        "split": split,
        "dataset_fingerprint": dataset_fingerprint(splits),
    }
    write_results(output, about, Measured(probabilities, truth, labels, rows))


def evaluate_folder(arguments: argparse.Namespace) -> None:
    """Applies the model to a folder of pictures, and measures it where there is a ground truth."""
    from lesions.ground_truth import read_ground_truth, write_predictions
    from lesions.prediction import predict

    folder = local_folder(arguments.model, "model")
    pictures = PictureFolder(arguments.images)
    probabilities, labels = predict(folder, pictures, arguments.batch_size)
    if not arguments.ground_truth:
        write_predictions(arguments.output / "predictions.csv", pictures.names, probabilities, labels)
        return
    rows = read_ground_truth(arguments.ground_truth, labels, pictures.names)
    about = {
        "model": public_name(arguments.model),
        "dataset": public_name(str(arguments.images)),
        "split": None,
        "dataset_fingerprint": None,
    }
    write_results(
        arguments.output, about, Measured(probabilities, rows["dx"].map(labels.index).to_numpy(), labels, rows)
    )


class PictureFolder:
    """The pictures below a folder as rows, decoded when they are asked for. Raises InputError that lists bad ones."""

    def __init__(self, folder: Path) -> None:
        if not folder.is_dir():
            raise InputError(f"there is no folder {folder}")
        faults = Faults()
        self.paths = images.find_pictures(folder, faults)
        self.names = sorted(self.paths)
        for name in self.names:
            try:
                images.decode(self.paths[name])
            except images.BadPicture as error:
                faults.add("picture unreadable", f"{self.paths[name]}: {error}")
        faults.raise_if_any("mend these or take them out of the folder")
        if not self.names:
            raise InputError(f"{folder} holds no picture (.jpg, .jpeg or .png)")

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: int) -> dict[str, Any]:
        return {"image": images.decode(self.paths[self.names[index]]), "label": -1}


def write_results(output: Path, about: dict[str, Any], measured: Measured) -> None:
    """Computes every figure, writes metrics.json, predictions.csv and the figures, and prints a summary."""
    import numpy as np

    from lesions import figures
    from lesions.ground_truth import write_predictions
    from lesions.report import build_report, print_report

    report = build_report(about, measured.probabilities, measured.truth, measured.labels, measured.rows)
    title = f"{about['dataset']}, {about['split']}: n = {len(measured.truth)}" if about["split"] else about["dataset"]
    counts = np.array(report["confusion_matrix"]["counts"])
    write_predictions(output / "predictions.csv", list(measured.rows["image"]), measured.probabilities, measured.labels)
    figures.save_confusion_matrix(output / "confusion_matrix.png", counts, measured.labels, title)
    figures.save_roc_curves(output / "roc_curves.png", measured.probabilities, measured.truth, measured.labels, title)
    write_json(output / "metrics.json", report)
    print_report(report)


if __name__ == "__main__":
    main()
