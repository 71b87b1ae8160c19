"""The Trainer with class-weighted cross-entropy, and its defaults."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn.functional import cross_entropy
from transformers import EvalPrediction, Trainer, TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from lesions.metrics import HEADLINE, LesionMetrics, softmax
from lesions.pictures import LesionPictures


def fast_bfloat16() -> bool:
    """Whether this machine computes faster in bfloat16: a GPU since Ampere, or a CPU with AMX tiles.

    AVX-512-BF16 alone does not count: DeiT-tiny trained at 14 pictures a second with it and at 22 without.
    """
    if torch.cuda.is_available():
        return torch.cuda.is_bf16_supported(including_emulation=False)
    return torch.cpu._is_amx_tile_supported()


@dataclass
class LesionTrainingArguments(TrainingArguments):
    """transformers' TrainingArguments with the defaults of this project."""

    num_train_epochs: float = 20
    per_device_train_batch_size: int = 32
    per_device_eval_batch_size: int = 64
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
    # The Trainer would drop the picture column, since no model takes an argument called `image`.
    remove_unused_columns: bool = False
    # The two-token DeiT takes no `labels`, so the Trainer can't read their name off its signature.
    label_names: list[str] | None = None
    bf16: bool = fast_bfloat16()
    dataloader_pin_memory: bool = torch.cuda.is_available()  # else torch warns that there is nothing to pin for
    seed: int = 42

    def __post_init__(self) -> None:
        self.bf16 = self.bf16 and not self.fp16
        self.label_names = self.label_names or ["labels"]
        super().__post_init__()


class AnnounceEpoch(TrainerCallback):
    """Tells the training pictures which epoch begins, for their augmentation.

    accelerate's data loader would, but not in an epoch that is resumed in its middle.
    """

    def on_epoch_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **options: Any
    ) -> None:
        pictures = options["train_dataloader"].dataset
        if isinstance(pictures, LesionPictures):
            pictures.set_epoch(int(state.epoch))


class WeightedTrainer(Trainer):
    """A Trainer whose loss is class-weighted cross-entropy, exact however the batch is cut.

    The loss of a batch is sum(w[y] * CE) / sum(w[y]) over all its pictures, through gradient accumulation and over
    all processes: the mean of the parts' own means would differ wherever the parts differ in classes.
    A model with two heads (DeiT with its distillation token) is trained on the mean of both heads' losses.
    """

    # compute_loss normalises over the whole accumulated batch; the Trainer must not divide again.
    loss_is_scaled_for_ga = True

    def __init__(self, *args: Any, class_weights: list[float], **options: Any) -> None:
        super().__init__(*args, **options)
        self.class_weights = torch.tensor(class_weights, device=self.args.device)
        self.add_callback(AnnounceEpoch())

    def get_batch_samples(
        self, epoch_iterator: Iterator, num_batches: int, device: torch.device
    ) -> tuple[list, torch.Tensor]:
        """The micro-batches of one optimiser step, and the sum of their class weights over all processes."""
        batches, _ = super().get_batch_samples(epoch_iterator, num_batches, device)
        labels = [batch["labels"].to(self.class_weights.device) for batch in batches]
        total = sum((self.class_weights[part].sum() for part in labels), start=torch.zeros((), device=device))
        return batches, self.accelerator.gather(total).sum()

    def compute_loss(
        self,
        model: nn.Module,
        inputs: dict[str, torch.Tensor],
        return_outputs: bool = False,
        num_items_in_batch: torch.Tensor | None = None,
    ) -> torch.Tensor | tuple[torch.Tensor, Any]:
        """The weighted loss; `num_items_in_batch` is the sum of class weights that `get_batch_samples` gave."""
        labels = inputs["labels"]
        outputs = model(pixel_values=inputs["pixel_values"])
        heads = [outputs[name] for name in ("cls_logits", "distillation_logits") if name in outputs]
        losses = [
            cross_entropy(logits.float(), labels, reduction="none", label_smoothing=self.args.label_smoothing_factor)
            for logits in heads or [outputs["logits"]]
        ]
        weights = self.class_weights[labels]
        weighted_sum = (weights * torch.stack(losses).mean(0)).sum()
        if model.training:
            # Data-parallel gradients are averaged over the processes, and the normaliser spans them all.
            loss = weighted_sum * self.accelerator.num_processes / num_items_in_batch
        else:
            loss = weighted_sum / weights.sum()
        return (loss, {"logits": outputs["logits"]}) if return_outputs else loss

    def prediction_step(self, model: nn.Module, *args: Any, **options: Any) -> tuple:
        """Evaluates in float32, as `pipeline()` and evaluate_model.py do, whatever the training computes in."""
        with _without_autocast(model):
            return super().prediction_step(model, *args, **options)

    def _save_checkpoint(self, model: nn.Module, trial: Any) -> None:
        """Saves a checkpoint, and the best model so far at the top of the run folder: a whole model at any time."""
        super()._save_checkpoint(model, trial)
        if self.state.best_global_step in (None, self.state.global_step):
            self.save_model(_internal_call=True)

    def _save(self, output_dir: str | None = None, state_dict: dict | None = None) -> None:
        """Saves the model so that each file appears whole, and without training_args.bin, which is a pickle."""
        folder = Path(output_dir or self.args.output_dir)
        partial = folder / ".partial"
        super()._save(str(partial), state_dict)
        if self.args.should_save:
            (partial / "training_args.bin").unlink()
            for file in partial.iterdir():
                file.replace(folder / file.name)
            partial.rmdir()

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: nn.Module | None = None) -> None:
        if self.is_fsdp_enabled or self.is_deepspeed_enabled:
            super()._load_from_checkpoint(resume_from_checkpoint, model)
        else:
            self._load_weights(resume_from_checkpoint)

    def _load_best_model(self) -> None:
        if self.is_fsdp_enabled or self.is_deepspeed_enabled:
            super()._load_best_model()
        else:
            self._load_weights(self.state.best_model_checkpoint)

    def _load_weights(self, folder: str) -> None:
        """Loads a checkpoint's weights, every one of them.

        transformers 5.23 saves DeiT and ViT under the names of their published checkpoints and renames them on
        `from_pretrained`, but its Trainer reads the file as it is, not strictly: it would resume, or end, with the
        heads of the checkpoint on a backbone that is not the checkpoint's, and only warn.
        """
        saved = type(self.model).from_pretrained(folder, dtype=torch.float32, use_safetensors=True)
        self.model.load_state_dict(saved.state_dict())

    def create_model_card(self, *args: Any, **options: Any) -> None:
        """Writes nothing: the card is written by `model_card`, from what was measured."""


@contextmanager
def _without_autocast(model: nn.Module) -> Iterator[None]:
    # accelerate puts autocast around `forward` by setting it on the instance, over the method of the class.
    forward = model.__dict__.pop("forward", None)
    try:
        yield
    finally:
        if forward is not None:
            model.forward = forward


def compute_metrics(predictions: EvalPrediction) -> dict[str, float]:
    """The headline metrics of the validation split, for the Trainer to log and to choose the best checkpoint by."""
    probabilities = softmax(np.asarray(predictions.predictions))
    measured = LesionMetrics().compute(predictions=probabilities, references=predictions.label_ids)
    return {name: measured[name] for name in HEADLINE}
