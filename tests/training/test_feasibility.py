"""Options that can't work: refused together, with the reason, before a model or any data are read."""

from __future__ import annotations

from pathlib import Path

import pytest
from conftest import command
from in_process import in_process

from lesions.training.arguments import LesionTrainingArguments

NOTHING = ("--dataset", "nothing", "--model", "nothing")  # reading either would be another error


def refused(output: Path, *options: object) -> str:
    error = in_process("train.py", *NOTHING, "--output_dir", output, *options, check=2).stderr
    assert not output.exists()
    return error


def test_options_that_can_not_work_are_refused_all_at_once(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    error = refused(
        tmp_path / "run",
        *("--metric_for_best_model", "auc", "--report_to", "wandbb", "--optim", "adamw_8bit", "--mixing", 1.5),
        *("--remove_unused_columns", "true", "--prediction_loss_only", "true", "--bf16_full_eval", "true"),
        *("--class_weights", "heavy", "--low_epochs", 2, "--base_model", tmp_path / "folder"),
        *("--per_device_train_batch_size", 0, "--distillation_temperature", 0, "--label_names", "dx"),
    )
    for part in (
        "metric_for_best_model auc: choose one of loss, accuracy, balanced_accuracy",
        "wandbb is not a tracker that transformers knows, or its package is not installed",
        "--optim adamw_8bit: ",
        "--mixing 1.5: give a number from 0 to 1",
        "--remove_unused_columns True: the images would be removed",
        "--prediction_loss_only True: metrics need the predictions",
        "--bf16_full_eval True",
        "--class_weights heavy: choose one of balanced, sqrt, none",
        "--low_epochs 2.0: give --low_side too",
        "a folder; the card needs the Hub id of what is in it",
        "--per_device_train_batch_size 0: give a number from 1",
        "--distillation_temperature 0.0: give a number from 0.001",
        "--label_names ['dx']",
    ):
        assert part in error, part


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (("--base_model", "not/an/id"), "not a Hub id"),
        (("--eval_strategy", "no"), "these options can't be used together"),
        (("--push_to_hub",), "--push_to_hub needs --hub_model_id"),
        (("--num_train_epochs", 0), "--num_train_epochs 0.0: nothing would be trained"),
        (("--num_train_epochs", "9" * 400), "--num_train_epochs inf: nothing would be trained, or without an end"),
        (("--adam_beta1", 1.5), "--optim adamw_torch_fused: Invalid beta parameter"),
        (("--lr_scheduler_type", "cosine_with_min_lr"), "--lr_scheduler_type "),
        (("--lr_scheduler_kwargs", '{"nonsense": 1}'), "--lr_scheduler_type "),
        (
            ("--metric_for_best_model", "f1_macro", "--load_best_model_at_end", "false"),
            "--metric_for_best_model chooses nothing without --load_best_model_at_end true",
        ),
        (
            ("--metric_for_best_model", "log_loss", "--greater_is_better", "true"),
            "--greater_is_better True: a lower log_loss is better; leave it out",
        ),
        (
            ("--metric_for_best_model", "eval_loss", "--greater_is_better", "true"),
            "--greater_is_better True: a lower loss is better; leave it out",
        ),
        (("--greater_is_better", "false"), "--greater_is_better False: a higher balanced_accuracy is better"),
        (("--seed", -1), "--seed -1: give a number from 0"),
        (("--max_grad_norm", "nan"), "--max_grad_norm nan: give a number"),
        (("--accelerator_config", '{"split_batches": true}'), "split_batches: give the batch of one process"),
        (("--fp16", "--use_cpu"), "float16 needs a GPU"),
        (
            ("--dataloader_persistent_workers",),
            "--dataloader_persistent_workers True: give --dataloader_num_workers too",
        ),
        (("--fsdp", "full_shard"), "--fsdp "),
        (("--use_liger_kernel",), "--use_liger_kernel True: it has kernels for language models alone"),
        (("--exports", 2), "--exports 2.0: give a number from 0 to 1"),
        (("--exports", "nan"), "--exports nan: give a number from 0 to 1"),
        (("--side", 10**5), "--side 100000: give a number from 1 to 4096"),
        (("--low_side", 10**6, "--low_epochs", 1), "--low_side 1000000: give a number from 0 to 4096"),
        (("--dataloader_num_workers", 1, "--dataloader_prefetch_factor", 0), "--dataloader_prefetch_factor 0: give"),
        (("--eval_accumulation_steps", 0), "--eval_accumulation_steps 0: give a number from 1"),
        (("--eval_delay", "nan"), "--eval_delay nan: give a number from 0"),
        (("--eval_delay", 20), "--eval_delay 20.0: no evaluation would choose the best model"),
        (("--save_steps", 100), "--save_steps 100.0: give --save_strategy steps too"),
        (("--eval_steps", 100), "--eval_steps 100.0: give --eval_strategy steps too"),
        (
            ("--eval_strategy", "steps", "--save_strategy", "steps", "--eval_steps", 50, "--save_steps", 100),
            "--save_steps 100: give the 50 of --eval_steps, or --save_strategy best",
        ),
        (("--optim", "sgd", "--optim_args", "momentun=0.9"), "sgd takes momentum, dampening, nesterov, not momentun"),
        (("--optim", "sgd", "--optim_args", "weight_decay=0.1"), "dampening, nesterov, not weight_decay"),
        (("--optim_args", "amsgrad=true"), "adamw_torch_fused takes none, not amsgrad"),
        (("--optim", "sgd", "--optim_args", "momentum"), "--optim sgd: "),
        (("--optim_target_modules", "all-linear"), "--optim_target_modules all-linear: "),
        (("--auto_find_batch_size",), "give --per_device_train_batch_size"),
        (("--do_predict",), "--do_predict True: evaluate_model.py measures a split"),
        (("--hub_strategy", "checkpoint"), "--hub_strategy checkpoint: choose one of end, every_save"),
        (
            ("--accelerator_config", '{"gradient_accumulation_kwargs": {"num_steps": 4}}'),
            "num_steps: give --gradient_accumulation_steps",
        ),
        (
            ("--lr_scheduler_type", "constant", "--lr_scheduler_kwargs", '{"min_lr": 1e-6}'),
            "the schedule constant takes none",
        ),
        (("--logging_steps", "nan"), "--logging_steps nan: give a number"),
        (("recipes/deit-tiny-quick.yaml", "--num_train_epochs", 5), "--low_epochs 9.0: the training ends after 5, so"),
        (("--low_side", 64, "--low_epochs", 2.5, "--num_train_epochs", 3), "--low_epochs 2.5: the training ends after"),
        (("--max_steps", -5), "--max_steps -5: give a number from -1"),
        (("--torch_compile_mode", "fast"), "--torch_compile_mode fast: choose one of default, reduce-overhead"),
        (("--tf32",), "--tf32 "),  # without a GPU by transformers, with one by this project
    ],
)
def test_other_contradictions(options: tuple[object, ...], reason: str, tmp_path: Path) -> None:
    assert reason in refused(tmp_path / "run", *options)


def test_the_names_that_an_optimizer_takes_pass(tmp_path: Path) -> None:
    taken = ("--optim", "sgd", "--optim_args", "momentum=0.9, nesterov=true")
    assert "optim" not in refused(tmp_path / "run", *taken)


def test_an_output_folder_that_can_not_be_made_is_refused_before_the_model_is_read(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert f"{tmp_path}/file is a file, not a folder" in refused(tmp_path / "file" / "run")


@pytest.mark.parametrize(
    ("metric", "greater"), [("ece", False), ("eval_brier", False), ("log_loss", False), ("f1_macro", True)]
)
def test_the_best_checkpoint_is_the_one_with_the_better_value(metric: str, greater: bool, tmp_path: Path) -> None:
    training = LesionTrainingArguments(output_dir=str(tmp_path), metric_for_best_model=metric, use_cpu=True)
    assert training.greater_is_better is greater


@pytest.mark.parametrize("schedule", ["reduce_lr_on_plateau", "greedy"])
@pytest.mark.parametrize(("metric", "mode"), [("balanced_accuracy", "max"), ("log_loss", "min"), ("loss", "min")])
def test_a_schedule_waits_for_the_metric_to_become_better(
    schedule: str, metric: str, mode: str, tmp_path: Path
) -> None:
    given = {"output_dir": str(tmp_path), "use_cpu": True, "load_best_model_at_end": False}
    given |= {"lr_scheduler_type": schedule, "metric_for_best_model": metric, "lr_scheduler_kwargs": '{"patience": 0}'}
    training = LesionTrainingArguments(**given)
    assert training.metric_for_best_model == metric
    assert training.lr_scheduler_kwargs == {"mode": mode, "patience": 0}


def test_the_card_names_the_metric_that_chose_however_it_was_spelled(sample: Path, tmp_path: Path) -> None:
    steps = (
        "--max_steps",
        2,
        "--eval_strategy",
        "steps",
        "--save_strategy",
        "steps",
        "--eval_steps",
        1,
        "--save_steps",
        1,
    )
    given = ("--dataset", sample, "--output_dir", tmp_path / "run", "--metric_for_best_model", "eval_brier")
    in_process("train.py", "recipes/demo.yaml", *given, *steps)
    assert "The checkpoint was chosen by Brier score" in (tmp_path / "run" / "README.md").read_text()


def test_a_cache_that_can_not_be_written_is_one_clear_error(sample: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    given = ("--dataset", sample, "--model", "recipes/demo-deit", "--output_dir", tmp_path / "run", "--from_scratch")
    error = command("train.py", *given, check=2, HF_DATASETS_CACHE=str(tmp_path / "file" / "cache")).stderr
    assert f"{tmp_path}/file" in error and not (tmp_path / "run").exists()
