"""evaluate_model.py's loop against the model's forward pass alone, and against `pipeline("image-classification")`.

    python -m benchmarks.evaluate --model release/deit-tiny-ham10000 --dataset data/ham10000

Prints the images per second of each: forward, of tensors that lie in memory; ours, and the pipeline with several batch
sizes, of image files. Then the ratios, the largest difference between probabilities of ours and the pipeline, the
seconds of the whole command for one image, and how memory grows with the number of images. Every measurement is a
process of its own; the ways take turns, and a ratio is the median over the rounds.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch

from benchmarks.own_process import in_turns, measured_by
from lesions.dataset import load_splits
from lesions.evaluation.options import MeasureOptions
from lesions.faults import exits_cleanly
from lesions.hub import local_folder, public_name
from lesions.model.loading import load_processor
from lesions.model.resolution import image_side

BATCHES = (1, 8, 16, 32)  # of the pipeline
BATCH_SIZE = MeasureOptions().batch_size
WARM_UP = 16  # images


def forward(model: str, paths: list[Path], batch: int) -> tuple[float, list[dict[str, float]]]:
    from lesions.evaluation.image_folder import ImageFolder
    from lesions.evaluation.prediction import Predictor, in_batches
    from lesions.model.inputs import LesionImages

    predictor, images = Predictor(Path(model)), ImageFolder(paths[0].parent)
    images.names = images.names[: len(paths)]
    batches = list(in_batches(LesionImages(images, predictor.processor), batch))
    with torch.inference_mode():
        predictor.model(pixel_values=batches[0]["pixel_values"].to(predictor.device))
        started = time.perf_counter()
        for each in batches:
            predictor.model(pixel_values=each["pixel_values"].to(predictor.device)).logits.cpu()
    return time.perf_counter() - started, []


def with_ours(model: str, paths: list[Path], batch: int) -> tuple[float, list[dict[str, float]]]:
    from lesions.evaluation.image_folder import ImageFolder
    from lesions.evaluation.prediction import Predictor

    predictor, images = Predictor(Path(model)), ImageFolder(paths[0].parent)
    images.names, everything = images.names[:WARM_UP], images.names
    predictor.probabilities(images, batch)
    images.names = everything[: len(paths)]
    answers = predictor.probabilities(images, batch)
    return answers.seconds, [dict(zip(predictor.labels, row, strict=True)) for row in answers.probabilities.tolist()]


def with_pipeline(model: str, paths: list[Path], batch: int) -> tuple[float, list[dict[str, float]]]:
    from transformers import pipeline

    classify = pipeline("image-classification", model=model)
    names = [str(path) for path in paths]
    list(classify(names[:WARM_UP], batch_size=batch))
    started = time.perf_counter()
    answers = classify(names, batch_size=batch, top_k=classify.model.config.num_labels)
    seconds = time.perf_counter() - started
    return seconds, [{answer["label"]: answer["score"] for answer in each} for each in answers]


WAYS = {"forward": forward, "ours": with_ours, "pipeline": with_pipeline}


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """One way, in this process: seconds, the answers, and the peak of memory in MiB."""
    paths = sorted(Path(options.folder).iterdir())[: options.images]
    seconds, answers = WAYS[options.only](options.model, paths, options.batch)
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
    parser.add_argument("--dataset", help="folder that data_prep.py wrote, or a Hub id; its test split is used")
    parser.add_argument("--images", type=int, default=400, help="how many of them (default: 400)")
    parser.add_argument(
        "--batch", type=int, default=BATCH_SIZE, help=f"images per forward pass, ours (default: {BATCH_SIZE})"
    )
    parser.add_argument("--batches", type=int, nargs="+", default=BATCHES, help="the same, of the pipeline")
    parser.add_argument("--rounds", type=int, default=3, help="how often each way is measured (default: 3)")
    parser.add_argument("--only", choices=sorted(WAYS), help="one way, in this process, as JSON")
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
        ways = [
            ("forward", options.batch),
            ("ours", options.batch),
            *(("pipeline", batch) for batch in options.batches),
        ]
        before = os.getloadavg()[0]
        measured = in_turns(ways, options.rounds, lambda way: in_a_process(options, folder, way, options.images))
        print_table(options, measured, before)
        print(f"evaluate_model.py for one image, whole: {start_up(options, folder):.1f} s")
        few = in_a_process(options, folder, ways[1], options.images // 4)["mebibytes"]
        print(f"memory with {options.images // 4} images {few:.0f} MiB, with {options.images} as above")


def print_table(options: argparse.Namespace, measured: dict[tuple[str, int], list[dict]], load_before: float) -> None:
    side = image_side(load_processor(local_folder(options.model, "model")))
    seconds = {way: [one["seconds"] for one in rounds] for way, rounds in measured.items()}
    alone, ours = [way for way in measured if way[0] != "pipeline"]
    best = min((way for way in measured if way[0] == "pipeline"), key=lambda way: statistics.median(seconds[way]))
    print(f"{public_name(options.model)}, {side} pixels a side, {torch.get_num_threads()} threads; load of the machine "
          f"{load_before:.1f} before, {os.getloadavg()[0]:.1f} after")  # fmt: skip
    for way, rounds in measured.items():
        speed = options.images / statistics.median(seconds[way])
        print(
            f"{way[0]:9} batch {way[1]:3}{speed:8.1f} images per second, {max(r['mebibytes'] for r in rounds):6.0f} MiB"
        )
    for other, name in ((alone, "the forward pass alone"), (best, f"the pipeline at its best batch size, {best[1]}")):
        ratio = statistics.median(theirs / mine for mine, theirs in zip(seconds[ours], seconds[other], strict=True))
        print(f"ours has {ratio:.2f} x the rate of {name}")
    difference = max(
        abs(mine[label] - theirs[label])
        for mine, theirs in zip(measured[ours][0]["answers"], measured[best][0]["answers"], strict=True)
        for label in mine
    )
    print(f"largest difference between probabilities, ours and the pipeline's: {difference:.1e}")


if __name__ == "__main__":
    main()
