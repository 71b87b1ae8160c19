"""train.py as a command: the run folder that it leaves, and what it refuses."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path

import pandas as pd
import pytest
import yaml
from conftest import ROOT, command
from datasets import Dataset, DatasetDict
from in_process import in_process
from PIL import Image
from transformers import pipeline

from lesions.data.sources.sample import draw_sample
from lesions.run_folder import FAMILIARITY
from lesions.seen_images import SEEN
from lesions.training.options import parse_options

QUICK = ("--max_steps", 2, "--per_device_eval_batch_size", 64)


def train(output: Path, dataset: Path, *options: object, check: int = 0) -> subprocess.CompletedProcess[str]:
    given = ("--dataset", dataset, "--output_dir", output, *options)
    return in_process("train.py", "recipes/demo.yaml", *given, check=check)


def test_help_teaches_without_importing_torch() -> None:
    done = command("-X", "importtime", "train.py", "--help")
    assert "accelerate launch train.py" in done.stdout and "--class_weights" in done.stdout
    assert "torch" not in {line.split("|")[-1].strip() for line in done.stderr.splitlines()}


def test_the_run_folder_holds_what_the_hub_should(run: Path) -> None:
    names = {path.name for path in run.iterdir() if not path.name.startswith("checkpoint-")}
    expected = {"config.json", "model.safetensors", "preprocessor_config.json", "README.md", "training.json", SEEN}
    assert names == expected | {"evaluation", "training_curves.png", FAMILIARITY}
    figures = ("confusion_matrix.png", "roc_curves.png", "reliability.png", "selective.png")
    tables = ("metrics.json", "predictions.csv", "ground_truth.csv")
    assert {path.name for path in (run / "evaluation").iterdir()} == {*figures, *tables, "report.html"}
    config = json.loads((run / "config.json").read_text())
    assert config["id2label"]["4"] == "mel" and config["label2id"]["mel"] == 4
    processor = json.loads((run / "preprocessor_config.json").read_text())
    assert processor["size"] == {"height": 64, "width": 64} and processor["image_mean"] == [0.5, 0.5, 0.5]
    record = json.loads((run / "training.json").read_text())
    assert record["status"] == "finished" and record["class_weights"]["weights"]["df"] > 1
    assert record["settings"]["num_train_epochs"] == 10  # the command line wins over the recipe's 24
    assert str(run.parent) not in (run / "training.json").read_text()  # no path of the user's machine


def test_the_demo_learns(run: Path) -> None:
    metrics = json.loads((run / "evaluation" / "metrics.json").read_text())["metrics"]
    assert metrics["f1_macro"]["low"] > 0.4  # chance is 0.14, always saying nv 0.07


def test_tensorboard_gets_every_evaluation(sample: Path, tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    train(tmp_path / "run", sample, *QUICK, "--report_to", "tensorboard", "--logging_steps", 1)
    (log,) = (tmp_path / "run").rglob("events.out.tfevents.*")
    events = EventAccumulator(str(log)).Reload()
    measured = json.loads((tmp_path / "run" / "training.json").read_text())["history"]
    shown = [event.value for event in events.Scalars("eval/f1_macro")]
    assert shown == pytest.approx([entry["f1_macro"] for entry in measured]) and len(events.Scalars("train/loss")) == 2


def test_accelerate_launch(sample: Path, tmp_path: Path) -> None:
    command("-m", "accelerate.commands.launch", "--num_processes", 1, "--mixed_precision", "bf16", "train.py",
            "recipes/demo.yaml", "--dataset", sample, "--output_dir", tmp_path / "run", *QUICK)  # fmt: skip
    record = json.loads((tmp_path / "run" / "training.json").read_text())
    assert record["steps"] == 2 and record["precision"] == "bfloat16 autocast" and record["settings"]["bf16"] is True


def test_refuses_an_output_folder_that_holds_another_run(run: Path, sample: Path, tmp_path: Path) -> None:
    before = (run / "model.safetensors").read_bytes()
    assert "holds a finished run" in train(run, sample, check=2).stderr
    assert (run / "model.safetensors").read_bytes() == before
    (tmp_path / "notes.txt").write_text("mine")
    assert "is not empty" in train(tmp_path, sample, check=2).stderr
    assert "no run to resume" in train(tmp_path / "new", sample, "--resume_from_checkpoint", "true", check=2).stderr
    assert not (tmp_path / "new").exists()


def test_refuses_labels_that_would_silently_mean_something_else(run: Path, sample: Path, tmp_path: Path) -> None:
    model = tmp_path / "model"
    shutil.copytree(run, model)
    config = json.loads((model / "config.json").read_text())
    config["id2label"]["4"], config["id2label"]["5"] = "nv", "mel"
    (model / "config.json").write_text(json.dumps(config))
    options = ("--model", model, "--from_scratch", "false", *QUICK)
    error = train(tmp_path / "run", sample, *options, check=2).stderr
    assert "distinguishes akiec, bcc, bkl, df, nv, mel, vasc" in error and "--new_head" in error
    train(tmp_path / "run", sample, *options, "--new_head", "--base_model", "you/model")
    assert json.loads((tmp_path / "run" / "training.json").read_text())["base_model"] == "you/model"
    assert "base_model: you/model" in (tmp_path / "run" / "README.md").read_text()


def test_goes_on_from_a_run_with_larger_images_and_says_so(run: Path, sample: Path, tmp_path: Path) -> None:
    train(tmp_path / "run", sample, "--model", run, "--from_scratch", "false", "--side", 96, *QUICK)
    first, record = (json.loads((folder / "training.json").read_text()) for folder in (run, tmp_path / "run"))
    assert record["earlier"] == {name: value for name, value in first.items() if name != "history"}
    assert record["base_model"] == first["base_model"]
    card = (tmp_path / "run" / "README.md").read_text()
    assert "- Run 1 of 2, with the same validation and test images" in card and "- Images of 96 x 96 pixels" in card
    classify = pipeline("image-classification", model=str(tmp_path / "run"))
    assert classify.image_processor.size == {"height": 96, "width": 96} and classify.model.config.image_size == 96
    assert len(classify(Image.new("RGB", (600, 450)), top_k=7)) == 7


def test_refuses_models_of_a_different_split_of_the_data(copy: Path, sample: Path, tmp_path: Path) -> None:
    """By their record, where they have not stored their images: see test_seen_images.py."""
    (copy / SEEN).unlink()
    record = json.loads((copy / "training.json").read_text())
    (copy / "training.json").write_text(json.dumps(record | {"dataset_fingerprint": "0" * 64}))
    options = ("--model", copy, "--from_scratch", "false", "--teacher", copy)
    assert "trained on a different split of" in train(tmp_path / "new", sample, *options, check=2).stderr
    assert "trained on a different split of" in train(tmp_path / "new", sample, "--teacher", copy, check=2).stderr
    measuring = ("evaluate_model.py", "--model", copy, "--dataset", sample, "--output", tmp_path / "new")
    assert "trained on a different split of" in in_process(*measuring, check=2).stderr
    assert not (tmp_path / "new").exists()
    (copy / "training.json").write_text(json.dumps(record | {"dataset": record["dataset"] | {"title": "another"}}))
    in_process(*measuring)  # other data can't leak


def test_refuses_a_dataset_that_is_none(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    assert "holds no Parquet file" in train(tmp_path / "run", tmp_path / "empty", check=2).stderr
    DatasetDict({"train": Dataset.from_dict({"label": [0], "image_id": ["a"]})})["train"].to_parquet(
        tmp_path / "empty" / "train.parquet"
    )
    error = train(tmp_path / "run", tmp_path / "empty", check=2).stderr
    assert "split missing" in error and "validation" in error
    assert (
        "column missing in split train (2):\n  image\n  lesion_id" in error
        and "label is not of the type ClassLabel" in error
    )


@pytest.mark.parametrize("option", ["--dataset", "--model"])
def test_a_hub_id_out_of_reach_says_how_to_give_a_folder(option: str, sample: Path, tmp_path: Path) -> None:
    environment = {"HF_ENDPOINT": "http://127.0.0.1:9", "HF_HUB_OFFLINE": "0", "HF_HOME": str(tmp_path / "home")}
    given = {"--dataset": sample, "--model": "recipes/demo-deit"} | {option: "nobody/nothing"}
    options = [item for pair in given.items() for item in pair]
    error = command(
        "train.py", "recipes/demo.yaml", *options, "--output_dir", tmp_path / "run", check=2, **environment
    ).stderr
    assert "nobody/nothing is not a folder, and" in error and "hf download" in error
    assert not (tmp_path / "run").exists()


def test_a_recipe_with_unknown_options_names_them_all(sample: Path, tmp_path: Path) -> None:
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text("learning_rat: 5e-4\nmodel: recipes/demo-deit\nepochs: 3\n")
    error = in_process("train.py", recipe, "--dataset", sample, "--output_dir", tmp_path / "run", check=2).stderr
    assert "learning_rat (did you mean learning_rate?)" in error and "epochs" in error
    recipe.write_text("- a list")
    assert "option: value" in in_process("train.py", recipe, "--dataset", sample, "--output_dir", "x", check=2).stderr
    assert "the recipe nothing.yaml does not exist" in in_process("train.py", "nothing.yaml", check=2).stderr


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("seed: 1\nlearning_rate: 1e-3\nseed: 2\n", r"given twice.*\n.*line 3"),
        ("class_weights: {mel: 1, nv: 1, mel: 2}\n", "given twice"),
        ("? [seed]\n: 1\n", "not text"),
        ("num_train_epochs: 12:30\n", "num_train_epochs.*invalid float value: '12:30'"),
        ("learning_rate:\t1e-4\n", r"cannot start any token\n.*line 1, column 15"),
        ("teacher: &a [*a]\n", "an alias: write its value"),
        ("a: &a [1]\nb: &b [*a, *a]\nmodel: &c [*b, *c]", "an alias: write its value"),
        ("model: !!python/object/apply:os.abort []", "model takes one value"),
        (f"seed: {'9' * 5000}", "argument --seed: invalid int value"),
        ("malignant: [mel, [nv]]\n", "malignant takes a list of single values"),
        ("seed: [1]\n", "seed takes one value"),
        ("num_train_epochs:\nside:\ndistillation: ~\n", "num_train_epochs, distillation: a value is missing"),
        ("model: " + "[" * 100_000, "is not a YAML file"),
    ],
)
def test_a_recipe_that_says_something_else_than_it_seems_is_refused(text: str, reason: str, tmp_path: Path) -> None:
    (tmp_path / "recipe.yaml").write_text(text)
    given = ("--dataset", "nothing", "--output_dir", tmp_path / "run")
    assert re.search(reason, in_process("train.py", tmp_path / "recipe.yaml", *given, check=2).stderr)


def test_a_recipe_is_read_as_text(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "recipe.yaml").write_text(
        "model: 007\nmalignant: [no, 1, NA]\nclass_weights: {no: 1e-1, 1: 2}\nlearning_rate: 1e-4\nbf16: no\n"
        "lr_scheduler_kwargs: {last_epoch: -1, x: true}\nside:\nbase_model: null\n"
    )
    monkeypatch.setattr("sys.argv", ["train.py", str(tmp_path / "recipe.yaml"), "--dataset", "a", "--output_dir", "b"])
    options, training = parse_options()
    assert (options.model, options.malignant, options.side, options.base_model) == (
        "007",
        ["no", "1", "NA"],
        None,
        None,
    )
    assert options.class_weights == {"no": 0.1, "1": 2} and training.learning_rate == 1e-4 and training.bf16 is False
    assert training.lr_scheduler_kwargs == {"last_epoch": -1, "x": True}


@pytest.mark.parametrize("recipe", sorted((ROOT / "recipes").glob("*.yaml")), ids=lambda path: path.stem)
def test_every_recipe_is_read_as_it_is_written(recipe: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["train.py", str(recipe), "--dataset", "none", "--output_dir", "none"])
    options, training = parse_options()
    for name, value in yaml.safe_load(recipe.read_text()).items():
        assert getattr(options if hasattr(options, name) else training, name) == value, name


def test_needs_no_recipe(tmp_path: Path) -> None:
    given = ("--dataset", tmp_path / "nothing", "--model", "recipes/demo-deit", "--from_scratch")
    error = in_process("train.py", *given, "--output_dir", tmp_path / "run", check=2).stderr
    assert "YAML" not in error and f"{tmp_path}/nothing" in error


def test_a_recipe_may_hold_every_option_the_required_ones_too(sample: Path, tmp_path: Path) -> None:
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(f"model: recipes/demo-deit\nfrom_scratch: true\noutput_dir: {tmp_path / 'run'}\nmax_steps: 1\n")
    assert "are required: --dataset" in in_process("train.py", recipe, check=2).stderr
    recipe.write_text(recipe.read_text() + f"dataset: {sample}\n")
    in_process("train.py", recipe)
    assert json.loads((tmp_path / "run" / "training.json").read_text())["steps"] == 1


def test_class_weights_from_a_recipe_and_numbers_as_yaml_writes_them(sample: Path, tmp_path: Path) -> None:
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(
        "model: recipes/demo-deit\nfrom_scratch: true\nlearning_rate: 5e-4\n"
        "class_weights: {akiec: 1, bcc: 1, bkl: 1, df: 4, mel: 1, nv: 1, vasc: 1}\n"
    )
    output = tmp_path / "run"
    in_process("train.py", recipe, "--dataset", sample, "--output_dir", output, *QUICK)
    record = json.loads((output / "training.json").read_text())
    weights = record["class_weights"]["weights"]
    assert weights["df"] == pytest.approx(4 * weights["nv"]) and record["settings"]["learning_rate"] == 5e-4
    recipe.write_text("model: recipes/demo-deit\nfrom_scratch: true\nclass_weights: {df: 4}\n")
    error = in_process("train.py", recipe, "--dataset", sample, "--output_dir", tmp_path / "x", check=2).stderr
    assert "one positive number for each of akiec" in error


def test_other_diagnoses_and_an_external_test_set_go_the_whole_way(tmp_path: Path) -> None:
    source, clinic = tmp_path / "source", tmp_path / "clinic"
    source.mkdir()
    clinic.mkdir()
    draw_sample(source)
    table = pd.read_csv(source / "HAM10000_metadata.csv")
    eighth = (table["dx"] == "nv") & (table["lesion_id"].str[-1] == "7")
    table = table.assign(dx=table["dx"].where(~eighth, "scc"))
    moved = table[table["lesion_id"].str[-1] == "3"]
    for name in moved["image_id"]:
        (source / f"{name}.jpg").rename(clinic / f"{name}.jpg")
    table.drop(moved.index).to_csv(source / "list.csv", index=False)
    moved[["image_id", "dx"]].to_csv(clinic / "truth.csv", index=False)

    data, output = tmp_path / "data", tmp_path / "run"
    options = ("--metadata", source / "list.csv", "--extra_test", f"clinic={clinic}:{clinic / 'truth.csv'}")
    in_process("data_prep.py", "--source", source, "--output", data, "--audit", "off", *options)
    in_process("data_prep.py", "--source", source, "--output", tmp_path / "alone", "--audit", "off", *options[:2])
    audit, alone = (json.loads((folder / "audit.json").read_text()) for folder in (data, tmp_path / "alone"))
    assert audit["fingerprint"] == alone["fingerprint"]  # an external test set does not change the splits
    train(output, data, *QUICK)
    assert json.loads((output / "training.json").read_text())["dataset_fingerprint"] == audit["fingerprint"]
    in_process("evaluate_model.py", "--model", output, "--dataset", data, "--split", "clinic")
    report = json.loads((output / "evaluation-clinic" / "metrics.json").read_text())
    assert list(report["per_class"]) == sorted(set(table["dx"])) and len(report["per_class"]) == 8
    assert report["n_images"] == len(moved) and report["split"] == "clinic"
    assert report["dataset_fingerprint"] == audit["extra_tests"]["clinic"]["fingerprint"] != audit["fingerprint"]
    assert (
        (output / "evaluation-clinic" / "predictions.csv")
        .read_text()
        .startswith("image,MEL,NV,BCC,AKIEC,BKL,DF,VASC,SCC")
    )
    in_process("-m", "model_card", output)
    assert "scc" in (output / "README.md").read_text()
