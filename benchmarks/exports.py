"""How well a model's answers survive another export of the same photograph.

    python -m benchmarks.exports --model RUN --dataset data/ham10000 --milk10k DIR [--split validation]

MILK10k holds several hundred photographs of HAM10000 under other ids, resized, compressed, colored, cropped or turned
otherwise: lesions/data/duplicates/milk10k.csv lists them. For those of one split, this prints the metrics of the model
on HAM10000's export and on MILK10k's, and in how many the answer is the same.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from lesions import data
from lesions.dataset import load_splits
from lesions.evaluation.comparison import paired_differences
from lesions.evaluation.options import MeasureOptions
from lesions.evaluation.prediction import Predictor
from lesions.faults import InputError, exits_cleanly
from lesions.hub import public_name
from lesions.images import decode
from lesions.metrics.intervals import estimate
from lesions.metrics.measured import Measured
from lesions.metrics.probabilities import decide
from lesions.report.wording import format_metric

PAIRS = Path(data.__file__).parent / "duplicates" / "milk10k.csv"
SHOWN = ("accuracy", "log_loss")  # of the headline metrics: balanced accuracy means little with so few rare lesions


class Files:
    """Image files as rows."""

    def __init__(self, paths: list[Path]) -> None:
        self.paths = paths

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, number: int) -> dict[str, Any]:
        return {"image": decode(self.paths[number].read_bytes()), "label": -1}


@exits_cleanly
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True)
    parser.add_argument("--dataset", required=True)
    parser.add_argument("--milk10k", type=Path, required=True, help="folder of MILK10k's images, at any depth")
    parser.add_argument("--split", default="validation")
    options = parser.parse_args()

    rows = load_splits(options.dataset, options.split)[options.split]
    number_of = {name: number for number, name in enumerate(rows["image_id"])}
    files = {path.stem: path for path in options.milk10k.rglob("*.jpg")}
    pairs = pd.read_csv(PAIRS).drop_duplicates("image_id")
    pairs = pairs[pairs["other_image_id"].isin(number_of) & pairs["image_id"].isin(files)]
    if pairs.empty:
        raise InputError(f"{options.milk10k} has no other export of an image of {options.split}")
    own = rows.select([number_of[name] for name in pairs["other_image_id"]])
    predictor, names = Predictor.of(options.model, MeasureOptions()), rows.features["label"].names
    truth = np.array([predictor.labels.index(names[label]) for label in own["label"]])
    about = own.remove_columns(["image", "label"]).to_pandas().rename(columns={"image_id": "image"})
    first, second = (
        Measured(predictor.probabilities(images, 16, task=task).probabilities, truth, predictor.labels, about)
        for task, images in (("HAM10000", own), ("MILK10k", Files([files[name] for name in pairs["image_id"]])))
    )

    same = (decide(first.probabilities) == decide(second.probabilities)).astype(float)
    agreement = estimate(lambda weights: {"same": weights @ same / weights.sum(-1)}, first.lesions)["same"]
    count = f"{len(pairs)} pairs of {first.n_lesions} lesions"
    print(f"{public_name(options.model)}, split {options.split}: {count}")
    print(f"same answer: {format_metric(agreement)}")
    differences = paired_differences(first, second, SHOWN)
    for name in SHOWN:
        values = [each.metrics(SHOWN)[name]["value"] for each in (first, second)]
        change = format_metric(differences[name], "+")
        print(f"{name}: {values[0]:.3f} on HAM10000's export, {values[1]:.3f} on MILK10k's: {change}")


if __name__ == "__main__":
    main()
