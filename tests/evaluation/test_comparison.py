"""Two models on the same images: paired intervals, McNemar's test, and what can't be compared."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from in_process import in_process

from lesions.evaluation.comparison import mcnemar, paired_differences
from lesions.metrics.measured import Measured
from model_card.card import render_card


def two_models() -> tuple[Measured, Measured]:
    """300 images of two diagnoses; the second model is right on 20 more, wrong on 5 that the first had right."""
    random = np.random.default_rng(0)
    truth = random.integers(0, 2, 300)
    right = np.arange(300) < 200
    also_right = right.copy()
    also_right[200:220], also_right[:5] = True, False
    rows = pd.DataFrame({"image": np.arange(300).astype(str)})

    def answers(correct: np.ndarray) -> np.ndarray:
        own = np.where(correct, 0.8, 0.3)
        return np.where(np.eye(2)[truth] == 1, own[:, None], 1 - own[:, None])

    return tuple(Measured(answers(each), truth, ["mel", "nv"], rows) for each in (right, also_right))


def test_differences_and_mcnemar_by_hand() -> None:
    first, second = two_models()
    difference = paired_differences(first, second)["accuracy"]
    assert difference["value"] == pytest.approx(15 / 300)
    # Of paired images 25 differ: the standard error is sqrt(25 - 15 ** 2 / 300) / 300 = 0.0164.
    assert difference["low"] == pytest.approx(0.05 - 1.96 * 0.0164, abs=0.005)
    assert difference["high"] == pytest.approx(0.05 + 1.96 * 0.0164, abs=0.005)
    found = mcnemar(first, second)
    assert (found["only_first_right"], found["only_second_right"]) == (5, 20)
    assert found["p_value"] == pytest.approx(2 * (1 + 25 + 300 + 2300 + 12650 + 53130) / 2**25)  # both tails
    assert mcnemar(first, first)["p_value"] == 1
    assert paired_differences(first, first)["f1_macro"] == {"value": 0, "low": 0, "high": 0}


@pytest.fixture
def runs(run: Path, tmp_path: Path) -> tuple[Path, Path]:
    """The run, and a copy whose answers are less certain."""
    copy = tmp_path / "second"
    (copy / "evaluation").mkdir(parents=True)
    for name in ("metrics.json", "ground_truth.csv", "predictions.csv"):
        shutil.copy(run / "evaluation" / name, copy / "evaluation")
    table = pd.read_csv(copy / "evaluation" / "predictions.csv", index_col="image")
    (0.5 * table + 0.5 / 7).to_csv(copy / "evaluation" / "predictions.csv")
    return run, copy


def test_the_command_writes_a_table(runs: tuple[Path, Path], tmp_path: Path) -> None:
    done = in_process("evaluate_model.py", "--compare", *runs, "--output", tmp_path / "out")
    comparison = json.loads((tmp_path / "out" / "comparison.json").read_text())
    assert (tmp_path / "out" / "comparison.md").read_text() in done.stdout
    (second,) = comparison["compared"]
    assert second["model"] == "second" and second["differences"]["accuracy"]["value"] == pytest.approx(0, abs=1e-9)
    assert second["differences"]["log_loss"]["value"] != 0
    measured = json.loads((runs[0] / "evaluation" / "metrics.json").read_text())["metrics"]
    for name, figure in comparison["first"]["metrics"].items():
        assert figure["value"] == pytest.approx(measured[name]["value"], abs=1e-6), name
        assert figure["low"] == pytest.approx(measured[name]["low"], abs=1e-6), name


def test_a_folder_of_images_of_unknown_lesions_is_called_so(copy: Path, tmp_path: Path) -> None:
    results = copy / "evaluation"
    pd.read_csv(results / "ground_truth.csv").drop(columns="lesion_id").to_csv(
        results / "ground_truth.csv", index=False
    )
    report = json.loads((results / "metrics.json").read_text())
    report |= {"dataset": "photos", "split": None, "dataset_fingerprint": None, "n_lesions": None}
    (results / "metrics.json").write_text(json.dumps(report))
    shutil.copytree(results, tmp_path / "old" / "evaluation")
    in_process("evaluate_model.py", "--compare", tmp_path / "old", copy, "--output", copy / "comparison")
    table = (copy / "comparison" / "comparison.md").read_text()
    assert table.startswith(f"photos: {report['n_images']} images, fingerprint none. ")
    assert "from a paired bootstrap over images." in table
    card = render_card(copy)
    assert f"This model and old on the same {report['n_images']} images; the difference" in card
    assert "over images." in card and "split None" not in card


def test_runs_that_differ_in_their_seed_show_their_spread(runs: tuple[Path, Path], tmp_path: Path) -> None:
    record = json.loads((runs[0] / "training.json").read_text())
    path = runs[1] / "training.json"

    def compare(**changed: object) -> dict:
        path.write_text(json.dumps({**record, "settings": {**record["settings"], **changed}}))
        in_process("evaluate_model.py", "--compare", *runs, "--output", tmp_path / "out")
        return json.loads((tmp_path / "out" / "comparison.json").read_text())

    assert "seeds" not in compare(seed=2, learning_rate=1)  # another recipe
    assert "seeds" not in compare()  # the same seed
    comparison = compare(seed=2)
    assert comparison["seeds"] == [record["settings"]["seed"], 2]
    first = comparison["first"]["metrics"]["log_loss"]
    change = comparison["compared"][0]["differences"]["log_loss"]["value"]
    spread = comparison["over_seeds"]["log_loss"]
    assert spread["mean"] == pytest.approx(first["value"] + change / 2)
    assert spread["sd"] == pytest.approx(abs(change) / 2**0.5)  # of two values: their difference over the root of 2
    accuracy = comparison["first"]["metrics"]["accuracy"]  # both runs give the same answers
    width = accuracy["high"] - accuracy["low"]
    assert comparison["over_seeds"]["accuracy"]["half_width"] == pytest.approx(width / 2)
    table = (tmp_path / "out" / "comparison.md").read_text()
    assert f"| log_loss | {spread['mean']:.4f} | {spread['sd']:.4f} |" in table


def test_refuses_what_was_measured_on_other_data(runs: tuple[Path, Path], tmp_path: Path) -> None:
    def error(*others: Path) -> str:
        done = in_process("evaluate_model.py", "--compare", runs[0], *others, "--output", tmp_path / "out", check=2)
        assert not (tmp_path / "out").exists()
        return done.stderr

    assert "results missing" in error(tmp_path / "nowhere") and "the same run is given twice" in error(runs[0])
    path = runs[1] / "evaluation" / "metrics.json"
    report = json.loads(path.read_text())
    path.write_text(json.dumps(report | {"dataset_fingerprint": "0" * 64}))
    assert "dataset_fingerprint 000" in error(runs[1])
    path.write_text(json.dumps(report))
    truth = runs[1] / "evaluation" / "ground_truth.csv"
    truth.write_text(truth.read_text().replace(",mel", ",nv", 1))
    assert "other images, or other diagnoses" in error(runs[1])


def test_results_of_other_weights_than_those_beside_them_are_not_compared(
    run: Path, copy: Path, tmp_path: Path
) -> None:
    report = json.loads((copy / "evaluation" / "metrics.json").read_text())
    (copy / "evaluation" / "metrics.json").write_text(json.dumps(report | {"weights_sha256": "0" * 64}))
    comparing = ("evaluate_model.py", "--compare", run, copy, "--output", tmp_path / "out")
    error = in_process(*comparing, check=2).stderr
    assert "measured with other weights than lie there now" in error and str(copy) in error
