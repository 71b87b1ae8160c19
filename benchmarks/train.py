"""Compare train.py's loop with the model alone on tensors in memory, and with the Trainer as its documentation shows.

    python -m benchmarks.train --dataset data/ham10000 --model facebook/deit-tiny-distilled-patch16-224
    python -m benchmarks.train --dataset data/ham10000 --model facebook/deit-tiny-distilled-patch16-224 --quality 0.655

The first prints the images per second and the peak memory of each, as the median of interleaved rounds, and how memory
grows with the batch. The second prints the minutes until validation macro-F1 first passes a mark.
Each measurement is a process of its own. Images are decoded before it starts to count.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import sys
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from datasets import Dataset
from transformers import (
    AutoModelForImageClassification,
    DeiTForImageClassification,
    Trainer,
    TrainerCallback,
    TrainingArguments,
)

import train
from benchmarks.own_process import in_turns, measured_by
from lesions.cpu import fast_bfloat16, keep_freed_memory
from lesions.dataset import label_names, load_splits
from lesions.faults import exits_cleanly
from lesions.hub import local_folder
from lesions.model.loading import load_for_training, load_processor, read_config
from lesions.model.resolution import image_side
from lesions.training.options import parse_options
from lesions.training.trainer import compute_metrics

WAYS = {
    "train.py": "train.py's own Trainer: augmentation, weights, logging",
    "limit": "forward, backward and optimizer on tensors in memory, in the same precision",
    "plain": "Trainer, set_transform and the image processor, float32",
}
QUALITY_EPOCHS = 20


class Stopwatch(TrainerCallback):
    """The seconds of the steps after the first `skip`."""

    def __init__(self, skip: int) -> None:
        self.skip, self.started, self.seconds = skip, 0.0, 0.0

    def on_step_end(self, args: Any, state: Any, control: Any, **options: Any) -> None:
        _wait()
        if state.global_step == self.skip:
            self.started = time.perf_counter()
        self.seconds = time.perf_counter() - self.started


class FirstPassing(TrainerCallback):
    """The seconds until validation macro-F1 first passes `mark`, evaluations included; ends the training there."""

    def __init__(self, mark: float) -> None:
        self.mark, self.started = mark, time.perf_counter()
        self.seconds: float | None = None

    def on_evaluate(self, args: Any, state: Any, control: Any, metrics: dict[str, float], **options: Any) -> None:
        if metrics["eval_f1_macro"] > self.mark:
            self.seconds, control.should_training_stop = time.perf_counter() - self.started, True


def _wait() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def few(rows: Dataset, number: int) -> Dataset:
    """`number` rows, every diagnosis among them, since train.py refuses to train without."""
    one_of_each = np.unique(rows["label"], return_index=True)[1].tolist()
    return rows.select(list(dict.fromkeys([*one_of_each, *range(number)]))[:number])


def with_train_py(options: argparse.Namespace, output: str, *more: str) -> Trainer:
    """The Trainer that train.py builds for these options."""
    sys.argv = ["train.py", *options.recipe, "--dataset", options.dataset, "--model", options.model]
    sys.argv += ["--output_dir", output, "--per_device_train_batch_size", str(options.batch), *more]
    sys.argv += ["--from_scratch"] * options.from_scratch
    own, training = parse_options()
    dataset = load_splits(options.dataset, "train", "validation")
    if options.quality is None:
        dataset["train"] = few(dataset["train"], options.steps * options.batch)
    return train.build_trainer(own, training, dataset)[0]


def the_plain_way(options: argparse.Namespace, output: str, **more: Any) -> Trainer:
    """What the documentation of transformers shows."""
    dataset, folder = load_splits(options.dataset, "train", "validation"), local_folder(options.model, "model")
    labels = label_names(dataset)
    processor = load_processor(folder)
    # A DeiT's own two-token class takes no labels; the documentation takes the one with a single head.
    two_tokens = read_config(folder).model_type == "deit"
    kind = DeiTForImageClassification if two_tokens else AutoModelForImageClassification
    if options.from_scratch:
        config = read_config(folder)
        config.num_labels = len(labels)
        model = kind._from_config(config, dtype=torch.float32)
    else:
        model = kind.from_pretrained(
            folder, dtype=torch.float32, num_labels=len(labels), ignore_mismatched_sizes=True, trust_remote_code=False
        )

    def transform(rows: dict[str, list]) -> dict[str, Any]:
        images = processor([image.convert("RGB") for image in rows["image"]], return_tensors="pt")
        return {"pixel_values": images["pixel_values"], "labels": rows["label"]}

    if options.quality is None:
        dataset["train"] = few(dataset["train"], options.steps * options.batch)
    dataset.set_transform(transform)
    defaults = {"learning_rate": 5e-5, "per_device_eval_batch_size": 64, "report_to": "none"}
    arguments = TrainingArguments(
        output_dir=output, per_device_train_batch_size=options.batch, remove_unused_columns=False,
        label_names=["labels"], **(defaults | more),
    )  # fmt: skip
    return Trainer(
        model=model,
        args=arguments,
        train_dataset=dataset["train"],
        eval_dataset=dataset["validation"],
        compute_metrics=compute_metrics,
    )


def limit(options: argparse.Namespace) -> float:
    """Images per second of the model alone."""
    folder = local_folder(options.model, "model")
    labels = label_names(load_splits(options.dataset, "train"))
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    model = load_for_training(folder, labels, options.from_scratch, new_head=True).to(device).train()
    optimizer = torch.optim.AdamW(model.parameters(), fused=True)
    side = image_side(load_processor(folder))
    pixels = torch.randn(options.batch, 3, side, side, device=device)
    truth = torch.arange(options.batch, device=device) % len(labels)
    for step in range(2 * options.steps):
        if step == options.steps:
            _wait()
            started = time.perf_counter()
        with torch.autocast(device.type, torch.bfloat16, enabled=fast_bfloat16()):
            outputs = model(pixel_values=pixels)
        heads = (outputs["cls_logits"], outputs["distillation_logits"]) if "cls_logits" in outputs else (outputs[0],)
        torch.stack([torch.nn.functional.cross_entropy(head.float(), truth) for head in heads]).mean().backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
    _wait()
    return options.steps * options.batch / (time.perf_counter() - started)


def measure(options: argparse.Namespace) -> dict[str, float | None]:
    """One way, in this process: images per second and MiB, or the seconds to the mark."""
    steps = 2 * options.steps  # the first time round, images are decoded
    never = {"eval_strategy": "no", "save_strategy": "no"}
    if options.only != "plain":
        keep_freed_memory()  # as train.py does
    with tempfile.TemporaryDirectory() as output:
        if options.quality is not None:
            passing = FirstPassing(options.quality)
            if options.only == "train.py":
                trainer = with_train_py(options, output, "--save_strategy=no", "--load_best_model_at_end=false")
            else:
                trainer = the_plain_way(options, output, eval_strategy="epoch", save_strategy="no",
                                        num_train_epochs=QUALITY_EPOCHS)  # fmt: skip
            trainer.add_callback(passing)
            trainer.train()
            return {"seconds": passing.seconds}
        if options.only == "limit":
            speed = limit(options)
        else:
            watch = Stopwatch(options.steps)
            if options.only == "train.py":
                arguments = [f"--{name}={value}" for name, value in never.items()]
                trainer = with_train_py(options, output, f"--max_steps={steps}", "--load_best_model_at_end=false",
                                        "--low_epochs=0", *arguments)  # fmt: skip
            else:
                trainer = the_plain_way(options, output, max_steps=steps, **never)
            trainer.add_callback(watch)
            trainer.train()
            speed = options.steps * options.batch / watch.seconds
    peak = torch.cuda.max_memory_allocated() / 2**20 if torch.cuda.is_available() else _peak_of_this_process()
    return {"speed": speed, "mebibytes": peak}


def _peak_of_this_process() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def in_a_process(options: argparse.Namespace, way: str, **changes: object) -> dict[str, Any]:
    given = vars(options) | {"only": way} | changes
    flags = ["--from_scratch"] * given.pop("from_scratch")
    words = [word for name, value in given.items() if name != "recipe" and value is not None
             for word in (f"--{name}", value)]  # fmt: skip
    return measured_by("benchmarks.train", [*options.recipe, *words, *flags])


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recipe", nargs="*", help="recipe of train.py, for its own loop")
    parser.add_argument("--dataset", required=True, help="folder that data_prep.py wrote, or a Hub id")
    parser.add_argument("--model", required=True, help="pretrained DeiT or ViT, a folder or a Hub id")
    parser.add_argument("--batch", type=int, default=32, help="images per step (default: 32)")
    parser.add_argument(
        "--steps", type=int, default=20, help="steps that are timed, after as many to warm up (default: 20)"
    )
    parser.add_argument("--rounds", type=int, default=3, help="how often each way is measured (default: 3)")
    parser.add_argument("--quality", type=float, help="measure the time to this validation macro-F1 instead")
    parser.add_argument(
        "--from_scratch",
        action="store_true",
        help="random weights, on which speed does not depend; --model then needs no weights",
    )
    parser.add_argument("--only", choices=WAYS, help="one way, in this process, its metrics as JSON")
    return parser.parse_args()


@exits_cleanly
def main() -> None:
    options = parse_arguments()
    if options.only:
        print(json.dumps(measure(options)))
        return
    if options.quality is not None:
        for way in ("train.py", "plain"):
            seconds = in_a_process(options, way)["seconds"]
            reached = f"{seconds / 60:.1f} minutes" if seconds else "never"
            print(f"{way}: validation macro-F1 over {options.quality} after {reached}", flush=True)
        return

    measured = in_turns(WAYS, options.rounds, partial(in_a_process, options))
    speeds = {way: statistics.median(one["speed"] for one in rounds) for way, rounds in measured.items()}
    print(f"{Path(options.model).name}, batch {options.batch}, {torch.get_num_threads()} threads, "
          f"{torch.cuda.get_device_name() if torch.cuda.is_available() else 'no GPU'}")  # fmt: skip
    for way, what in WAYS.items():
        memory = max(one["mebibytes"] for one in measured[way])
        share = speeds["train.py"] / speeds[way]
        print(f"  {way:9}{speeds[way]:8.1f} images per second, {memory:6.0f} MiB; train.py is {share:.2f} x ({what})")
    for batch in (options.batch * 2, options.batch * 4):
        memory = in_a_process(options, "train.py", batch=batch, steps=3)["mebibytes"]
        print(f"  train.py with batches of {batch}: {memory:.0f} MiB")


if __name__ == "__main__":
    main()
