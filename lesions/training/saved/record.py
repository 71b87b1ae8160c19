"""training.json: what a run was told to do, what it was made from, and what it measured on the way."""

from __future__ import annotations

import os
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from datasets import Dataset, DatasetDict, Image

from lesions.dataset import audit_of, split_fingerprints
from lesions.hub import local_folder, public_name, revision_of
from lesions.images import BadImage, open_image
from lesions.output.files import write_json
from lesions.run_folder import RECORD
from lesions.training.arguments import PRECISIONS
from lesions.training.layer_decay import layers_of

if TYPE_CHECKING:
    from lesions.training.options import TrainOptions
    from lesions.training.trainer import WeightedTrainer


def describe_model(options: TrainOptions, trainer: WeightedTrainer, earlier: dict[str, Any] | None) -> dict[str, Any]:
    """The model and the machine; `earlier` is the record of the run that --model holds, if any."""
    # A run on the Hub is a base model under its own name; a run in a folder passes on what it started from.
    own_run = earlier and Path(options.model).is_dir()
    base = options.base_model or (earlier["base_model"] if earlier and own_run else public_name(options.model))
    return {
        "base_model": None if options.from_scratch else base,
        "earlier": {name: value for name, value in earlier.items() if name != "history"} if earlier else None,
        "architecture": type(trainer.model).__name__,
        "parameters": trainer.model.num_parameters(),
        "numbered_layers": len(layers_of(trainer.model)),  # without any, all have one learning rate
        "teacher": [public_name(name) for name in options.teachers],
        "precision": PRECISIONS[trainer.accelerator.mixed_precision],
        "hardware": torch.cuda.get_device_name() if torch.cuda.is_available() else f"{os.cpu_count()} CPU cores",
        "processes": trainer.args.world_size,
        "versions": {name: version(name) for name in ("torch", "transformers", "datasets", "accelerate")},
    }


def describe_dataset(name: str, dataset: DatasetDict) -> dict[str, Any]:
    """What a record of a training says about its data: name, title, whether it is synthetic, its size by split, the
    (width, height) of its first training image in pixels and whether all have it, whether copies were searched for, how
    many lesions under two ids were kept together, how many images have no lesion id, the images and terms of each
    source, and the fingerprint of each split."""
    audit = audit_of(name)
    return {
        "name": public_name(name),
        "revision": revision_of(local_folder(name, "dataset")),
        **audit.get("source", {"title": public_name(name), "drawn": False}),
        "n_images": {split: len(part) for split, part in dataset.items()},
        "n_lesions": {split: len(set(part["lesion_id"])) for split, part in dataset.items()},
        "picture_size": list(dataset["train"][0]["image"].size),
        "one_size": _are_of_one_size(dataset["train"]),
        "searched": audit.get("duplicates", {}).get("audit", "off") != "off",
        "lesions_merged": audit.get("duplicates", {}).get("lesions_merged"),
        "no_lesion_id": audit.get("no_lesion_id"),
        "sources": {
            name: {"n_images": about["n_images"], "terms": about["terms"]}
            for name, about in audit.get("sources", {}).items()
        },
        "fingerprints": split_fingerprints(dataset),
    }


def _are_of_one_size(rows: Dataset) -> bool:
    """Whether all images have the same width and height. One that is broken is refused when it is decoded."""
    sizes = set()
    for row in rows.select_columns("image").cast_column("image", Image(decode=False)):
        with suppress(BadImage):
            sizes.add(open_image(row["image"]["bytes"]).size)  # from the header: decoding would take a minute
        if len(sizes) > 1:
            return False
    return True


def describe_training(trainer: WeightedTrainer) -> dict[str, Any]:
    """What a finished training adds: its length, its validation history, and the evaluation that the model was chosen
    by, if any."""
    state = trainer.state
    history = [
        {name.removeprefix("eval_"): value for name, value in entry.items()}
        for entry in state.log_history
        if "eval_loss" in entry
    ]
    # A schedule that watches a metric has a best step too.
    chosen_by = trainer.args.metric_for_best_model if trainer.args.load_best_model_at_end else None
    best = next((entry for entry in history if chosen_by and entry["step"] == state.best_global_step), None)
    return {
        "seconds": round(state.log_history[-1]["seconds"]),
        "epochs": state.epoch,
        "steps": state.global_step,
        "chosen_by": chosen_by and chosen_by.removeprefix("eval_"),
        "best": best,
        "history": history,
    }


def save_record(trainer: WeightedTrainer, record: dict[str, Any]) -> None:
    """Writes the record into the run folder, once for all processes."""
    if trainer.is_world_process_zero():
        write_json(Path(trainer.args.output_dir) / RECORD, record)
