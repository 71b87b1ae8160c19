"""Options that can't work, found before a model or any data are read."""

from __future__ import annotations

import multiprocessing
from copy import copy
from inspect import signature
from math import ceil, inf
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from accelerate.utils import DynamoBackend
from huggingface_hub.errors import HFValidationError
from huggingface_hub.utils import validate_repo_id
from transformers import Trainer, get_scheduler
from transformers.integrations import get_available_reporting_integrations

from lesions.faults import Faults
from lesions.metrics.names import HEADLINE
from lesions.model.folder import LARGEST
from lesions.training.class_weights import SCHEMES

if TYPE_CHECKING:
    from lesions.training.arguments import LesionTrainingArguments
    from lesions.training.options import TrainOptions

# The least and the most of each.
RANGES: dict[str, tuple[float, float]] = {
    **dict.fromkeys(("mixing", "exports", "distillation_alpha", "layer_decay", "label_smoothing_factor"), (0, 1)),
    **dict.fromkeys(("per_device_train_batch_size", "per_device_eval_batch_size"), (1, inf)),
    **dict.fromkeys(("gradient_accumulation_steps", "eval_accumulation_steps"), (1, inf)),
    **dict.fromkeys(("dataloader_prefetch_factor", "logging_steps"), (1e-9, inf)),  # logging: below 1, a share
    **dict.fromkeys(("low_epochs", "learning_rate", "weight_decay", "dataloader_num_workers"), (0, inf)),
    **dict.fromkeys(("warmup_steps", "max_grad_norm", "eval_delay"), (0, inf)),
    **dict.fromkeys(("seed", "data_seed"), (0, 2**32 - 1)),
    "side": (1, LARGEST["image_size"]),
    "low_side": (0, LARGEST["image_size"]),
    "max_steps": (-1, inf),
    "distillation_temperature": (1e-3, inf),
}
# What the Trainer would do with other values, and this training can't live with.
FIXED: dict[str, tuple[Any, str]] = {
    "remove_unused_columns": (False, "the images would be removed"),
    "prediction_loss_only": (False, "metrics need the predictions"),
    "batch_eval_metrics": (False, "the metrics are of the whole split"),
    "eval_do_concat_batches": (True, "the metrics are of the whole split"),
    "bf16_full_eval": (False, "evaluations are in float32, and so are the saved weights"),
    "fp16_full_eval": (False, "evaluations are in float32, and so are the saved weights"),
    "label_names": (["labels"], "that is what the images' labels are called"),
    "optim_target_modules": (None, "the layers have rates of their own, which the optimizers that take it don't know"),
    "auto_find_batch_size": (False, "the batch decides the weights: give --per_device_train_batch_size"),
    "do_predict": (False, "evaluate_model.py measures a split"),
    "hub_always_push": (False, "checkpoints are never pushed; the finished run is, with --push_to_hub"),
    "dataloader_drop_last": (False, "it would drop images of the validation split too, and no loss needs it"),
    "use_liger_kernel": (False, "it has kernels for language models alone"),
    "train_sampling_strategy": (
        "random",
        "images have no length, and a sorted split teaches its order",
    ),
}
SAVE_STEPS = 500  # transformers' own, which counts with --save_strategy steps alone
# Texts of which transformers finds out only later what they name.
CHOICES = {
    "dataloader_multiprocessing_context": multiprocessing.get_all_start_methods(),
    "torch_compile_backend": [name.lower() for name in DynamoBackend.__members__],
    "hub_strategy": ["end", "every_save"],  # the Trainer's default, which can't be told from what a user gave
    "torch_compile_mode": ["default", "reduce-overhead", "max-autotune", "max-autotune-no-cudagraphs"],
}


def check_options(options: TrainOptions, training: LesionTrainingArguments) -> None:
    """Raises InputError, which lists every option that can't work, alone or with the others."""
    given, faults = {**training.to_dict(), **vars(options)}, Faults()

    def refuse(name: str, why: str) -> None:
        faults.add("option that can't work", f"--{name} {given[name]}: {why}")

    for name, (least, most) in RANGES.items():
        value = given[name]
        if value is not None and not least <= value <= most:
            refuse(name, f"give a number from {least:g}" + (f" to {most:g}" if most < inf else ""))
    for name, (needed, why) in FIXED.items():
        if given[name] != needed:
            refuse(name, why)
    for name, choices in CHOICES.items():
        if given[name] is not None and given[name].lower() not in choices:
            refuse(name, f"choose one of {', '.join(choices)}")
    if training.max_steps <= 0 and not 0 < training.num_train_epochs < inf:
        refuse("num_train_epochs", "nothing would be trained, or without an end")
    by_step = training.eval_strategy == "steps"
    ends = training.max_steps if by_step else training.num_train_epochs
    if training.load_best_model_at_end and (training.max_steps > 0) == by_step and training.eval_delay >= ends:
        refuse("eval_delay", f"no evaluation would choose the best model, since the training ends at {ends:g}")
    for kind in ("eval", "save"):
        if getattr(training, f"{kind}_strategy") == "epoch" and given[f"{kind}_steps"] not in (None, SAVE_STEPS):
            refuse(f"{kind}_steps", f"give --{kind}_strategy steps too")
    chosen_by_step = training.load_best_model_at_end and by_step and training.save_strategy == "steps"
    if chosen_by_step and training.save_steps != training.eval_steps:
        why = f"give the {training.eval_steps:g} of --eval_steps, or --save_strategy best: otherwise the best weights"
        refuse("save_steps", f"{why} may lie between two checkpoints")
    if options.low_epochs and not options.low_side:
        refuse("low_epochs", "give --low_side too")
    if training.max_steps <= 0 and options.low_side and options.low_epochs > ceil(training.num_train_epochs) - 1:
        why = f"the training ends after {training.num_train_epochs:g}, so the model would never see images of its own"
        refuse("low_epochs", f"{why} side; give fewer than --num_train_epochs")
    if not isinstance(options.class_weights, dict) and options.class_weights not in {None, *SCHEMES}:
        refuse("class_weights", f"choose one of {', '.join(SCHEMES)}, or give a mapping in the recipe")
    metric = (training.metric_for_best_model or "loss").removeprefix("eval_")
    if metric not in {"loss", *HEADLINE}:
        refuse("metric_for_best_model", f"choose one of loss, {', '.join(HEADLINE)}")
    if options.base_model and (fault := _what_is_wrong_with_id(options.base_model)):
        refuse("base_model", fault)
    for tracker in set(training.report_to) - set(get_available_reporting_integrations()):
        refuse("report_to", f"{tracker} is not a tracker that transformers knows, or its package is not installed")
    if training.accelerator_config.split_batches:
        faults.add("option that can't work", "--accelerator_config split_batches: give the batch of one process")
    if (training.accelerator_config.gradient_accumulation_kwargs or {}).get("num_steps"):
        faults.add("option that can't work", "--accelerator_config num_steps: give --gradient_accumulation_steps")
    if training.lr_scheduler_kwargs and given["lr_scheduler_type"] in ("constant", "constant_with_warmup"):
        refuse("lr_scheduler_kwargs", f"the schedule {given['lr_scheduler_type']} takes none")
    if training.dataloader_persistent_workers and not training.dataloader_num_workers:
        refuse("dataloader_persistent_workers", "give --dataloader_num_workers too")
    if training.fsdp and training.world_size == 1:
        refuse("fsdp", "it divides a model over several processes, which accelerate launch starts")
    if training.tf32:
        refuse("tf32", "evaluations are in float32; to train faster, give --bf16")
    parameter = torch.nn.Parameter(torch.zeros(1))
    try:
        kind, more = Trainer.get_optimizer_cls_and_kwargs(training)
        optimizer = kind([parameter], **more)
    except Exception as error:  # of whatever package the optimizer comes from
        refuse("optim", _reason(error))
    else:
        if fault := _what_is_wrong_with_optim_args(training):
            refuse("optim_args", fault)
        try:
            get_scheduler(training.lr_scheduler_type, optimizer, 1, 10, training.lr_scheduler_kwargs)
        except Exception as error:  # a missing or a wrong argument of the schedule
            refuse("lr_scheduler_type", _reason(error))
    faults.raise_if_any("change them on the command line or in the recipe")


def _what_is_wrong_with_optim_args(training: LesionTrainingArguments) -> str | None:
    """Transformers passes over names that the optimizer does not take, or that it never reads for this one."""
    if not training.optim_args:
        return None
    probe = copy(training)

    def options(optim_args: str | None) -> dict[str, Any]:
        probe.optim_args = optim_args
        more: dict[str, Any] = Trainer.get_optimizer_cls_and_kwargs(probe)[1]
        return more

    kind, _ = Trainer.get_optimizer_cls_and_kwargs(training)
    plain = options(None)

    def takes(name: str) -> bool:
        try:
            return name != "weight_decay" and options(f"{name}=?") != plain  # each layer has its own
        except Exception:  # whatever reads `?` as a number, or as a name
            return True

    names = [part.partition("=")[0] for part in training.optim_args.replace(" ", "").split(",")]
    if not (wrong := [name for name in names if not takes(name)]):
        return None
    known = [name for name in signature(kind).parameters if takes(name)]
    return f"{training.optim.value} takes {', '.join(known) or 'none'}, not {', '.join(wrong)}"


def _reason(error: Exception) -> str:
    return str(error).partition("\n")[0] or type(error).__name__


def _what_is_wrong_with_id(name: str) -> str | None:
    if Path(name).exists():
        return "a folder; the card needs the Hub id of what is in it"
    try:
        validate_repo_id(name)
    except HFValidationError as error:
        return f"not a Hub id: {str(error).splitlines()[0]}"
    return None
