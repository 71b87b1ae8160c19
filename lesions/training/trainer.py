"""The Trainer with class-weighted cross-entropy, and its defaults."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from torch import nn
from torch.nn.functional import one_hot
from transformers import (
    EvalPrediction,
    PrinterCallback,
    ProgressCallback,
    Trainer,
)

from lesions.faults import InputError
from lesions.metrics.scores import headline
from lesions.training.augmentation import mix
from lesions.training.callbacks import AnnounceEpoch, Clock, EpochProgress
from lesions.training.checkpoints import last_whole_checkpoint
from lesions.training.distillation import Distillation
from lesions.training.layer_decay import parameter_groups


class WeightedTrainer(Trainer):
    """A Trainer whose loss is class-weighted cross-entropy, exact however the batch is cut.

    The loss of a batch is sum(w[y] * CE) / sum(w[y]) over all its images, through gradient accumulation and over
    all processes: the mean of the parts' own means would differ wherever the parts differ in classes.
    A model with two heads (DeiT with its distillation token) is trained on the mean of both heads' losses.
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
        self.add_callback(AnnounceEpoch())
        self.add_callback(Clock())
        self.remove_callback(PrinterCallback if self.args.disable_tqdm else ProgressCallback)
        self.add_callback(EpochProgress())

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
        """One micro-batch forward and backward. Raises InputError where the loss is no finite number."""
        loss = super().training_step(model, inputs, *args, **options)
        if not torch.isfinite(loss):
            self._give_up(loss.item(), inputs)
        return loss

    def _give_up(self, loss: float, inputs: dict[str, torch.Tensor]) -> None:
        images = self.train_dataset.rows["image_id"]
        names = ", ".join(images[row] for row in inputs["rows"].tolist())
        checkpoint = last_whole_checkpoint(Path(self.args.output_dir))
        raise InputError(
            f"the loss of step {self.state.global_step + 1} is {loss}, so the training was stopped before it.\n"
            f"the batch's images: {names}\n"
            f"the last good checkpoint: {checkpoint or 'none yet'}\n"
            "usual causes: a learning rate too high (try half), or float16 (try --fp16 false --bf16)"
        )

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
            pixels, targets = mix(pixels, targets, self.mixing, self._draws(inputs))
        # Images smaller than the model's own make it interpolate the positions of its patches.
        resized = pixels.shape[-1] != getattr(self.model.config, "image_size", pixels.shape[-1])
        outputs = model(pixel_values=pixels, **({"interpolate_pos_encoding": True} if resized else {}))
        weighted_sum = self._weighted_sum(outputs, pixels, targets, model.training)
        if model.training:
            # Data-parallel gradients are averaged over the processes, and the normalizer spans them all.
            loss = weighted_sum * self.accelerator.num_processes / num_items_in_batch
        else:
            loss = weighted_sum / weights.sum()
        return (loss, {"logits": outputs["logits"]}) if return_outputs else loss

    def _weighted_sum(self, outputs: Any, pixels: torch.Tensor, targets: torch.Tensor, training: bool) -> torch.Tensor:
        """The batch's loss, summed over images; `targets` (batch, classes) hold each one's weight on its class."""
        smoothing = self.args.label_smoothing_factor if training else 0.0
        weights = targets.sum(-1, keepdim=True)
        smooth = (1 - smoothing) * targets + smoothing * weights / targets.shape[-1]

        def on_labels(logits: torch.Tensor) -> torch.Tensor:
            return -(smooth * logits.float().log_softmax(-1)).sum()

        if "cls_logits" not in outputs:
            return on_labels(outputs["logits"])
        class_token, distillation_token = outputs["cls_logits"], outputs["distillation_logits"]
        if not (training and self.teacher and self.distillation):
            return (on_labels(class_token) + on_labels(distillation_token)) / 2
        with self.accelerator.autocast():  # accelerate wraps the trained model in it, and nothing else
            answers = self.teacher(pixels)
        taught = self.distillation.loss(distillation_token.float(), answers)
        alpha = self.distillation.alpha
        return (1 - alpha) * on_labels(class_token) + alpha * (weights[:, 0] * taught).sum()

    def _draws(self, inputs: dict[str, torch.Tensor]) -> np.random.Generator:
        """What a micro-batch draws depends on the seed, the step and its images alone, so a resume draws alike."""
        return np.random.default_rng((self.args.seed, self.state.global_step, *inputs["rows"].tolist()))

    def prediction_step(self, model: nn.Module, *args: Any, **options: Any) -> tuple:
        """Evaluates in float32, as `pipeline()` and evaluate_model.py do, whatever the training computes in."""
        with _without_autocast(model):
            return super().prediction_step(model, *args, **options)

    def _save_checkpoint(self, model: nn.Module, trial: Any) -> None:
        """Saves a checkpoint, and the best model so far at the top of the run folder: a whole model at any time."""
        with _writing(Path(self.args.output_dir)):
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

    def leave(self) -> None:
        """Ends trackers and takes this process out of its group: to be called by every process, before it ends.

        A thread of gloo may still wait for Python's lock, to drop the tensors of the last collective. A process that
        ends meanwhile is aborted, and one that destroys its group waits for ever. A moment's sleep frees the lock.
        """
        self.accelerator.wait_for_everyone()
        if self.accelerator.num_processes > 1:
            time.sleep(0.2)
        self.accelerator.end_training()

    def create_model_card(self, *args: Any, **options: Any) -> None:
        """Writes nothing: the card is written by `model_card`, from what was measured."""


@contextmanager
def _writing(run: Path) -> Iterator[None]:
    """Turns what torch and safetensors raise on a full disk into InputError; they don't raise OSError."""
    try:
        yield
    except (RuntimeError, SafetensorError) as error:
        if not re.search("inline_container|PytorchStreamWriter|I/O error", str(error)):
            raise
        raise InputError(
            f"a checkpoint could not be written to {run}: {str(error).splitlines()[0]}\n"
            f"the last whole one: {last_whole_checkpoint(run) or 'none yet'}\n"
            "make room and run the same command again: it goes on from there"
        ) from error


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
    return headline(np.asarray(predictions.predictions), np.asarray(predictions.label_ids))
