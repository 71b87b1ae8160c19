"""Folders with names that globs, the datasets library, UTF-8, Markdown or terminals take for something else."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest
from in_process import in_process

NAMES = ["a [1]*", "$x_{$ 5$", "a::b", "a|`b`\n\x1b[31m <i>", "ü 痣"]


@pytest.mark.parametrize("name", NAMES)
def test_a_run_is_trained_measured_compared_and_described_anywhere(
    name: str, run: Path, sample: Path, tmp_path: Path
) -> None:
    place = tmp_path / name
    data = shutil.copytree(sample, tmp_path / "data" / name.replace("::", " "))  # which datasets refuses
    new, old = place / "new", shutil.copytree(run, place / name, ignore=shutil.ignore_patterns("checkpoint-*"))
    training = ("--output_dir", new, "--max_steps", 2, "--eval_strategy", "steps", "--eval_steps", 1)
    saving = ("--save_strategy", "steps", "--save_steps", 1, "--base_model", "you/model")
    in_process("train.py", "recipes/demo.yaml", "--dataset", data, "--model", old, "--from_scratch", "false", *training,
               *saving)  # fmt: skip
    for model in (old, new):
        in_process("evaluate_model.py", "--model", model, "--dataset", data)
        in_process("model_card.__main__", model)
        metadata, text = (model / "README.md").read_text().split("\n---\n", 1)
        assert "## Results" in text and "<i>" not in text and "\x1b" not in metadata + text
    in_process("evaluate_model.py", "--compare", old, new, "--output", place / "compared")
    table = (place / "compared" / "comparison.md").read_text()
    assert "\x1b" not in table and len({line.replace("\\|", "").count("|") for line in table.splitlines()[2:]}) == 1
    report = json.loads((new / "evaluation" / "metrics.json").read_text())
    assert report["n_images"] == 126


def test_a_folder_that_safetensors_or_parquet_can_not_open_is_refused_before_the_work(
    run: Path, sample: Path, tmp_path: Path
) -> None:
    place = tmp_path / os.fsdecode(b"l\xe9sions")
    shutil.copytree(run, place / "run", ignore=shutil.ignore_patterns("checkpoint-*"))
    train = ("train.py", "recipes/demo.yaml", "--dataset", sample)
    for command in (
        (*train, "--output_dir", place / "new"),
        (*train, "--output_dir", tmp_path / "new", "--model", place / "run"),
        ("evaluate_model.py", "--model", place / "run", "--dataset", sample, "--output", tmp_path / "new"),
        ("evaluate_model.py", "--model", run, "--dataset", sample, "--output", place / "new"),
        ("data_prep.py", "--source", "sample", "--output", place / "new"),
        ("data_prep.py", "--source", "sample", "--output", place),
    ):
        error = in_process(*command, check=2).stderr
        assert "is not in UTF-8; rename that folder" in error and not (place / "new").exists()
    assert not (tmp_path / "new").exists()


def test_an_output_that_is_a_link_to_nothing_is_refused_before_the_work(
    run: Path, sample: Path, tmp_path: Path
) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "nothing")
    measuring = ("evaluate_model.py", "--model", run, "--dataset", sample, "--output")
    assert "link to " in in_process(*measuring, tmp_path / "link", check=2).stderr
    (tmp_path / "nothing").mkdir()
    in_process(*measuring, tmp_path / "link")
    assert (tmp_path / "nothing" / "metrics.json").is_file()
