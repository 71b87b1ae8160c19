"""How well a run refuses images that are not what it was trained on, by the score that it stores and by two others.

    python -m benchmarks.unfamiliar --model RUN --dataset data/ham10000 --folder photographs=DIR --folder scc=DIR

Each folder holds images of one kind; noise, blank frames, blurred lesions and synthetic lesions are made here. For each
kind it prints the AUROC against the test split and the share refused at the threshold that accepts a share of the
validation split. Scores: the distance that the run stores, the energy -log(sum(exp(logits))) (W. Liu et al. 2020,
"Energy-based out-of-distribution detection"), and the largest logit, negated.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageFilter
from scipy.special import logsumexp
from sklearn.metrics import roc_auc_score

from lesions.arrays import Array
from lesions.data.sources.sample import draw_lesion
from lesions.dataset import load_splits
from lesions.evaluation.image_folder import ImageFolder
from lesions.evaluation.prediction import Predictor
from lesions.faults import InputError, exits_cleanly
from lesions.hub import public_name

COUNT = 30  # images of each kind that is made here
ACCEPTED = (0.95, 0.975, 0.99, 0.995)  # shares of the validation split
SIZE = (600, 450)  # pixels


class Frames:
    """Images that are made when they are asked for, as rows."""

    def __init__(self, make: Callable[[int], Image.Image], count: int = COUNT) -> None:
        self.make, self.count = make, count

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, number: int) -> dict[str, Any]:
        return {"image": self.make(number), "label": -1}


def noise(number: int, side: int | None = None) -> Image.Image:
    """Independent pixels; with `side`, that many in each direction, enlarged to clouds."""
    random = np.random.default_rng(number)
    pixels = random.integers(0, 256, (side or SIZE[1], side or SIZE[0], 3)).astype(np.uint8)
    return Image.fromarray(pixels).resize(SIZE, Image.Resampling.BICUBIC)


def blank(number: int) -> Image.Image:
    return Image.new("RGB", SIZE, tuple(np.random.default_rng(number).integers(0, 256, 3).tolist()))


def blurred(rows: Any, percent: float, number: int) -> Image.Image:
    """A test image under a blur of `percent` of its shorter side, each at another place of the split."""
    image = rows[number * (len(rows) // COUNT)]["image"].convert("RGB")
    return image.filter(ImageFilter.GaussianBlur(percent / 100 * min(image.size)))


def kinds_of(test: Any, folders: list[str]) -> Iterator[tuple[str, Any]]:
    """What is to be refused, by name: rows with an `image` each."""
    yield "noise", Frames(noise)
    yield "clouds", Frames(lambda number: noise(number, 2 + number))
    yield "blank", Frames(blank)
    yield "synthetic lesions", Frames(lambda number: draw_lesion(("mel", "nv", "bcc", "bkl")[number % 4], number, 0))
    for percent in (2, 5, 10):
        yield f"blur {percent} %", Frames(partial(blurred, test, percent))
    for folder in folders:
        name, _, place = folder.partition("=")
        yield name, ImageFolder(Path(place))


def scores_of(predictor: Predictor, rows: Any, batch_size: int, name: str) -> dict[str, Array]:
    """Each score, (n,), of the images: the higher, the less familiar."""
    seen: list[torch.Tensor] = []
    hook = predictor.model.register_forward_hook(lambda model, inputs, output: seen.append(output.logits))
    answers = predictor.probabilities(rows, batch_size, task=name)
    hook.remove()
    logits = torch.cat(seen).double().cpu().numpy()
    if predictor.familiarity is None:
        raise InputError(f"{predictor.folder} stores no familiarity; run `python -m lesions.evaluation.limits` first")
    return {
        "distance": predictor.familiarity.distance(answers.features),
        "energy": -logsumexp(logits, axis=1),
        "largest logit": -logits.max(axis=1),
    }


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, required=True, help="folder of a finished run with its limits")
    parser.add_argument("--dataset", required=True, help="the data set that it was trained on")
    parser.add_argument("--folder", action="append", default=[], metavar="NAME=DIR", help="images of one more kind")
    parser.add_argument("--images", type=int, default=300, help="of each split, at most (default: 300)")
    parser.add_argument("--batch", type=int, default=16, help="images per forward pass (default: 16)")
    return parser.parse_args()


@exits_cleanly
def main() -> None:
    options = parse_arguments()
    predictor, splits = Predictor(options.model), load_splits(options.dataset, "validation", "test")
    sampled = {
        name: splits[name].select(range(0, len(splits[name]), -(-len(splits[name]) // options.images)))
        for name in ("validation", "test")
    }
    known = {name: scores_of(predictor, rows, options.batch, name) for name, rows in sampled.items()}
    other = {
        name: (len(rows), scores_of(predictor, rows, options.batch, name))
        for name, rows in kinds_of(sampled["test"], options.folder)
    }
    print(f"{public_name(str(options.model))}: AUROC against {len(sampled['test'])} test images; share refused at the "
          f"threshold that accepts a share of {len(sampled['validation'])} validation images")  # fmt: skip
    for score, validation in known["validation"].items():
        print(f"\n{score:28}{'n':>6}{'AUROC':>9}" + "".join(f"{100 * share:>9g} %" for share in ACCEPTED))
        thresholds = np.quantile(validation, ACCEPTED)
        test = known["test"][score]
        print_row("test split", len(test), None, test, thresholds)
        for name, (count, scores) in other.items():
            area = roc_auc_score(np.repeat([0, 1], [len(test), count]), np.concatenate([test, scores[score]]))
            print_row(name, count, area, scores[score], thresholds)


def print_row(name: str, count: int, area: float | None, scores: Array, thresholds: Array) -> None:
    refused = "".join(f"{(scores > threshold).mean():>11.3f}" for threshold in thresholds)
    print(f"  {name:26}{count:>6}{'' if area is None else format(area, '.4f'):>9}{refused}")


if __name__ == "__main__":
    main()
