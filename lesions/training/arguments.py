"""This project's defaults for the options of transformers."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass, field
from typing import Any

import torch
from transformers import TrainingArguments

from lesions.cpu import fast_bfloat16
from lesions.metrics.names import METRICS

# Of transformers' names for what a training computes in.
PRECISIONS = {"no": "float32", "bf16": "bfloat16 autocast", "fp16": "float16 autocast"}
WATCHING = ("reduce_lr_on_plateau", "greedy")  # schedules that follow --metric_for_best_model


@dataclass
class LesionTrainingArguments(TrainingArguments):
    """transformers' TrainingArguments with the defaults of this project."""

    num_train_epochs: float = 20
    per_device_train_batch_size: int = 32
    per_device_eval_batch_size: int = 64 if torch.accelerator.is_available() else 16  # what a CPU's cache holds
    learning_rate: float = 1e-4
    weight_decay: float = 0.05
    lr_scheduler_type: str = "cosine"
    lr_scheduler_kwargs: dict[str, Any] | str | None = None
    warmup_steps: float = 0.05  # below 1: a share of all steps
    eval_strategy: str = "epoch"
    save_strategy: str = "epoch"
    save_total_limit: int | None = 2  # the best and the last
    load_best_model_at_end: bool = True
    metric_for_best_model: str | None = "balanced_accuracy"
    greater_is_better: bool | None = None
    logging_steps: float = 20
    # The Trainer would drop the image column, since no model takes an argument called `image`.
    remove_unused_columns: bool = False
    # The two-token DeiT takes no `labels`, so the Trainer can't read their name off its signature.
    label_names: list[str] | None = None
    # None: as `accelerate launch` says, or bfloat16 on a machine that is fast in it. The flag may stand alone.
    bf16: bool | None = field(default=None, metadata={"nargs": "?", "const": True})
    fp16: bool = False
    tf32: bool | None = field(default=None, metadata={"nargs": "?", "const": True})
    use_cpu: bool = not torch.accelerator.is_available()  # otherwise transformers refuses bf16 on a CPU
    dataloader_multiprocessing_context: str | None = None
    dataloader_pin_memory: bool = torch.cuda.is_available()  # otherwise torch warns that no memory can be pinned
    seed: int = 42

    def __post_init__(self) -> None:
        self._choose_precision(os.environ.get("ACCELERATE_MIXED_PRECISION", "no"))
        compiler = os.environ.get("ACCELERATE_DYNAMO_BACKEND", "NO")
        if compiler != "NO" and not self.torch_compile:  # it would compile, and the record would not say so
            raise ValueError(
                f"accelerate launch chose the compiler {compiler.lower()}; give --torch_compile_backend to train.py "
                "instead"
            )
        self.label_names = self.label_names or ["labels"]
        watching = self.lr_scheduler_type in WATCHING
        if not self.load_best_model_at_end and not watching:
            if self.metric_for_best_model not in (None, type(self).metric_for_best_model):
                raise ValueError("--metric_for_best_model chooses nothing without --load_best_model_at_end true")
            self.metric_for_best_model = None  # otherwise the Trainer would still look for a best one
        self._choose_direction((self.metric_for_best_model or "").removeprefix("eval_"))
        if sys.platform == "linux" and self.dataloader_num_workers and not self.dataloader_multiprocessing_context:
            self.dataloader_multiprocessing_context = "fork"  # workers share the kept images: see LesionImages
        if self.torch_compile and self.tf32 is None:
            self.tf32 = False  # otherwise transformers would turn it on, for evaluations too
        super().__post_init__()
        if watching:  # to transformers, the metric is always one that should become smaller
            mode = "max" if self.greater_is_better else "min"
            given = self.lr_scheduler_kwargs if isinstance(self.lr_scheduler_kwargs, dict) else {}
            self.lr_scheduler_kwargs = {"mode": mode, **given}

    def _choose_direction(self, metric: str) -> None:
        """Sets greater_is_better, which the Trainer knows of losses alone. Raises ValueError if it is given wrongly."""
        if metric not in {"loss", *METRICS}:
            return
        better = "lower" if metric == "loss" else METRICS[metric].better
        if self.greater_is_better not in (None, better == "higher"):
            raise ValueError(
                f"--greater_is_better {self.greater_is_better}: a {better} {metric} is better; leave it out"
            )
        self.greater_is_better = better == "higher"

    def _choose_precision(self, launched: str) -> None:
        """Sets bf16 and fp16; `launched` is what `accelerate launch`, or its config file, has chosen.

        It says `no` if nobody chose. Raises ValueError for another choice than the options'.
        """
        if launched not in PRECISIONS:
            raise ValueError(
                f"accelerate launch chose {launched}, which train.py does not know; choose no, bf16 or fp16"
            )
        if launched != "no" and (self.fp16 or self.bf16 is not None):
            own = "fp16" if self.fp16 else "bf16" if self.bf16 else "no"
            if own != launched:
                raise ValueError(
                    f"accelerate launch chose the precision {launched}, the options or the recipe {own}; leave out one"
                )
        if self.bf16 is None:
            self.bf16 = launched == "bf16" or (launched == "no" and not self.fp16 and fast_bfloat16())
        self.fp16 = self.fp16 or launched == "fp16"
        if self.fp16 and self.use_cpu:
            raise ValueError("float16 needs a GPU; on a CPU, train in float32 or with --bf16")
