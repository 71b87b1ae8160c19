"""The Trainer: exact gradients however the batch is cut, exact resume, the best checkpoint, float32 evaluation."""

from __future__ import annotations

import json
import pickle
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import gradient_worker
import numpy as np
import pytest
import torch
from conftest import ROOT
from in_process import in_process
from safetensors.torch import load_file
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader
from transformers import TrainerControl, TrainerState

from lesions.faults import InputError, without_worker
from lesions.model.inputs import LesionImages, collate
from lesions.model.loading import load_for_training, load_processor
from lesions.training.arguments import PRECISIONS, LesionTrainingArguments
from lesions.training.augmentation import Augmentation
from lesions.training.callbacks import EpochProgress
from lesions.training.class_weights import class_weights, count_labels
from lesions.training.saved.record import describe_training
from lesions.training.trainer import WeightedTrainer, compute_metrics

DEMO = ROOT / "recipes" / "demo-deit"


def gradient(path: Path, *, processes: int, batch: int, accumulation: int) -> dict[str, torch.Tensor]:
    if processes == 1:
        gradient_worker.save_gradient(str(path), batch, accumulation)
        return load_file(path)
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc_per_node={processes}"]
    worker = [gradient_worker.__file__, str(path), str(batch), str(accumulation)]
    done = subprocess.run([*launcher, *worker], text=True, capture_output=True)
    assert done.returncode == 0, done.stderr
    return load_file(path)


@pytest.fixture(scope="module")
def whole_batch(tmp_path_factory: pytest.TempPathFactory) -> dict[str, torch.Tensor]:
    return gradient(tmp_path_factory.mktemp("gradient") / "g", processes=1, batch=16, accumulation=1)


@pytest.mark.parametrize(("processes", "batch", "accumulation"), [(1, 4, 4), (2, 8, 1), (2, 2, 4)])
def test_the_gradient_does_not_depend_on_how_the_batch_is_cut(
    whole_batch: dict[str, torch.Tensor], tmp_path: Path, processes: int, batch: int, accumulation: int
) -> None:
    parts = gradient(tmp_path / "g", processes=processes, batch=batch, accumulation=accumulation)
    assert parts.keys() == whole_batch.keys()
    largest = max(tensor.abs().max().item() for tensor in whole_batch.values())
    assert largest > 1e-2
    for name, tensor in whole_batch.items():
        assert (parts[name] - tensor).abs().max() < 1e-5, name


def small_trainer(output: Path, rows, own: dict[str, Any] | None = None, **options) -> WeightedTrainer:
    """A Trainer on 64 images, in its first epoch at 48 pixels; `own` are options of WeightedTrainer itself."""
    torch.manual_seed(0)
    labels = ["akiec", "bcc", "bkl", "df", "mel", "nv", "vasc"]
    processor = load_processor(DEMO)
    defaults = {"per_device_train_batch_size": 16, "learning_rate": 1e-3, "disable_tqdm": True, "use_cpu": True}
    return WeightedTrainer(
        model=load_for_training(DEMO, labels, from_scratch=True, new_head=False),
        args=LesionTrainingArguments(output_dir=str(output), **(defaults | {"bf16": False} | options)),
        class_weights=[1.0, 2.0, 0.5, 1.0, 1.0, 0.3, 1.0],
        train_dataset=LesionImages(rows["train"].select(range(64)), processor, Augmentation(1, 48, 1), keep=True),
        eval_dataset=LesionImages(rows["validation"], processor),
        data_collator=collate,
        processing_class=processor,
        compute_metrics=compute_metrics,
        **(own or {}),
    )


@pytest.fixture(scope="module")
def rows(sample: Path):
    from datasets import load_dataset

    return load_dataset(str(sample))


def test_a_resumed_run_ends_with_the_weights_of_one_never_interrupted(tmp_path: Path, rows) -> None:
    options = {"num_train_epochs": 3, "save_strategy": "steps", "save_steps": 2, "eval_strategy": "no"}
    options |= {"load_best_model_at_end": False, "save_total_limit": None}
    own = {"mixing": 0.7, "layer_decay": 0.8}
    whole = small_trainer(tmp_path / "run", rows, own, **options)
    whole.train()
    for step in (2, 6):  # the middle of the first epoch, of smaller images, and of the second
        resumed = small_trainer(tmp_path / "run", rows, own, **options)
        resumed.train(resume_from_checkpoint=str(tmp_path / "run" / f"checkpoint-{step}"))
        for name, tensor in whole.model.state_dict().items():
            assert torch.equal(tensor, resumed.model.state_dict()[name]), (step, name)


def test_a_continued_run_reckons_the_time_left_by_its_own_steps(tmp_path: Path) -> None:
    progress, args = EpochProgress(), LesionTrainingArguments(output_dir=str(tmp_path), use_cpu=True, bf16=False)
    state = TrainerState(global_step=900, max_steps=1000)
    progress.on_train_begin(args, state, TrainerControl())
    state.global_step += 1
    progress.on_step_end(args, state, TrainerControl())
    shown = progress.training_bar.format_dict
    assert shown["n"] == 901 and shown["initial"] == 900 and shown["total"] == 1000


def test_ends_with_the_best_checkpoint_and_the_run_folder_holds_it(tmp_path: Path, rows) -> None:
    trainer = small_trainer(tmp_path, rows, num_train_epochs=3, save_total_limit=None)
    trainer.train()
    best = load_file(Path(trainer.state.best_model_checkpoint) / "model.safetensors")
    at_top = load_file(tmp_path / "model.safetensors")
    assert all(torch.equal(best[name], at_top[name]) for name in best)
    again = trainer.evaluate()
    assert again["eval_balanced_accuracy"] == pytest.approx(trainer.state.best_metric, abs=1e-9)
    assert not list(tmp_path.rglob("training_args.bin")) and not list(tmp_path.rglob(".partial"))


def test_a_schedule_that_watches_a_metric_chooses_no_checkpoint(tmp_path: Path, rows) -> None:
    options = {"num_train_epochs": 3, "lr_scheduler_type": "reduce_lr_on_plateau", "load_best_model_at_end": False}
    options |= {"metric_for_best_model": "log_loss", "save_total_limit": None}
    trainer = small_trainer(tmp_path / "run", rows, **options)
    trainer.train()
    trainer.state.log_history[-1]["seconds"] = 1
    assert trainer.state.best_global_step == 4  # the log loss rises
    about = describe_training(trainer)
    assert about["chosen_by"] is None and about["best"] is None
    last, top = tmp_path / "run" / "checkpoint-12" / "model.safetensors", tmp_path / "run" / "model.safetensors"
    assert top.read_bytes() == last.read_bytes()


def test_the_loss_is_the_weighted_mean_over_both_heads(tmp_path: Path, rows) -> None:
    trainer = small_trainer(tmp_path, rows)
    batch = collate([trainer.eval_dataset[i] for i in range(8)])
    weights, labels = trainer.class_weights, batch["labels"]
    trainer.model.eval()
    loss = trainer.compute_loss(trainer.model, dict(batch))
    outputs = trainer.model(batch["pixel_values"])
    by_hand = [
        cross_entropy(logits, labels, weight=weights) for logits in (outputs.cls_logits, outputs.distillation_logits)
    ]
    assert loss.item() == pytest.approx(sum(by_hand).item() / 2, rel=1e-5)


def test_evaluates_in_float32_while_it_trains_in_bfloat16(tmp_path: Path, rows) -> None:
    trainer = small_trainer(tmp_path, rows, bf16=True, max_steps=1, eval_strategy="no", load_best_model_at_end=False)
    trainer.train()
    batch = collate([trainer.eval_dataset[i] for i in range(4)])
    in_training = trainer.model(batch["pixel_values"]).logits  # through accelerate's autocast
    predicted = torch.tensor(trainer.predict(trainer.eval_dataset).predictions[:4])
    trainer.save_model()
    plain = type(trainer.model).from_pretrained(tmp_path)
    expected = plain.eval()(batch["pixel_values"]).logits
    assert (predicted - expected).abs().max() < 1e-5
    assert (in_training - expected).abs().max() > 1e-4  # else this test shows nothing


def test_augmentation_depends_on_seed_epoch_and_row_alone(rows) -> None:
    processor = load_processor(DEMO)
    first = LesionImages(rows["train"], processor, Augmentation(1))
    second = LesionImages(rows["train"], processor, Augmentation(1))
    assert torch.equal(first[5]["pixel_values"], second[5]["pixel_values"])
    second.set_epoch(1)
    assert not torch.equal(first[5]["pixel_values"], second[5]["pixel_values"])
    assert not torch.equal(first[5]["pixel_values"], LesionImages(rows["train"], processor)[5]["pixel_values"])


@pytest.mark.parametrize("start", ["fork", "spawn", "forkserver"])
def test_workers_that_live_on_learn_the_epoch_and_are_not_sent_the_kept_images(rows, start: str) -> None:
    images = LesionImages(rows["train"].select(range(12)), load_processor(DEMO), Augmentation(1, 48, 1), keep=True)
    assert images.kept is not None and len(pickle.dumps(images)) < images.kept.nbytes / 4
    loader = DataLoader(
        images, 3, num_workers=1, persistent_workers=True, prefetch_factor=2, multiprocessing_context=start,
        collate_fn=collate,
    )  # fmt: skip
    for epoch, side in enumerate((48, 64, 64)):
        images.set_epoch(epoch)
        loaded = torch.cat([batch["pixel_values"] for batch in loader])
        assert loaded.shape == (12, 3, side, side)
        assert all(torch.equal(loaded[row], images[row]["pixel_values"]) for row in range(12))


def test_a_training_does_not_depend_on_its_workers(tmp_path: Path, rows) -> None:
    """Nor on the epoch that they were started in: the second has larger images, drawn otherwise."""
    options = {"num_train_epochs": 2, "eval_strategy": "no", "save_strategy": "no", "load_best_model_at_end": False}
    trainers = [
        small_trainer(tmp_path / str(workers), rows, dataloader_num_workers=workers,
                      dataloader_persistent_workers=workers > 0, **options)
        for workers in (0, 2)
    ]  # fmt: skip
    for trainer in trainers:
        trainer.train()
    one, other = (trainer.model.state_dict() for trainer in trainers)
    assert all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.parametrize(
    ("launched", "options", "computes_in"),
    [
        ("no", {"bf16": False}, "no"),
        ("no", {"bf16": True}, "bf16"),
        ("bf16", {}, "bf16"),
        ("bf16", {"bf16": True}, "bf16"),
        ("bf16", {"bf16": False}, "accelerate launch chose the precision bf16, the options or the recipe no"),
        ("bf16", {"fp16": True}, "accelerate launch chose the precision bf16, the options or the recipe fp16"),
        ("fp16", {"bf16": True}, "accelerate launch chose the precision fp16, the options or the recipe bf16"),
        ("fp16", {}, "float16 needs a GPU"),
        ("fp8", {}, "accelerate launch chose fp8"),
    ],
)
def test_the_precision_is_the_launchers_or_the_options_and_never_both(
    launched: str, options: dict[str, bool], computes_in: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ACCELERATE_MIXED_PRECISION", launched)
    if computes_in in PRECISIONS:
        training = LesionTrainingArguments(output_dir=str(tmp_path), use_cpu=True, **options)
        assert training.mixed_precision == computes_in and training.bf16 == (computes_in == "bf16")
    else:
        with pytest.raises(ValueError, match=computes_in):
            LesionTrainingArguments(output_dir=str(tmp_path), use_cpu=True, **options)


def test_a_compiler_that_the_launcher_chose_is_refused_since_the_record_would_not_tell_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ACCELERATE_DYNAMO_BACKEND", "INDUCTOR")
    with pytest.raises(ValueError, match="accelerate launch chose the compiler inductor; give --torch_compile_backend"):
        LesionTrainingArguments(output_dir=str(tmp_path), use_cpu=True)
    assert LesionTrainingArguments(output_dir=str(tmp_path), use_cpu=True, torch_compile=True).torch_compile
    monkeypatch.setenv("ACCELERATE_DYNAMO_BACKEND", "NO")  # what it says if nobody chose
    assert not LesionTrainingArguments(output_dir=str(tmp_path), use_cpu=True).torch_compile


def test_what_no_classifier_can_learn_is_refused() -> None:
    assert count_labels([0, 1, 1], ["nv", "mel"]) == {"nv": 1, "mel": 2}
    with pytest.raises(InputError, match="holds no image of mel"):
        count_labels([0, 0], ["nv", "mel"])
    with pytest.raises(InputError, match="knows one diagnosis, mel; a classifier needs two"):
        count_labels([0, 0], ["mel"])


def test_class_weights() -> None:
    counts = {"nv": 80, "mel": 20}
    balanced = class_weights("balanced", counts)
    assert balanced == pytest.approx({"nv": 100 / 160, "mel": 100 / 40})  # scikit-learn's n / (k * count)
    assert class_weights("sqrt", counts)["mel"] / class_weights("sqrt", counts)["nv"] == pytest.approx(2)
    assert class_weights("none", counts) == {"nv": 1, "mel": 1}
    own = class_weights({"nv": 1, "mel": 3}, counts)
    assert own["mel"] == pytest.approx(3 * own["nv"])
    for weights in (balanced, own):
        assert np.average(list(weights.values()), weights=list(counts.values())) == pytest.approx(1)
    for wrong in ("heavy", {"nv": 1}, {"nv": 1, "mel": -1}, {"nv": 1, "mel": float("inf")}):
        with pytest.raises(InputError):
            class_weights(wrong, counts)


def test_a_half_precision_checkpoint_keeps_both_tokens_and_trains_in_float32(deit_tiny: Path) -> None:
    model = load_for_training(deit_tiny, ["mel", "nv"], from_scratch=False, new_head=False)
    assert type(model).__name__ == "DeiTForImageClassificationWithTeacher"
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}
    assert all(parameter.requires_grad for parameter in model.parameters())
    stored = load_file(deit_tiny / "model.safetensors")
    assert torch.equal(model.deit.embeddings.distillation_token, stored["deit.embeddings.distillation_token"].float())
    assert model.cls_classifier.weight.shape == (2, 192) and model.config.label2id == {"mel": 0, "nv": 1}


def test_a_plain_vit_trains_through_the_auto_class(tmp_path: Path, sample: Path) -> None:
    model = tmp_path / "vit"
    shutil.copytree(DEMO, model)
    config = json.loads((model / "config.json").read_text())
    config |= {"model_type": "vit", "architectures": ["ViTForImageClassification"]}
    (model / "config.json").write_text(json.dumps(config))
    in_process("train.py", "recipes/demo.yaml", "--model", model, "--dataset", sample, "--output_dir", tmp_path / "run",
            "--max_steps", 2)  # fmt: skip
    assert json.loads((tmp_path / "run" / "config.json").read_text())["model_type"] == "vit"


@pytest.mark.parametrize("workers", [0, 1])
@pytest.mark.parametrize("error", [KeyError("image"), OSError("cut off"), MemoryError()])
def test_an_image_that_can_not_be_read_is_named_and_nothing_else_is_shown(workers: int, error: Exception, rows) -> None:
    def break_off(*_: object, **__: object) -> None:
        raise error

    images = LesionImages(rows["train"].select(range(4)), load_processor(DEMO))
    images.processor = break_off
    with pytest.raises(InputError) as raised:
        next(iter(DataLoader(images, 2, num_workers=workers, collate_fn=collate)))
    shown = without_worker(str(raised.value))
    name, reason = rows["train"][0]["image_id"], f"{type(error).__name__}: {error}"
    assert shown == f"the image {name} can't be read ({reason}); make the data set again"
