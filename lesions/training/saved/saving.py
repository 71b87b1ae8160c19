"""A Trainer whose run folder holds a whole model at any time, and which loads every weight or none."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from torch import nn
from transformers import Trainer, TrainerState

from lesions.faults import InputError
from lesions.training.callbacks import Continued
from lesions.training.saved.checkpoints import STATE, best_of, last_whole_checkpoint


class WholeSavingTrainer(Trainer):
    """A Trainer that saves whole files without pickles, and keeps the best model so far on top of the run folder."""

    def resume(self, checkpoint: str | None) -> None:
        """Trains, from `checkpoint` on if there is one.

        A run that was killed after its last step only loads what it ends with: the Trainer would take one step more.
        """
        if checkpoint is None:
            self.train()
            return
        state, best = TrainerState.load_from_json(str(Path(checkpoint, STATE))), best_of(Path(checkpoint))
        asked = (
            (self.args.max_steps, state.max_steps)
            if self.args.max_steps > 0
            else (math.ceil(self.args.num_train_epochs), state.num_train_epochs)
        )
        if state.global_step < state.max_steps or len(set(asked)) > 1 or self._is_sharded:
            self.add_callback(Continued(Path(checkpoint)))
            self.train(resume_from_checkpoint=checkpoint)
        else:
            self.state = state
            self._load_weights(str(best or checkpoint))

    @property
    def _is_sharded(self) -> bool:
        return self.is_fsdp_enabled or self.is_deepspeed_enabled

    def _save_checkpoint(self, model: nn.Module, trial: Any) -> None:
        """Saves a checkpoint, and on top of the run folder the best model so far; the last one, if none is chosen."""
        with _writing(Path(self.args.output_dir)):
            super()._save_checkpoint(model, trial)
            if not self.args.load_best_model_at_end or self.state.best_global_step in (None, self.state.global_step):
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
        if self._is_sharded:
            super()._load_from_checkpoint(resume_from_checkpoint, model)
        else:
            self._load_weights(resume_from_checkpoint)

    def _load_best_model(self) -> None:
        if self._is_sharded:
            super()._load_best_model()
        else:
            self._load_weights(self.state.best_model_checkpoint)

    def _load_weights(self, folder: str) -> None:
        """Loads every weight of a checkpoint.

        transformers 5.23 saves DeiT and ViT under the names of their published checkpoints and renames them on
        `from_pretrained`. Its Trainer reads the file as it is, and not strictly: it would put the checkpoint's heads
        on a backbone of other weights, and only warn.
        """
        try:
            # The running model's own config: that in the folder may be of another model.
            saved, report = type(self.model).from_pretrained(
                folder, config=self.model.config, dtype=torch.float32, use_safetensors=True, output_loading_info=True
            )
        except RuntimeError as error:  # sizes that differ
            raise InputError(f"the weights in {folder} are of another model: {error}") from error
        if report["missing_keys"]:
            raise InputError(f"{folder} lacks weights of this model: {sorted(report['missing_keys'])[:5]}")
        self.model.load_state_dict(saved.state_dict())

    def create_model_card(self, *args: Any, **options: Any) -> None:
        """Writes nothing: `model_card` writes the card, from what was measured."""


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
            "free some disk space and run the same command again: it continues from that checkpoint"
        ) from error
