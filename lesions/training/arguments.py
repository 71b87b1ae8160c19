"""This project's defaults for the options of transformers."""

from __future__ import annotations

import sys
from dataclasses import dataclass

import torch
from transformers import TrainingArguments

from lesions.cpu import fast_bfloat16


@dataclass
class LesionTrainingArguments(TrainingArguments):
    """transformers' TrainingArguments with the defaults of this project."""

    num_train_epochs: float = 20
    per_device_train_batch_size: int = 32
    per_device_eval_batch_size: int = 64 if torch.accelerator.is_available() else 16  # what a CPU's cache holds
    learning_rate: float = 1e-4
    weight_decay: float = 0.05
    lr_scheduler_type: str = "cosine"
    warmup_steps: float = 0.05  # below 1: a share of all steps
    eval_strategy: str = "epoch"
    save_strategy: str = "epoch"
    save_total_limit: int | None = 2  # the best and the last
    load_best_model_at_end: bool = True
    metric_for_best_model: str | None = "balanced_accuracy"
    logging_steps: float = 20
    # The Trainer would drop the image column, since no model takes an argument called `image`.
    remove_unused_columns: bool = False
    # The two-token DeiT takes no `labels`, so the Trainer can't read their name off its signature.
    label_names: list[str] | None = None
    bf16: bool = fast_bfloat16()
    use_cpu: bool = not torch.accelerator.is_available()  # otherwise transformers refuses bf16 on a CPU
    dataloader_pin_memory: bool = torch.cuda.is_available()  # otherwise torch warns that no memory can be pinned
    seed: int = 42

    def __post_init__(self) -> None:
        self.bf16 = self.bf16 and not self.fp16
        self.label_names = self.label_names or ["labels"]
        if not self.load_best_model_at_end:
            self.metric_for_best_model = None  # otherwise the Trainer would still look for a best one
        if sys.platform == "linux" and self.dataloader_num_workers and not self.dataloader_multiprocessing_context:
            self.dataloader_multiprocessing_context = "fork"  # workers share the kept images: see LesionImages
        super().__post_init__()
