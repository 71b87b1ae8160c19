"""Whether an interrupted run can be continued, and from where."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from lesions.dataset import dataset_fingerprint, split_fingerprints
from lesions.faults import Faults, InputError
from lesions.hub import public_name
from lesions.output.plain_text import in_short
from lesions.run_folder import RECORD, record_of, weights_of
from lesions.seen_images import SeenImages, read_seen
from lesions.training.saved.checkpoints import last_whole_checkpoint, read_dictionary, what_is_broken

if TYPE_CHECKING:
    from datasets import DatasetDict

    from lesions.training.arguments import LesionTrainingArguments
    from lesions.training.options import TrainOptions

# The options that decide which weights a run ends with. They are recorded, and a continued run must repeat them. All
# others say where, how fast or under which name; --decision is fitted at the end.
DECISIVE = (
    *("model", "from_scratch", "new_head", "class_weights", "layer_decay", "side", "low_side", "low_epochs"),
    *("mixing", "exports", "teacher", "distillation", "distillation_alpha", "distillation_temperature"),
    *("num_train_epochs", "max_steps", "whole_batch", "auto_find_batch_size", "dataloader_drop_last"),
    *("train_sampling_strategy", "ignore_data_skip"),
    *("learning_rate", "lr_scheduler_type", "lr_scheduler_kwargs", "warmup_steps", "weight_decay", "max_grad_norm"),
    *("optim", "optim_args", "optim_target_modules", "adam_beta1", "adam_beta2", "adam_epsilon"),
    *("label_smoothing_factor", "neftune_noise_alpha", "seed", "data_seed", "full_determinism"),
    *("bf16", "fp16", "tf32", "use_cpu", "torch_compile", "torch_compile_backend", "torch_compile_mode"),
    *("eval_strategy", "eval_steps", "eval_delay", "save_strategy", "save_steps"),  # the choice of the best one
    *("load_best_model_at_end", "metric_for_best_model", "greater_is_better"),
)
# How the images of a step, `whole_batch`, are divided over processes and time changes no weight but by rounding.
RECORDED = (*DECISIVE, "per_device_train_batch_size", "gradient_accumulation_steps")
DATA = ("dataset_fingerprint", "train_fingerprint", "teacher_weights")  # what else decides, besides the images


def describe_settings(options: TrainOptions, training: LesionTrainingArguments) -> dict[str, Any]:
    """The options of RECORDED that have a value."""
    given = {**training.to_dict(), **vars(options), "model": public_name(options.model)}
    given["teacher"] = [public_name(name) for name in options.teacher or []] or None
    steps, processes = training.gradient_accumulation_steps, training.world_size
    given["whole_batch"] = training.train_batch_size * steps * processes
    return {name: value for name in RECORDED if (value := given.get(name)) is not None}


def identify(
    options: TrainOptions, training: LesionTrainingArguments, dataset: DatasetDict, teachers: list[Path]
) -> dict[str, Any]:
    """What a continued run must repeat: its data, the weights in the folders of its `teachers`, and its settings."""
    return {
        "dataset_fingerprint": dataset_fingerprint(dataset),
        "train_fingerprint": split_fingerprints(dataset)["train"],
        "teacher_weights": [weights_of(folder) for folder in teachers] or None,
        "settings": describe_settings(options, training),
    }


def find_checkpoint(
    training: LesionTrainingArguments, identity: dict[str, Any], labels: list[str], seen: SeenImages
) -> str | None:
    """The checkpoint to continue; None to start a new run.

    A folder that holds an unfinished run with the same `identity` (settings and data) is always continued, on the same
    images, which `seen` holds. Raises InputError if `output_dir` holds anything else, or if the given checkpoint can't
    be continued.
    """
    output, asked = Path(training.output_dir), training.resume_from_checkpoint
    if training.save_only_model:
        print("--save_only_model: the checkpoints hold no optimizer state, so an interrupted run can't be continued")
    names = {path.name for path in output.iterdir()} if output.exists() else set()
    files = {name for name in names if not name.startswith(f".{RECORD}.")}  # a lock or a part, of a killed run
    if files and RECORD not in files:
        raise InputError(f"{output} is not empty and holds no run of train.py; give another --output_dir")
    if asked and asked.lower() not in ("true", "last"):
        run = Path(asked).resolve().parent
        if files and run != output.resolve():
            raise InputError(f"{output} holds another run than {asked}; give another --output_dir")
        _check_checkpoint(Path(asked), labels)
        if record := record_of(run):
            _check_same_run(run, record, identity, seen)
        return asked
    if not files:
        if asked:
            raise InputError(f"{output} holds no run to resume; leave --resume_from_checkpoint out to start one")
        return None
    record = record_of(output)
    assert record is not None  # RECORD is among the files
    if record["status"] == "finished":
        raise InputError(
            f"{output} holds a finished run; give another --output_dir, or delete the folder to train again"
        )
    _check_same_run(output, record, identity, seen)
    checkpoint = last_whole_checkpoint(output)
    if checkpoint is None:
        print(f"{output} holds a run without a whole checkpoint: starting again from step 0")
        return None
    print(f"continuing {checkpoint}")
    return str(checkpoint)


def _check_checkpoint(checkpoint: Path, labels: list[str]) -> None:
    if fault := what_is_broken(checkpoint):
        raise InputError(
            f"--resume_from_checkpoint {checkpoint} is not a whole checkpoint-N folder of a run: {fault}\n"
            "Give another one, or leave it out"
        )
    found = list(read_dictionary(checkpoint / "config.json").get("id2label", {}).values())
    if found != labels:
        raise InputError(
            f"--resume_from_checkpoint {checkpoint} distinguishes {in_short(found)}; the data set has "
            f"{in_short(labels)}. To start a new run from it, give it as --model, with --new_head"
        )


def _check_same_run(run: Path, record: dict[str, Any], identity: dict[str, Any], seen: SeenImages) -> None:
    faults, before = Faults(), read_seen(run)
    for name in DATA:
        if record.get(name, identity[name]) != identity[name]:  # an earlier version did not record all of them
            faults.add("data that differ from the run's own", f"{name}: {record.get(name)} there, {identity[name]} now")
    if before and before.contents != seen.contents:
        faults.add("data that differ from the run's own", "the training images have the same ids, but other contents")
    for name in DECISIVE:
        there, now = (about["settings"].get(name) for about in (record, identity))
        if there != now:
            faults.add("option that differs from the run's own", f"{name}: {there!r} there, {now!r} now")
    faults.raise_if_any(
        f"{run} holds another run; repeat its options, or start a new run in another --output_dir. A checkpoint as "
        "--model gives it these weights"
    )
