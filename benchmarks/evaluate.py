"""evaluate_model.py's loop against `pipeline("image-classification")` over the same folder of images.

    python -m benchmarks.evaluate --model release/deit-tiny-ham10000 --dataset data/ham10000

Prints images a second of both, the pipeline with the best of several batch sizes, the largest difference between
their probabilities, the start-up time and how memory grows with the number of images; and the limit: the
multiplications of the forward pass alone, at the speed of large matrices in float32. Every measurement is a process
of its own; ways take turns.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.utils.benchmark import Timer
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.own_process import in_turns, measured_by
from evaluate_model import BATCH_SIZE
from lesions.dataset import load_splits
from lesions.faults import exits_cleanly
from lesions.hub import local_folder, public_name
from lesions.model.loading import load_for_prediction, load_processor
from lesions.model.onednn import OneDnnLinear
from lesions.model.resolution import image_side

BATCHES = (1, 8, 16, 32)  # of the pipeline
WARM_UP = 16  # images
MATRIX = 2048  # rows and columns of what the limit multiplies


def with_pipeline(model: str, paths: list[Path], batch: int) -> tuple[float, list[dict[str, float]]]:
    from transformers import pipeline

    classify = pipeline("image-classification", model=model)
    names = [str(path) for path in paths]
    list(classify(names[:WARM_UP], batch_size=batch))
    started = time.perf_counter()
    answers = classify(names, batch_size=batch, top_k=classify.model.config.num_labels)
    seconds = time.perf_counter() - started
    return seconds, [{answer["label"]: answer["score"] for answer in each} for each in answers]


def with_ours(model: str, paths: list[Path], batch: int) -> tuple[float, list[dict[str, float]]]:
    from lesions.evaluation.image_folder import ImageFolder
    from lesions.evaluation.prediction import Predictor

    predictor, images = Predictor(Path(model)), ImageFolder(paths[0].parent)
    images.names, everything = images.names[:WARM_UP], images.names
    predictor.probabilities(images, batch)
    images.names = everything[: len(paths)]
    answers = predictor.probabilities(images, batch)
    return predictor.seconds, [dict(zip(predictor.labels, row, strict=True)) for row in answers.tolist()]


def at_the_limit(model: str, count: int) -> float:
    """Seconds of `count` forward passes if the machine did nothing but their multiplications, as fast as it can."""
    network, side = load_for_prediction(Path(model)), image_side(load_processor(Path(model)))
    network.set_attn_implementation("eager")  # whose products of matrices the counter sees
    with torch.inference_mode(), FlopCounterMode(display=False) as counter:
        network(pixel_values=torch.zeros(1, 3, side, side))
    device = "cuda" if torch.cuda.is_available() else "cpu"
    matrix, layer = torch.randn(MATRIX, MATRIX, device=device), nn.Linear(MATRIX, MATRIX, bias=False, device=device)
    through_onednn = device == "cpu" and torch.backends.mkldnn.is_available()
    times = []
    for product in (layer, OneDnnLinear(layer)) if through_onednn else (layer,):
        timer = Timer("with inference_mode(): product(matrix)", globals={
            "product": product, "matrix": matrix, "inference_mode": torch.inference_mode
        }, num_threads=torch.get_num_threads())  # fmt: skip
        times.append(timer.blocked_autorange(min_run_time=2).median)
    return count * counter.get_total_flops() * min(times) / (2 * MATRIX**3)


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """One way, in this process: seconds, the answers, and the peak of memory in MiB; of the limit, seconds alone."""
    if options.only == "limit":
        return {"seconds": at_the_limit(options.model, options.images)}
    paths = sorted(Path(options.folder).iterdir())[: options.images]
    way = with_ours if options.only == "ours" else with_pipeline
    seconds, answers = way(options.model, paths, options.batch)
    peak = torch.cuda.max_memory_allocated() / 2**20 if torch.cuda.is_available() else 0
    return {
        "seconds": seconds,
        "mebibytes": max(peak, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
        "answers": answers,
    }


def in_a_process(options: argparse.Namespace, folder: Path, way: tuple[str, int], images: int) -> dict[str, Any]:
    words = ["--model", options.model, "--folder", folder, "--only", way[0], "--batch", way[1], "--images", images]
    return measured_by("benchmarks.evaluate", words)


def start_up(options: argparse.Namespace, folder: Path) -> float:
    """Seconds of the whole command for one image."""
    command = [sys.executable, "evaluate_model.py", "--model", options.model]
    started = time.perf_counter()
    subprocess.run([*command, "--images", str(min(folder.iterdir()))], check=True, capture_output=True)
    return time.perf_counter() - started


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True, help="folder of a trained model")
    parser.add_argument("--dataset", help="folder that data_prep.py wrote, or a Hub id; its test split is taken")
    parser.add_argument("--images", type=int, default=400, help="how many of them (default: 400)")
    parser.add_argument(
        "--batch", type=int, default=BATCH_SIZE, help=f"images a forward pass, ours (default: {BATCH_SIZE})"
    )
    parser.add_argument("--rounds", type=int, default=3, help="how often each way is measured (default: 3)")
    parser.add_argument("--only", choices=("ours", "pipeline", "limit"), help="one way, in this process, as JSON")
    parser.add_argument("--folder", help="images for --only")
    return parser.parse_args()


@exits_cleanly
def main() -> None:
    options = parse_arguments()
    if options.only:
        print(json.dumps(measure(options)))
        return
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        rows = load_splits(options.dataset, "test")["test"]
        for row in rows.select(range(min(options.images, len(rows)))):
            row["image"].save(folder / f"{row['image_id']}.jpg", quality=95)

        ours, limit = ("ours", options.batch), ("limit", 1)
        ways = {ours, limit, *(("pipeline", batch) for batch in BATCHES)}
        measured = in_turns(
            sorted(ways), options.rounds, lambda way: in_a_process(options, folder, way, options.images)
        )
        seconds = {way: statistics.median(one["seconds"] for one in rounds) for way, rounds in measured.items()}
        best = min((way for way in measured if way[0] == "pipeline"), key=lambda way: seconds[way])
        side = image_side(load_processor(local_folder(options.model, "model")))
        print(f"{public_name(options.model)}, {side} pixels a side, {torch.get_num_threads()} threads")
        for way in [way for way in measured if way != limit]:
            memory = max(one["mebibytes"] for one in measured[way])
            speed = options.images / seconds[way]
            print(f"{way[0]:9} batch {way[1]:3}{speed:8.1f} images a second, {memory:6.0f} MiB")
        difference = max(
            abs(mine[label] - theirs[label])
            for mine, theirs in zip(measured[ours][0]["answers"], measured[best][0]["answers"], strict=True)
            for label in mine
        )
        print(f"ours is {seconds[best] / seconds[ours]:.2f} x the pipeline at its best batch size, {best[1]}")
        print(
            f"limit of this machine, its multiplications alone: {options.images / seconds[limit]:.1f} images a "
            f"second, {seconds[best] / seconds[limit]:.2f} x the pipeline"
        )
        print(f"largest difference between probabilities: {difference:.1e}")
        print(f"evaluate_model.py for one image, whole: {start_up(options, folder):.1f} s")
        few = in_a_process(options, folder, ours, options.images // 4)["mebibytes"]
        print(f"memory with {options.images // 4} images {few:.0f} MiB, with {options.images} as above")


if __name__ == "__main__":
    main()
