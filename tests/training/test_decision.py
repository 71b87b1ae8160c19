"""What is fitted on validation and folded into the head: by hand, and as plain pipeline() then answers."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from in_process import in_process
from PIL import Image
from safetensors.torch import load_file, save_file
from scipy.special import softmax
from transformers import AutoModelForImageClassification

from lesions.metrics.scores import headline
from lesions.model.half_precision import store_in_half
from lesions.model.loading import load_for_prediction, load_for_training
from lesions.training.decision import AIMS, fit_decision, fold_decision


def overconfident(n: int = 4000) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Logits three times too large, of a model trained as if both its classes were equally frequent."""
    random = np.random.default_rng(0)
    shares = np.array([0.9, 0.1])
    labels = random.choice(2, n, p=shares)
    score = random.normal(np.where(labels == 1, 1.0, -1.0))  # log-odds for equal shares: 2 * score
    return 3 * np.column_stack([-score, score]), labels, shares


def test_the_temperature_is_the_one_that_made_the_logits_too_large() -> None:
    random = np.random.default_rng(0)
    honest = random.normal(size=(20_000, 4)) * 2
    labels = np.array([random.choice(4, p=p) for p in softmax(honest, axis=1)])
    fitted = fit_decision(honest * 2.5, labels, np.full(4, 0.25), "none")
    assert fitted["temperature"] == pytest.approx(2.5, rel=0.03)
    assert fitted["tau"] == 0 and fitted["bias"] == [0, 0, 0, 0]


def test_each_aim_does_best_by_its_own_metric() -> None:
    logits, labels, shares = overconfident()
    reached = {}
    for aim in (*AIMS, "none"):
        fitted = fit_decision(logits, labels, shares, aim)
        assert np.allclose(fitted["bias"], -fitted["tau"] * np.log(shares))
        reached[aim] = headline(logits / fitted["temperature"] + fitted["bias"], labels)
    for aim, metric in AIMS.items():
        assert reached[aim][metric] == max(by[metric] for by in reached.values())
    # The scores say nothing of the shares, so the plain argmax is near the best for equal ones, and far from the
    # most accurate.
    assert reached["accuracy"]["accuracy"] > reached["none"]["accuracy"] + 0.03


def test_folding_gives_the_logits_of_the_formula(run: Path) -> None:
    for load in (
        lambda: load_for_prediction(run)[0],
        lambda: load_for_training(run, ["akiec", "bcc", "bkl", "df", "mel", "nv", "vasc"], False, False).eval(),
    ):
        model, pixels = load(), torch.randn(3, 3, 64, 64, generator=torch.Generator().manual_seed(0))
        bias = np.linspace(-1, 1, 7).tolist()
        with torch.inference_mode():
            expected = model(pixels).logits / 2.5 + torch.tensor(bias)
            fold_decision(model, {"temperature": 2.5, "bias": bias})
            assert torch.allclose(model(pixels).logits, expected, atol=1e-5)


def test_plain_pipeline_decides_as_the_record_of_the_training_says(sample: Path, tmp_path: Path) -> None:
    from transformers import pipeline

    output = tmp_path / "run"
    in_process("train.py", "recipes/demo.yaml", "--dataset", sample, "--output_dir", output, "--num_train_epochs", 4,
            "--decision", "balanced")  # fmt: skip
    record = json.loads((output / "training.json").read_text())["decision"]
    assert record["aim"] == "balanced" and record["temperature"] != 1
    assert record["after"]["balanced_accuracy"] >= record["before"]["balanced_accuracy"]

    in_process("evaluate_model.py", "--model", output, "--dataset", sample, "--split", "validation", "--output",
            tmp_path / "measured")  # fmt: skip
    measured = json.loads((tmp_path / "measured" / "metrics.json").read_text())["metrics"]
    for name, value in record["after"].items():
        assert measured[name]["value"] == pytest.approx(value, abs=1e-6), name

    image = Image.effect_noise((80, 60), 60).convert("RGB")
    model = load_for_prediction(output)[0]
    answer = pipeline("image-classification", model=str(output))(image, top_k=7)
    assert {item["label"] for item in answer} == set(model.config.label2id)
    assert sum(item["score"] for item in answer) == pytest.approx(1, abs=1e-5)


def test_weights_are_stored_in_half_precision_and_computed_with_in_full(run: Path) -> None:
    stored = load_file(run / "model.safetensors")
    kinds = {name: weights.dtype for name, weights in stored.items()}
    assert {kind for name, kind in kinds.items() if "classifier" in name} == {torch.float32}
    assert {kind for name, kind in kinds.items() if "classifier" not in name} == {torch.float16}
    assert json.loads((run / "config.json").read_text())["dtype"] == "float32"
    assert AutoModelForImageClassification.from_pretrained(run).dtype == torch.float32


def test_what_half_precision_can_not_hold_stays_as_it_is(tmp_path: Path) -> None:
    weights = {"small": torch.tensor([0.1, 3.0]), "large": torch.tensor([1e6, 0.1]), "count": torch.tensor([3])}
    save_file(weights, tmp_path / "model.safetensors")
    store_in_half(tmp_path)
    stored = load_file(tmp_path / "model.safetensors")
    assert stored["small"].dtype == torch.float16 and torch.equal(stored["large"], weights["large"])
    assert torch.equal(stored["count"], weights["count"])
