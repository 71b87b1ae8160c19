"""The Trainer with class-weighted cross-entropy."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn.functional import one_hot
from torch.utils.data import DataLoader
from transformers import EvalPrediction, PrinterCallback, ProgressCallback

from lesions.faults import InputError
from lesions.metrics.scores import headline
from lesions.model.resolution import size_options
from lesions.training.augmentation import mix
from lesions.training.callbacks import AnnounceEpoch, Clock, EpochProgress
from lesions.training.distillation import Distillation
from lesions.training.layer_decay import parameter_groups
from lesions.training.loss import weighted_sum
from lesions.training.saved.checkpoints import last_whole_checkpoint
from lesions.training.saved.saving import WholeSavingTrainer
from lesions.training.workers import with_quiet_workers

TOO_FAST = "usual causes: the learning rate is too high (try half), or float16 (try --fp16 false --bf16)"


class WeightedTrainer(WholeSavingTrainer):
    """A Trainer whose loss is class-weighted cross-entropy, exact however the batch is cut.

    The loss of a batch is sum(w[y] * CE) / sum(w[y]) over all its images, through gradient accumulation and over
    all processes. A mean of the parts' own means would differ, since the parts hold different classes.
    """

    optimizer: torch.optim.Optimizer | None

    # compute_loss normalizes over the whole accumulated batch; the Trainer must not divide again.
    loss_is_scaled_for_ga = True

    def __init__(
        self,
        *args: Any,
        class_weights: list[float],
        layer_decay: float = 1.0,
        mixing: float = 0.0,
        teacher: nn.Module | None = None,
        distillation: Distillation | None = None,
        **options: Any,
    ) -> None:
        super().__init__(*args, **options)
        self.class_weights = torch.tensor(class_weights, device=self.args.device)
        self.layer_decay, self.mixing, self.distillation = layer_decay, mixing, distillation
        self.teacher = teacher.to(self.args.device) if teacher else None
        self.remove_callback(PrinterCallback if self.args.disable_tqdm else ProgressCallback)
        for callback in (AnnounceEpoch(), Clock(), EpochProgress()):
            self.add_callback(callback)

    def get_train_dataloader(self) -> DataLoader:
        return with_quiet_workers(super().get_train_dataloader())

    def get_eval_dataloader(self, *args: Any, **options: Any) -> DataLoader:
        return with_quiet_workers(super().get_eval_dataloader(*args, **options))

    def create_optimizer(self, model: nn.Module | None = None) -> torch.optim.Optimizer:
        """The optimizer that the options name, with a learning rate for each layer."""
        if self.optimizer is None:
            model = self.model if model is None else model
            kind, options = self.get_optimizer_cls_and_kwargs(self.args, model)
            groups = parameter_groups(model, self.args.learning_rate, self.layer_decay, self.args.weight_decay)
            self.optimizer = kind(groups, **options)
        return super().create_optimizer(model)

    def get_batch_samples(
        self, epoch_iterator: Iterator, num_batches: int, device: torch.device
    ) -> tuple[list, torch.Tensor]:
        """The micro-batches of one optimizer step, and the sum of their class weights over all processes."""
        batches, _ = super().get_batch_samples(epoch_iterator, num_batches, device)
        labels = [batch["labels"].to(self.class_weights.device) for batch in batches]
        total = sum((self.class_weights[part].sum() for part in labels), start=torch.zeros((), device=device))
        return batches, self.accelerator.gather(total).sum()

    def training_step(self, model: nn.Module, inputs: dict[str, torch.Tensor], *args: Any, **options: Any) -> Any:
        """One micro-batch forward and backward. Raises InputError unless the loss is a finite number."""
        loss = super().training_step(model, inputs, *args, **options)
        if not torch.isfinite(loss):
            images = self.train_dataset.rows["image_id"]
            raise InputError(
                f"the loss of step {self.state.global_step + 1} is {loss.item()}, so the training stopped before it.\n"
                f"the batch's images: {', '.join(images[row] for row in inputs['rows'].tolist())}\n"
                f"the last good checkpoint: {last_whole_checkpoint(Path(self.args.output_dir)) or 'none yet'}\n"
                f"{TOO_FAST}"
            )
        return loss

    def compute_loss(
        self,
        model: nn.Module,
        inputs: dict[str, torch.Tensor],
        return_outputs: bool = False,
        num_items_in_batch: torch.Tensor | None = None,
    ) -> torch.Tensor | tuple[torch.Tensor, Any]:
        """The weighted loss; `num_items_in_batch` is the sum of class weights that `get_batch_samples` gave."""
        pixels, labels = inputs["pixel_values"], inputs["labels"]
        weights = self.class_weights[labels]
        targets = one_hot(labels, len(self.class_weights)) * weights[:, None]
        if model.training and self.mixing:
            pixels, targets = mix(pixels, targets, self.mixing, self._random(inputs))
        outputs = model(pixel_values=pixels, **size_options(self.model, pixels.shape[-1]))
        if model.training:
            answers = self._ask_teacher(pixels) if "cls_logits" in outputs else None
            loss = weighted_sum(outputs, targets, self.args.label_smoothing_factor, self.distillation, answers)
            # Data-parallel gradients are averaged over the processes, and the normalizer spans them all.
            loss = loss * self.accelerator.num_processes / num_items_in_batch
        else:
            loss = weighted_sum(outputs, targets) / weights.sum()
        return (loss, {"logits": outputs["logits"]}) if return_outputs else loss

    def _ask_teacher(self, pixels: torch.Tensor) -> torch.Tensor | None:
        with self.accelerator.autocast():  # accelerate wraps only the trained model in it
            return self.teacher(pixels) if self.teacher else None

    def _random(self, inputs: dict[str, torch.Tensor]) -> np.random.Generator:
        """Depends on the seed, the step and the images of the micro-batch alone, so a resumed run mixes alike."""
        return np.random.default_rng((self.args.seed, self.state.global_step, *inputs["rows"].tolist()))

    def prediction_step(self, model: nn.Module, *args: Any, **options: Any) -> tuple:
        """Evaluates in float32, as `pipeline()` and evaluate_model.py do, whatever the training computes in."""
        with _without_autocast(model):
            return super().prediction_step(model, *args, **options)

    def leave(self) -> None:
        """Ends trackers and takes this process out of its group. Every process must call it before it ends.

        A thread of gloo may still wait for Python's lock, to drop the tensors of the last collective. A process that
        ends meanwhile is aborted, and one that destroys its group waits for ever. A moment's sleep frees the lock.
        """
        self.accelerator.wait_for_everyone()
        if self.accelerator.num_processes > 1:
            time.sleep(0.2)
        self.accelerator.end_training()


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
    """The headline metrics of the validation split, for the Trainer to log and to choose the best checkpoint by.

    Raises InputError for a model whose answers are no longer finite numbers, though its last loss was one."""
    logits = np.asarray(predictions.predictions)
    if not np.isfinite(logits).all():
        raise InputError(f"the model's answers to the validation images are not finite numbers.\n{TOO_FAST}")
    return headline(logits, np.asarray(predictions.label_ids))
