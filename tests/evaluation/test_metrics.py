"""Metrics against tables that can be checked by hand and against scikit-learn, and their intervals."""

from __future__ import annotations

import evaluate
import numpy as np
import pytest
from sklearn import metrics as sk

from lesions.metrics.intervals import bootstrap_intervals, recall_intervals
from lesions.metrics.names import HEADLINE, PER_CLASS
from lesions.metrics.probabilities import decide, softmax
from lesions.metrics.scores import LesionMetrics, headline, weighted_metrics

# Truth a a a a b b c; decided a a a b b b a: recalls 3/4, 2/2, 0/1; precisions 3/4, 2/3, none for c.
PROBABILITIES = np.array(
    [
        [0.8, 0.1, 0.1],
        [0.7, 0.2, 0.1],
        [0.6, 0.2, 0.2],
        [0.3, 0.5, 0.2],
        [0.2, 0.7, 0.1],
        [0.1, 0.6, 0.3],
        [0.5, 0.1, 0.4],
    ]
)
TRUTH = np.array([0, 0, 0, 0, 1, 1, 2])


def measure(probabilities: np.ndarray, truth: np.ndarray) -> dict:
    return LesionMetrics().compute(predictions=probabilities, references=truth, names=HEADLINE + PER_CLASS)


def random_predictions(n: int = 300, classes: int = 5, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    truth = random.choice(classes, n, p=[0.05, 0.1, 0.2, 0.3, 0.35])
    probabilities = random.dirichlet(np.ones(classes), n)
    probabilities[np.arange(n), truth] += 0.3
    probabilities = probabilities.round(2) + 0.01  # rounded: there are ties
    return probabilities / probabilities.sum(axis=1, keepdims=True), truth


def test_by_hand() -> None:
    measured = measure(PROBABILITIES, TRUTH)
    assert measured["accuracy"] == pytest.approx(5 / 7)
    assert measured["balanced_accuracy"] == pytest.approx((3 / 4 + 1 + 0) / 3)
    assert measured["recall"] == pytest.approx([3 / 4, 1, 0])
    assert measured["precision"] == [pytest.approx(3 / 4), pytest.approx(2 / 3), None]
    assert measured["specificity"] == pytest.approx([2 / 3, 4 / 5, 1])
    assert measured["f1"] == pytest.approx([3 / 4, 4 / 5, 0])
    assert measured["f1_macro"] == pytest.approx((3 / 4 + 4 / 5) / 3)
    assert measured["f1_weighted"] == pytest.approx((4 * 3 / 4 + 2 * 4 / 5) / 7)
    # a: of the 4 x 3 pairs only (0.3, 0.5) is ranked wrong; c: 0.4 is above all.
    assert measured["roc_auc"] == pytest.approx([11 / 12, 1, 1])
    assert measured["brier"] == pytest.approx(((PROBABILITIES - np.eye(3)[TRUTH]) ** 2).sum() / 7)
    assert measured["log_loss"] == pytest.approx(-np.log([0.8, 0.7, 0.6, 0.3, 0.7, 0.6, 0.4]).mean())


def test_ece_by_hand() -> None:
    # Two images at 0.9, one right; one at 0.6, right: (2 |0.5 - 0.9| + 1 |1 - 0.6|) / 3.
    probabilities = np.array([[0.9, 0.1], [0.9, 0.1], [0.4, 0.6]])
    assert measure(probabilities, np.array([0, 1, 1]))["ece"] == pytest.approx((2 * 0.4 + 0.4) / 3)


def test_a_class_without_a_case_is_left_out_and_never_zero() -> None:
    measured = measure(PROBABILITIES[:6], TRUTH[:6])
    assert measured["recall"][2] is None and measured["roc_auc"][2] is None
    assert measured["balanced_accuracy"] == pytest.approx((3 / 4 + 1) / 2)
    single = measure(PROBABILITIES[:4], TRUTH[:4])
    assert single["roc_auc_macro"] is None and single["balanced_accuracy"] == pytest.approx(3 / 4)


def test_softmax_sums_to_one_and_survives_large_logits() -> None:
    probabilities = softmax(np.array([[1000.0, 0.0], [0.0, 0.0]], dtype=np.float32))
    assert probabilities.tolist() == [[1, 0], [0.5, 0.5]]


def test_only_what_is_asked_for_is_given() -> None:
    logits = np.log(PROBABILITIES)
    assert LesionMetrics().compute(predictions=PROBABILITIES, references=TRUTH, names=["f1"]) == {
        "f1": [pytest.approx(3 / 4), pytest.approx(4 / 5), 0]
    }
    assert headline(logits, TRUTH) == {name: pytest.approx(measure(PROBABILITIES, TRUTH)[name]) for name in HEADLINE}


def test_every_metric_equals_scikit_learns_under_weights() -> None:
    """Ties in the scores included. Where the highest probability is shared, scikit-learn has no say."""
    probabilities, truth = random_predictions()
    whole = decide(probabilities) >= 0
    probabilities, truth = probabilities[whole], truth[whole]
    decided, classes = probabilities.argmax(axis=1), np.arange(5)
    rows = np.random.default_rng(1).integers(0, 4, (4, len(truth))).astype(float)
    values = weighted_metrics(probabilities, truth, rows, HEADLINE + PER_CLASS)
    for k, weights in enumerate(rows):
        options = {"sample_weight": weights}
        classwise = {"average": None, "labels": classes, **options}
        against_rest = [(truth == c, probabilities[:, c]) for c in classes]
        precision = sk.precision_score(truth, decided, **classwise)
        expected = {
            "accuracy": sk.accuracy_score(truth, decided, **options),
            "balanced_accuracy": sk.balanced_accuracy_score(truth, decided, **options),
            "f1_macro": sk.f1_score(truth, decided, average="macro", **options),
            "f1_weighted": sk.f1_score(truth, decided, average="weighted", **options),
            "log_loss": sk.log_loss(truth, probabilities, **options),
            "brier": sk.brier_score_loss(truth, probabilities, labels=classes, scale_by_half=False, **options),
            "precision": precision,
            "recall": sk.recall_score(truth, decided, **classwise),
            "specificity": [sk.recall_score(truth != c, decided != c, **options) for c in classes],
            "f1": sk.f1_score(truth, decided, **classwise),
            "roc_auc": [sk.roc_auc_score(*scores, **options) for scores in against_rest],
            "average_precision": [sk.average_precision_score(*scores, **options) for scores in against_rest],
        }
        expected["roc_auc_macro"] = np.mean(expected["roc_auc"])
        expected["average_precision_macro"] = np.mean(expected["average_precision"])
        assert set(expected) == {*HEADLINE, *PER_CLASS} - {"ece"}  # which scikit-learn has not
        for name, value in expected.items():
            assert values[name][k] == pytest.approx(value, abs=1e-12), name


def test_intervals_hold_the_value_and_widen_with_images_of_one_lesion() -> None:
    probabilities, truth = random_predictions(n=200)
    probabilities, truth = np.repeat(probabilities, 4, axis=0), np.repeat(truth, 4)
    over_images = bootstrap_intervals(probabilities, truth, np.arange(800), resamples=500)
    over_lesions = bootstrap_intervals(probabilities, truth, np.repeat(np.arange(200), 4), resamples=500)
    for name, value in measure(probabilities, truth).items():
        if name in HEADLINE and name != "ece":  # ECE is biased upwards in resamples
            low, high = over_lesions[name]
            assert low < value < high
            # Four equal images of each lesion: as wide as with a quarter of the images, which is twice as wide.
            narrow_low, narrow_high = over_images[name]
            assert 1.6 < (high - low) / (narrow_high - narrow_low) < 2.5, name


def test_an_interval_is_the_percentiles_of_scikit_learns_values_on_repeated_images() -> None:
    probabilities, truth = random_predictions(n=60)
    times = np.random.default_rng(7).multinomial(60, np.full(60, 1 / 60), size=200)
    areas = []
    for row in times:
        repeated = np.repeat(np.arange(60), row)
        present = [c for c in range(5) if (truth[repeated] == c).any()]
        areas.append(np.mean([sk.roc_auc_score(truth[repeated] == c, probabilities[repeated][:, c]) for c in present]))
    found = bootstrap_intervals(probabilities, truth, np.arange(60), ["roc_auc_macro"], resamples=200, seed=7)
    assert found["roc_auc_macro"] == pytest.approx(np.quantile(areas, [0.025, 0.975]), abs=1e-12)


def test_intervals_are_the_same_every_time() -> None:
    probabilities, truth = random_predictions()
    first, second = (bootstrap_intervals(probabilities, truth, np.arange(300), resamples=300) for _ in range(2))
    assert first == second
    assert len(recall_intervals(probabilities, truth, np.arange(300))) == 5


def test_metrics_need_no_cache_on_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(evaluate.config, "HF_METRICS_CACHE", "/dev/null/cache")
    computed = LesionMetrics().compute(predictions=np.eye(2), references=np.arange(2), names=["accuracy"])
    assert computed == {"accuracy": 1}
