"""Fine-tune DeiT, all of it, on a prepared data set.

    accelerate launch train.py recipes/deit-tiny.yaml --dataset data/ham10000 --output_dir runs/deit-tiny
    accelerate launch train.py recipes/deit-base.yaml --dataset data/ham10000 --output_dir runs/deit-base \\
        --push_to_hub --hub_model_id you/deit-base-ham10000

A recipe holds options of the same names; an option on the command line wins over the recipe. The same command
run again continues an interrupted run. The output folder holds, from the first evaluation on, the best model so
far in the form that the Hub and `pipeline("image-classification")` take.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections import Counter
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import evaluate_model
import model_card
from lesions.dataset import dataset_fingerprint, describe_dataset, label_names, load_splits, title_of
from lesions.faults import InputError, exits_cleanly
from lesions.files import write_json
from lesions.hub import Destination, check_access, local_folder, public_name
from lesions.run_folder import CURVES, RECORD, check_division, record_of
from lesions.training.class_weights import class_weights
from lesions.training.recipes import FLAG, parse_with_recipe
from lesions.training.resume import describe_settings, describe_training, find_checkpoint

if TYPE_CHECKING:
    from datasets import Dataset, DatasetDict

    from lesions.training.arguments import LesionTrainingArguments
    from lesions.training.trainer import WeightedTrainer

DEFAULT_MODEL = "facebook/deit-base-distilled-patch16-224"


def own_options() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__,
        epilog="Every option of transformers' TrainingArguments is taken as well, --output_dir, "
        "--num_train_epochs,\n--learning_rate, --per_device_train_batch_size, --gradient_accumulation_steps, "
        "--bf16 and --seed among them:\nhttps://huggingface.co/docs/transformers/main_classes/trainer",
        add_help=False,
        allow_abbrev=False,
    )
    add = parser.add_argument
    add("recipe", nargs="?", type=Path, help="YAML file of options, see recipes/")
    add("--dataset", required=True, help="folder that data_prep.py wrote, or a Hub id")
    add(
        "--model",
        default=DEFAULT_MODEL,
        help=f"pretrained image classifier to fine-tune: a folder or a Hub id (default: {DEFAULT_MODEL})",
    )
    add(
        "--base_model",
        metavar="ID",
        help="Hub id of what --model holds, for the card, where that is a folder (default: what the run in it began "
        "from, or the folder's name)",
    )
    add(
        "--class_weights",
        default="sqrt",
        help="weight of a diagnosis in the loss, from its share of the training split: balanced (inverse), sqrt "
        "(square root of the inverse), none; a recipe may give `diagnosis: weight` (default: sqrt)",
    )
    add(
        "--layer_decay",
        type=float,
        default=1.0,
        help="learning rate of a layer, as a share of that of the layer above it; --learning_rate is that of the "
        "heads (default: 1)",
    )
    add(
        "--side",
        type=int,
        metavar="PIXELS",
        help="side of the images that the model is to see from now on, where it is another than the model's own; the "
        "positions of a DeiT or ViT are interpolated once",
    )
    add(
        "--low_side",
        type=int,
        default=0,
        metavar="PIXELS",
        help="side of the images in the first epochs, for speed; DeiT and ViT interpolate their positions",
    )
    add("--low_epochs", type=float, default=0, help="how many epochs take images of --low_side (default: 0)")
    add(
        "--mixing",
        type=float,
        default=0,
        metavar="SHARE",
        help="share of the batches whose images are mixed in pairs, by mixup or CutMix (default: 0)",
    )
    add(
        "--teacher",
        nargs="+",
        metavar="MODEL",
        help="trained classifiers of the same diagnoses, folders or Hub ids, to learn from as well; of several, the "
        "mean of their probabilities",
    )
    add(
        "--distillation",
        choices=("hard", "soft", "none"),
        default="hard",
        help="what DeiT's distillation token learns from --teacher: its decisions or its probabilities (default: hard)",
    )
    add("--distillation_alpha", type=float, default=0.5, help="the teacher's share of the loss (default: 0.5)")
    add("--distillation_temperature", type=float, default=3, help="for soft distillation (default: 3)")
    add(
        "--decision",
        choices=("balanced", "f1", "accuracy", "none"),
        default="none",
        help="metric for which the validation split sets the share of each diagnosis among the decisions; this and a "
        "temperature for honest probabilities are put into the saved head; none: the temperature alone (default: none)",
    )
    add(
        "--from_scratch",
        **FLAG,
        help="start from random weights; --model then needs only config.json and preprocessor_config.json",
    )
    add(
        "--new_head",
        **FLAG,
        help="train a new head even where the model already tells some of these diagnoses apart",
    )
    return parser


@exits_cleanly
def main() -> None:
    options, training = parse_with_recipe(own_options())
    from lesions.cpu import keep_freed_memory, use_all_cores
    from lesions.model.half_precision import store_in_half
    from lesions.training.curves import save_training_curves

    if training.process_index > 0:
        sys.stdout = Path(os.devnull).open("w")  # noqa: SIM115 - until the process ends: the first one tells for all
    keep_freed_memory()
    if training.device.type == "cpu" and training.world_size == 1:
        use_all_cores()
    push, training.push_to_hub = training.push_to_hub, False  # the Trainer's own push would send its card and pickles
    if push:
        check_access(destination(training))
    dataset = load_splits(options.dataset, "train", "validation", "test")
    fingerprint = dataset_fingerprint(dataset)
    identity = {
        "dataset_fingerprint": fingerprint,
        "settings": describe_settings(vars(options), training),
    }
    names = teacher_names(options) + ([] if options.from_scratch else [options.model])
    learnt_from = {name: record_of(local_folder(name, "model")) for name in names}
    check_division(learnt_from, title_of(options.dataset), fingerprint)
    checkpoint = find_checkpoint(training, identity)

    trainer, record = build_trainer(options, training, dataset)
    record = {"status": "running", **identity, **record}
    save_record(trainer, record)
    trainer.train(resume_from_checkpoint=checkpoint)
    decided = decide(trainer, options.decision, list(record["train_counts"].values()))
    trainer.save_model(_internal_call=True)  # with the decision; the best one, where one was asked for
    if trainer.is_world_process_zero():
        store_in_half(Path(training.output_dir))
    record |= {"status": "finished", **describe_training(trainer), **decided}
    save_record(trainer, record)
    trainer.leave()
    if trainer.is_world_process_zero():
        save_training_curves(Path(training.output_dir) / CURVES, trainer.state.log_history)
        finish(Path(training.output_dir), options.dataset, training if push else None)


def build_trainer(
    options: argparse.Namespace, training: LesionTrainingArguments, dataset: DatasetDict
) -> tuple[WeightedTrainer, dict[str, Any]]:
    """The Trainer with model, data and class weights in place, and the record of all of them."""
    import torch
    import transformers

    from lesions.model.inputs import LesionImages, collate
    from lesions.model.loading import load_for_training, load_processor
    from lesions.model.resolution import see_whole_image, take_images_of
    from lesions.training.augmentation import Augmentation
    from lesions.training.distillation import Distillation, Teacher, Teachers
    from lesions.training.trainer import WeightedTrainer, compute_metrics

    transformers.set_seed(training.seed)  # before the new head is drawn
    labels = label_names(dataset)
    folder = local_folder(options.model, "model")
    earlier = {} if options.from_scratch else record_of(folder) or {}  # of the run that this one goes on from
    own_run = earlier and Path(options.model).is_dir()  # one on the Hub is named itself
    began_from = earlier["base_model"] if own_run else public_name(options.model)
    processor = load_processor(folder)
    see_whole_image(processor)
    augmentation = Augmentation(training.seed, options.low_side, options.low_epochs)
    model = load_for_training(folder, labels, options.from_scratch, options.new_head)
    if options.side:
        take_images_of(options.side, model, processor)
    counts = count_labels(dataset["train"], labels)
    weights = class_weights(options.class_weights, counts)
    teachers = [Teacher(local_folder(name, "model"), labels, processor) for name in teacher_names(options)]

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
    print("class weights: " + ", ".join(f"{name} {weight:.3f}" for name, weight in weights.items()))
    return trainer, {
        "base_model": None if options.from_scratch else options.base_model or began_from,
        "earlier": {name: value for name, value in earlier.items() if name != "history"} or None,
        "architecture": type(model).__name__,
        "parameters": model.num_parameters(),
        "dataset": describe_dataset(options.dataset, dataset),
        "train_counts": counts,
        "class_weights": {"scheme": options.class_weights, "weights": weights},
        "teacher": [public_name(name) for name in teacher_names(options)],
        "precision": "bfloat16 autocast" if training.bf16 else "float32",
        "hardware": torch.cuda.get_device_name() if torch.cuda.is_available() else f"{os.cpu_count()} CPU cores",
        "processes": training.world_size,
        "versions": {name: version(name) for name in ("torch", "transformers", "datasets", "accelerate")},
    }


def teacher_names(options: argparse.Namespace) -> list[str]:
    return options.teacher if options.teacher and options.distillation != "none" else []


def decide(trainer: WeightedTrainer, aim: str, counts: list[int]) -> dict[str, Any]:
    """Fits the decision on the validation split, puts it into the model's head, and says what that changed; then
    chooses, on the same split, the operating points of the model as it is saved."""
    import numpy as np

    from lesions.metrics.probabilities import softmax
    from lesions.metrics.scores import headline
    from lesions.model.half_precision import round_to_half
    from lesions.training.decision import fit_decision, fold_decision
    from lesions.training.thresholds import choose_thresholds

    model = trainer.accelerator.unwrap_model(trainer.model)
    round_to_half(model)
    predicted = trainer.predict(trainer.eval_dataset, metric_key_prefix="validation")
    logits, truth = np.asarray(predicted.predictions), np.asarray(predicted.label_ids)
    decision = fit_decision(logits, truth, np.array(counts) / sum(counts), aim)
    fold_decision(model, decision)
    folded = logits / decision["temperature"] + np.array(decision["bias"])
    labels = list(model.config.label2id)
    return {
        "decision": {**decision, "before": headline(logits, truth), "after": headline(folded, truth)},
        "operating_points": choose_thresholds(softmax(folded), truth, labels),
    }


def count_labels(rows: Dataset, labels: list[str]) -> dict[str, int]:
    """Images of each diagnosis. Raises InputError where one has none, since it could not be learnt."""
    counts = Counter(rows["label"])
    empty = [name for number, name in enumerate(labels) if not counts[number]]
    if empty:
        raise InputError(f"the training split holds no image of {', '.join(empty)}")
    return {name: counts[number] for number, name in enumerate(labels)}


def save_record(trainer: WeightedTrainer, record: dict[str, Any]) -> None:
    if trainer.is_world_process_zero():
        write_json(Path(trainer.args.output_dir) / RECORD, record)


def destination(training: LesionTrainingArguments) -> Destination:
    if not training.hub_model_id:
        raise InputError("--push_to_hub needs --hub_model_id owner/name")
    return Destination(
        training.hub_model_id,
        private=bool(training.hub_private_repo),
        token=training.hub_token,
        revision=training.hub_revision,
    )


def finish(run: Path, dataset: str, push: LesionTrainingArguments | None) -> None:
    """Writes the card and says what comes next; with `push`, measures the test split and publishes."""
    print(f"\n{run} holds the model")
    if push:
        measuring = ["--model", str(run), "--dataset", dataset, "--output", str(run / "evaluation")]
        evaluate_model.evaluate_split(evaluate_model.own_options().parse_args(measuring))
        print(f"\npublished at {model_card.publish(run, destination(push))}")
    else:
        model_card.write_card(run)
        print(f"Next:\n  python evaluate_model.py --model {run} --dataset {dataset} --split test")


if __name__ == "__main__":
    main()
