"""Fine-tune every layer of DeiT on a prepared data set.

    accelerate launch train.py recipes/deit-tiny.yaml --dataset data/ham10000 --output_dir runs/deit-tiny
    accelerate launch train.py recipes/deit-base.yaml --dataset data/ham10000 --output_dir runs/deit-base \\
        --push_to_hub --hub_model_id you/deit-base-ham10000

A recipe holds options by name; an option on the command line wins over the recipe. Repeat a command to continue an
interrupted run. From the first evaluation on, the output folder holds the best model so far, ready for the Hub and
for `pipeline("image-classification")`.
"""

from __future__ import annotations

import os
import sys
from contextlib import nullcontext
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Any

from lesions.faults import InputError, exits_cleanly

# --help answers at once, and an error of an import is a clear one, so the functions import what they need.
if TYPE_CHECKING:
    from datasets import DatasetDict

    from lesions.hub import Destination
    from lesions.training.arguments import LesionTrainingArguments
    from lesions.training.options import TrainOptions
    from lesions.training.trainer import WeightedTrainer


@exits_cleanly
def main() -> None:
    from lesions.training.options import parse_options

    options, training = parse_options(__doc__)

    from lesions.dataset import dataset_fingerprint, label_names, load_splits, title_of
    from lesions.hub import check_access, local_folder
    from lesions.model.half_precision import store_in_half
    from lesions.model.loading import check_trainable
    from lesions.output.places import alone, check_writable
    from lesions.run_folder import CURVES, RECORD, weights_of
    from lesions.seen_images import check_unseen, seen_images, write_seen
    from lesions.training.curves import save_training_curves
    from lesions.training.decision import decide
    from lesions.training.feasibility import check_options
    from lesions.training.saved.record import describe_training, save_record
    from lesions.training.saved.resume import find_checkpoint, identify

    settle_in(training)
    check_options(options, training)
    run, to = Path(training.output_dir), destination(training)
    check_writable(run)
    if to:
        check_access(to)
    folders = {name: local_folder(name, "model") for name in options.learns_from}
    teachers = [folders[name] for name in options.teachers]
    check_trainable(local_folder(options.model, "model"), teachers, options.from_scratch)
    dataset = load_splits(options.dataset, "train", "validation", "test")
    check_unseen(folders, dataset, ("validation", "test"), title_of(options.dataset), dataset_fingerprint(dataset))
    seen = seen_images(dataset["train"], folders.values())
    identity = identify(options, training, dataset, teachers)
    checkpoint = find_checkpoint(training, identity, label_names(dataset), seen)

    with alone(run / RECORD) if training.process_index == 0 else nullcontext():
        trainer, about = build_trainer(options, training, dataset)
        record = {"status": "running", **identity, **about}
        trainer.accelerator.wait_for_everyone()  # until then, another process may look for what is in the folder
        save_record(trainer, record)
        if trainer.is_world_process_zero():
            write_seen(run, seen)
        trainer.resume(checkpoint)

        decided = decide(trainer, options.decision, list(record["train_counts"].values()), options.malignant)
        trainer.save_model(_internal_call=True)  # with the decision; the best one, if one was asked for
        if trainer.is_world_process_zero():
            store_in_half(run)
            decided["weights_sha256"] = weights_of(run)
        save_record(trainer, record | {"status": "finished", **describe_training(trainer), **decided})
        trainer.leave()
        if trainer.is_world_process_zero():
            save_training_curves(run / CURVES, trainer.state.log_history)
            finish(run, options.dataset, to)


def settle_in(training: LesionTrainingArguments) -> None:
    """Lets the first process alone speak, and gives a process that has the machine to itself all of its cores."""
    from lesions.cpu import keep_freed_memory, use_all_cores

    if training.process_index > 0:
        sys.stdout = Path(os.devnull).open("w")  # noqa: SIM115 - until the process ends
    keep_freed_memory()
    if training.device.type == "cpu" and training.world_size == 1:
        use_all_cores()


def destination(training: LesionTrainingArguments) -> Destination | None:
    """Where on the Hub the run goes, if --push_to_hub asks for it. Takes the push away from the Trainer, which would
    send its own card, and pickles."""
    from lesions.hub import Destination

    if not training.push_to_hub:
        return None
    if not training.hub_model_id:
        raise InputError("--push_to_hub needs --hub_model_id owner/name")
    training.push_to_hub = False
    return Destination(
        training.hub_model_id,
        private=bool(training.hub_private_repo),
        token=training.hub_token,
        revision=training.hub_revision,
    )


def build_trainer(
    options: TrainOptions, training: LesionTrainingArguments, dataset: DatasetDict
) -> tuple[WeightedTrainer, dict[str, Any]]:
    """The Trainer with model, data and class weights in place, and the record of all of them."""
    import transformers

    from lesions.dataset import label_names
    from lesions.diagnoses import malignant_among, why_unknown
    from lesions.hub import local_folder
    from lesions.model.inputs import LesionImages, collate
    from lesions.model.loading import check_answer, load_for_training, load_processor
    from lesions.model.resolution import check_low_side, see_whole_image, take_images_of
    from lesions.output.plain_text import one_line
    from lesions.run_folder import record_of
    from lesions.training.augmentation import Augmentation
    from lesions.training.class_weights import class_weights, count_labels
    from lesions.training.distillation import Distillation, Teacher, Teachers
    from lesions.training.layer_decay import layers_of
    from lesions.training.saved.record import describe_dataset, describe_model
    from lesions.training.trainer import WeightedTrainer, compute_metrics

    transformers.set_seed(training.seed)  # before the new head draws its weights
    labels, folder = label_names(dataset), local_folder(options.model, "model")
    counts = count_labels(dataset["train"]["label"], labels)
    weights = class_weights(options.class_weights or "none", counts)

    processor = see_whole_image(load_processor(folder))
    model = load_for_training(folder, labels, options.from_scratch, options.new_head)
    if options.side:
        take_images_of(options.side, model, processor)
    check_low_side(options.low_side, model)
    check_answer(model.eval(), len(labels), processor, f"the model in {folder}")
    teachers = [Teacher(local_folder(name, "model"), labels, processor) for name in options.teachers]

    augmentation = Augmentation(training.seed, options.low_side, options.low_epochs, options.exports)
    trainer = WeightedTrainer(
        model=model,
        args=training,
        class_weights=list(weights.values()),
        layer_decay=options.layer_decay,
        mixing=options.mixing,
        teacher=Teachers(teachers) if teachers else None,
        distillation=Distillation(options.distillation, options.distillation_alpha, options.distillation_temperature),
        train_dataset=LesionImages(dataset["train"], processor, augmentation, keep=True),
        eval_dataset=LesionImages(dataset["validation"], processor, keep=True),
        data_collator=collate,
        processing_class=processor,
        compute_metrics=compute_metrics,
    )
    if options.layer_decay != 1 and not layers_of(model):
        print(f"--layer_decay does nothing: {type(model).__name__} does not number its layers, so all have one rate")
    malignant = malignant_among(labels, options.malignant)
    if malignant is None:
        print(one_line(f"no malignant-or-not answer: {why_unknown(labels)}"))
    print(one_line("class weights: " + ", ".join(f"{name} {weight:.3f}" for name, weight in weights.items())))
    return trainer, {
        **describe_model(options, trainer, None if options.from_scratch else record_of(folder)),
        "dataset": describe_dataset(options.dataset, dataset),
        "malignant": malignant,
        "train_counts": counts,
        "class_weights": {"scheme": options.class_weights, "weights": weights},
    }


def finish(run: Path, dataset: str, to: Destination | None) -> None:
    """Writes the card and says what comes next. With a destination, measures the test split and publishes."""
    from lesions.evaluation.limits.fitting import store_limits
    from lesions.evaluation.measure import measure_split
    from lesions.run_folder import EVALUATION
    from model_card.card import write_card
    from model_card.publish import publish

    store_limits(run, dataset)
    print(f"\n{run} holds the model")
    if to:
        measure_split(str(run), dataset, "test", run / EVALUATION)
        print(f"\npublished at {publish(run, to)}")
    else:
        write_card(run)
        print(f"Next:\n  python evaluate_model.py --model {quote(str(run))} --dataset {quote(dataset)} --split test")


if __name__ == "__main__":
    main()
