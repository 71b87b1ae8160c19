"""The ISIC challenges' own scoring takes predictions.csv as it is, and agrees."""

from __future__ import annotations

import json
import sys
import zipfile
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pandas as pd
import pytest

from lesions.diagnoses import CODES, isic_order
from lesions.ground_truth import write_predictions
from lesions.metrics.scores import LesionMetrics


@pytest.fixture
def scoring(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """isic-challenge-scoring 5.6.0, beside the packages of today."""
    # It reads ZIP files, of which there are none here, through a package that has to be compiled.
    monkeypatch.setitem(sys.modules, "zipfile_deflate64", zipfile)
    # It calls `DataFrame.applymap`, which pandas 3 knows as `map` only.
    monkeypatch.setattr(pd.DataFrame, "applymap", pd.DataFrame.map, raising=False)
    return import_module("isic_challenge_scoring.classification")


def official(scoring: ModuleType, predictions: Path, images: list[str], dx: list[str], folder: Path) -> Any:
    truth = pd.DataFrame({code.upper(): [1.0 * (one == code) for one in dx] for code in isic_order(CODES)})
    truth.insert(0, "image", images)
    truth.to_csv(folder / "truth.csv", index=False)
    metric = scoring.ClassificationMetric.BALANCED_ACCURACY
    return scoring.ClassificationScore.from_file(folder / "truth.csv", predictions, target_metric=metric)


def test_balanced_accuracy_and_auc_of_a_run(scoring: ModuleType, run: Path, tmp_path: Path) -> None:
    truth = pd.read_csv(run / "evaluation" / "ground_truth.csv")
    score = official(
        scoring, run / "evaluation" / "predictions.csv", list(truth["image_id"]), list(truth["dx"]), tmp_path
    )
    report = json.loads((run / "evaluation" / "metrics.json").read_text())
    assert abs(score.overall - report["metrics"]["balanced_accuracy"]["value"]) < 1e-12
    for code, row in report["per_class"].items():
        assert score.per_category.loc[code.upper(), "auc"] == pytest.approx(row["roc_auc"], abs=1e-12)


def test_ties_are_scored_alike(scoring: ModuleType, tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    truth = random.integers(0, 7, 200)
    counts = random.integers(1, 4, (200, 7)).astype(float)  # a few levels only: most rows are tied
    probabilities = counts / counts.sum(axis=1, keepdims=True)
    images = [f"ISIC_{n:07d}" for n in range(200)]
    write_predictions(tmp_path / "predictions.csv", images, probabilities, list(CODES))
    score = official(scoring, tmp_path / "predictions.csv", images, [CODES[n] for n in truth], tmp_path)
    measured = LesionMetrics().compute(predictions=probabilities, references=truth, names=["balanced_accuracy"])
    assert abs(score.overall - measured["balanced_accuracy"]) < 1e-12
    first_of_the_tied = np.mean([(probabilities.argmax(axis=1) == truth)[truth == c].mean() for c in range(7)])
    assert abs(score.overall - first_of_the_tied) > 0.05
