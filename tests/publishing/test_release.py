"""The released folder: whole, small, what a push would send, and usable offline by plain `pipeline()`."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from conftest import ROOT, command
from PIL import Image
from safetensors.numpy import load_file

from lesions.ground_truth import read_predictions
from lesions.metrics.scores import LesionMetrics
from lesions.output.places import listed
from model_card.card import EXAMPLES, render_card
from model_card.publish import published

RELEASE = Path("release/deit-tiny-ham10000")  # as a reader of the README names it
FOLDER = ROOT / RELEASE


def test_holds_what_a_push_would_send_and_nothing_else() -> None:
    files, others = listed(FOLDER, published(FOLDER))
    assert not others
    assert not any(name.endswith(EXAMPLES) for name in files)  # images of the data set
    assert {"config.json", "preprocessor_config.json", "training.json", "evaluation/metrics.json"} <= set(files)


def test_card_is_the_one_that_its_files_give(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    assert (RELEASE / "README.md").read_text() == render_card(RELEASE)


def test_is_stored_in_half_and_computes_in_full() -> None:
    weights = load_file(FOLDER / "model.safetensors")
    assert (FOLDER / "model.safetensors").stat().st_size < 12e6
    full = {name for name, values in weights.items() if values.dtype == np.float32}
    assert full and all("classifier" in name for name in full)
    assert json.loads((FOLDER / "config.json").read_text())["dtype"] == "float32"


def test_figures_follow_from_its_predictions() -> None:
    """Anyone can measure again: metrics.json is computed from the two CSV files beside it."""
    evaluation = FOLDER / "evaluation"
    report = json.loads((evaluation / "metrics.json").read_text())
    labels = report["confusion_matrix"]["labels"]
    probabilities, images = read_predictions(evaluation / "predictions.csv", labels)
    truth = pd.read_csv(evaluation / "ground_truth.csv", index_col="image_id").loc[images, "dx"]
    measured = LesionMetrics().compute(predictions=probabilities, references=truth.map(labels.index).to_numpy())
    for name, metric in report["metrics"].items():
        assert metric["value"] == pytest.approx(measured[name], abs=1e-9), name


def test_was_chosen_on_validation_and_measured_on_the_test_split_of_the_same_data() -> None:
    training = json.loads((FOLDER / "training.json").read_text())
    report = json.loads((FOLDER / "evaluation" / "metrics.json").read_text())
    assert training["status"] == "finished" and report["split"] == "test"
    assert training["dataset_fingerprint"] == report["dataset_fingerprint"]
    assert not re.search(r'"/\w', json.dumps([training, report]))  # no path of any machine


def test_readmes_first_example_runs_offline_and_evaluate_model_says_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    snippet = re.search(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), flags=re.DOTALL)
    assert snippet and str(RELEASE) in snippet[1]
    monkeypatch.chdir(ROOT)
    exec(snippet[1], {})
    scores = dict(line.split() for line in capsys.readouterr().out.splitlines())
    Image.new("RGB", (600, 450), "tan").save(tmp_path / "lesion.png")  # the example's image
    answer = command("evaluate_model.py", "--model", RELEASE, "--images", tmp_path / "lesion.png").stdout
    percent = {
        label: float(share) for label, share in re.findall(r" (\w+) +([\d.]+) %(?:  █+)?$", answer, re.MULTILINE)
    }
    assert len(scores) == 7 and percent.keys() == scores.keys()
    assert all(percent[label] == pytest.approx(100 * float(scores[label]), abs=0.11) for label in scores)
