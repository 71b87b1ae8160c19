"""What runs beside a training: a progress bar, a line after each evaluation, a clock, and the epoch for the images."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from transformers import (
    ProgressCallback,
    TrainerCallback,
    TrainerControl,
    TrainerState,
    TrainingArguments,
)

from lesions.faults import InputError
from lesions.model.inputs import LesionImages
from lesions.training.saved.checkpoints import best_of

SHOWN = ("accuracy", "balanced_accuracy", "f1_macro", "roc_auc_macro", "log_loss")


class EpochProgress(ProgressCallback):
    """transformers' progress bars, with one readable line per evaluation instead of a dictionary per log."""

    def __init__(self) -> None:
        super().__init__()
        self.losses: list[float] = []

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **options: Any
    ) -> None:
        if not args.disable_tqdm:
            super().on_train_begin(args, state, control, **options)
        if self.training_bar is not None:  # the earlier steps of a resumed run say nothing about the time left
            bar = self.training_bar
            self.current_step = bar.initial = bar.n = bar.last_print_n = state.global_step

    def on_step_end(self, args: TrainingArguments, *rest: Any, **options: Any) -> None:
        if self.training_bar is not None:
            super().on_step_end(args, *rest, **options)

    def on_prediction_step(self, args: TrainingArguments, *rest: Any, **options: Any) -> None:
        if not args.disable_tqdm:
            super().on_prediction_step(args, *rest, **options)

    def on_train_end(self, *rest: Any, **options: Any) -> None:
        if self.training_bar is not None:
            super().on_train_end(*rest, **options)

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, float] | None = None,
        **options: Any,
    ) -> None:
        logs = logs or {}
        if "loss" in logs:
            self.losses.append(logs["loss"])
            if self.training_bar is not None:
                self.training_bar.set_postfix_str(f"loss {logs['loss']:.3f}")
        if "eval_loss" not in logs or not state.is_world_process_zero:
            return
        trained = f"training loss {sum(self.losses) / len(self.losses):.3f}, " if self.losses else ""
        self.losses = []
        shown = {name: logs.get(f"eval_{name}") for name in SHOWN}
        metrics = ", ".join(f"{name} {value:.3f}" for name, value in shown.items() if value is not None)
        line = f"epoch {logs['epoch']:g} of {args.num_train_epochs:g}: {trained}validation {metrics}"
        print(line) if self.training_bar is None else self.training_bar.write(line)


class AnnounceEpoch(TrainerCallback):
    """Tells the training images which epoch begins, for their augmentation.

    accelerate's data loader would, but not when a run resumes in the middle of an epoch.
    """

    def on_epoch_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **options: Any
    ) -> None:
        images = options["train_dataloader"].dataset
        if isinstance(images, LesionImages):
            images.set_epoch(int(state.epoch))


class Clock(TrainerCallback):
    """Adds the seconds of training so far to every log entry, those before an interruption included."""

    def __init__(self) -> None:
        self.started = time.monotonic()

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **options: Any
    ) -> None:
        self.started = time.monotonic() - (state.log_history[-1].get("seconds", 0) if state.log_history else 0)

    def on_log(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **options: Any) -> None:
        state.log_history[-1]["seconds"] = time.monotonic() - self.started


class Continued(TrainerCallback):
    """Makes sure that a training goes on from its checkpoint, and that it can load its best one at the end.

    The checkpoint names its best one by the path that the run had then. The Trainer would drop one that lies elsewhere
    by now, and end with the last weights.
    """

    def __init__(self, checkpoint: Path) -> None:
        self.checkpoint = checkpoint

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **options: Any
    ) -> None:
        if state.global_step > state.max_steps:
            raise InputError(
                f"{self.checkpoint} has {state.global_step} steps behind it; this training has {state.max_steps} in "
                "all. Repeat the options that it was made with, or give it as --model to start a new run"
            )
        best = best_of(self.checkpoint)
        state.best_model_checkpoint = str(best) if best else None
