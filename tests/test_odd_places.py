"""Folders with names that globs, the datasets library, UTF-8, Markdown or terminals take for something else."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest
from in_process import in_process

NAMES = ["a [1]*", "$x_{$ 5$", "a::b", os.fsdecode(b"l\xe9sions"), "a|`b`\n\x1b[31m <i>", "ü 痣"]


@pytest.mark.parametrize("name", NAMES)
def test_a_run_is_trained_measured_compared_and_described_anywhere(
    name: str, run: Path, sample: Path, tmp_path: Path
) -> None:
    place = tmp_path / name
    data = shutil.copytree(sample, (tmp_path / "data" if "::" in name else place) / name.replace("::", " "))
    new, old = place / "new", shutil.copytree(run, place / name, ignore=shutil.ignore_patterns("checkpoint-*"))
    training = ("--output_dir", new, "--max_steps", 2, "--eval_strategy", "steps", "--eval_steps", 1)
    saving = ("--save_strategy", "steps", "--save_steps", 1, "--base_model", "you/model")
    in_process("train.py", "recipes/demo.yaml", "--dataset", data, "--model", old, "--from_scratch", "false", *training,
               *saving)  # fmt: skip
    for model in (old, new):
        in_process("evaluate_model.py", "--model", model, "--dataset", data)
        in_process("model_card.__main__", model)
        card = (model / "README.md").read_text()
        assert "## Results" in card and "\x1b" not in card and "<i>" not in card
    in_process("evaluate_model.py", "--compare", old, new, "--output", place / "compared")
    table = (place / "compared" / "comparison.md").read_text()
    assert "\x1b" not in table and len({line.replace("\\|", "").count("|") for line in table.splitlines()[2:]}) == 1
    report = json.loads((new / "evaluation" / "metrics.json").read_text())
    assert report["n_images"] == 126
