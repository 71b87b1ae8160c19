"""One optimizer step over 16 images, cut as told; writes the gradient. Called, or run under torchrun.

python tests/training/gradient_worker.py OUTPUT.safetensors PER_DEVICE_BATCH ACCUMULATION
"""

from __future__ import annotations

import sys
from pathlib import Path
from tempfile import mkdtemp

import torch
from safetensors.torch import save_file
from transformers import DeiTConfig, DeiTForImageClassificationWithTeacher, TrainerCallback

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

from lesions.model.inputs import collate  # noqa: E402
from lesions.training.arguments import LesionTrainingArguments  # noqa: E402
from lesions.training.trainer import WeightedTrainer  # noqa: E402

# Unequal, so that the parts of a batch hold unequal mixes of classes however the sampler shuffles them.
LABELS = [0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 2, 2, 2, 2, 2, 1]


class KeepGradient(TrainerCallback):
    def __init__(self, path: str) -> None:
        self.path = path

    def on_pre_optimizer_step(self, args, state, control, model=None, **_):
        if state.is_world_process_zero:
            save_file({name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}, self.path)


def save_gradient(output: str, batch: int, accumulation: int) -> None:
    torch.manual_seed(0)
    config = DeiTConfig(
        image_size=32, patch_size=16, hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=64
    )
    config.id2label = {0: "a", 1: "b", 2: "c"}
    model = DeiTForImageClassificationWithTeacher(config)
    for token in (model.deit.embeddings.cls_token, model.deit.embeddings.distillation_token):
        torch.nn.init.normal_(token)  # they start at zero, where LayerNorm makes gradients of 1e4
    images = torch.randn(len(LABELS), 3, 32, 32)
    trainer = WeightedTrainer(
        model=model,
        args=LesionTrainingArguments(
            output_dir=mkdtemp(),
            per_device_train_batch_size=batch,
            gradient_accumulation_steps=accumulation,
            max_steps=1,
            max_grad_norm=0,
            bf16=False,
            eval_strategy="no",
            save_strategy="no",
            load_best_model_at_end=False,
            use_cpu=True,
            disable_tqdm=True,
        ),
        class_weights=[0.2, 1.0, 5.0],
        train_dataset=[{"pixel_values": images[i], "labels": LABELS[i], "rows": i} for i in range(len(LABELS))],
        data_collator=collate,
        callbacks=[KeepGradient(output)],
    )
    trainer.train()
    trainer.leave()


if __name__ == "__main__":
    save_gradient(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
