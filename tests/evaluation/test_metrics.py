"""Metrics against tables that can be checked by hand, and the intervals against scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn import metrics as sk

from lesions.metrics.intervals import bootstrap_intervals, weighted_metrics
from lesions.metrics.probabilities import decide, softmax
from lesions.metrics.scores import HEADLINE, LesionMetrics, expected_calibration_error, measure

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


def random_predictions(n: int = 300, classes: int = 5, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    truth = random.choice(classes, n, p=[0.05, 0.1, 0.2, 0.3, 0.35])
    probabilities = random.dirichlet(np.ones(classes), n)
    probabilities[np.arange(n), truth] += 0.3
    probabilities = probabilities.round(2) + 0.01  # rounded: there are ties
    return probabilities / probabilities.sum(axis=1, keepdims=True), truth


def test_by_hand() -> None:
    measured = LesionMetrics().compute(predictions=PROBABILITIES, references=TRUTH)
    per_class = measured["per_class"]
    assert measured["confusion"] == [[3, 1, 0], [0, 2, 0], [1, 0, 0]]
    assert measured["accuracy"] == pytest.approx(5 / 7)
    assert measured["balanced_accuracy"] == pytest.approx((3 / 4 + 1 + 0) / 3)
    assert per_class["precision"] == [pytest.approx(3 / 4), pytest.approx(2 / 3), None]
    assert per_class["specificity"] == pytest.approx([2 / 3, 4 / 5, 1])
    assert per_class["f1"] == pytest.approx([3 / 4, 4 / 5, 0])
    assert measured["f1_macro"] == pytest.approx((3 / 4 + 4 / 5) / 3)
    assert measured["f1_weighted"] == pytest.approx((4 * 3 / 4 + 2 * 4 / 5) / 7)
    # a: of the 4 x 3 pairs only (0.3, 0.5) is ranked wrong; c: 0.4 is above all.
    assert per_class["roc_auc"] == pytest.approx([11 / 12, 1, 1])
    assert measured["brier"] == pytest.approx(((PROBABILITIES - np.eye(3)[TRUTH]) ** 2).sum() / 7)
    assert measured["log_loss"] == pytest.approx(-np.log([0.8, 0.7, 0.6, 0.3, 0.7, 0.6, 0.4]).mean())


def test_ece_by_hand() -> None:
    # Two images at 0.9, one right; one at 0.6, right: (2 |0.5 - 0.9| + 1 |1 - 0.6|) / 3.
    probabilities = np.array([[0.9, 0.1], [0.9, 0.1], [0.4, 0.6]])
    assert expected_calibration_error(probabilities, np.array([0, 1, 1])) == pytest.approx((2 * 0.4 + 0.4) / 3)


def test_a_class_without_a_case_is_left_out_and_never_zero() -> None:
    measured = measure(PROBABILITIES[:6], TRUTH[:6])
    assert measured["per_class"]["recall"][2] is None and measured["per_class"]["roc_auc"][2] is None
    assert measured["balanced_accuracy"] == pytest.approx((3 / 4 + 1) / 2)
    single = measure(PROBABILITIES[:4], TRUTH[:4])
    assert single["roc_auc_macro"] is None and single["balanced_accuracy"] == pytest.approx(3 / 4)


def test_softmax_sums_to_one_and_survives_large_logits() -> None:
    probabilities = softmax(np.array([[1000.0, 0.0], [0.0, 0.0]], dtype=np.float32))
    assert probabilities.tolist() == [[1, 0], [0.5, 0.5]]


def test_weighted_metrics_equal_the_metric_on_repeated_images() -> None:
    """An image of weight 3 counts as three images, in every metric, ties and all."""
    probabilities, truth = random_predictions()
    weights = np.random.default_rng(1).integers(0, 4, (5, len(truth)))
    values = weighted_metrics(probabilities, truth, weights.astype(float))
    for number, row in enumerate(weights):
        repeated = np.repeat(np.arange(len(truth)), row)
        measured = measure(probabilities[repeated], truth[repeated])
        for name in HEADLINE:
            assert values[name][number] == pytest.approx(measured[name], abs=1e-10), name


def test_headline_metrics_equal_scikit_learn() -> None:
    probabilities, truth = random_predictions(seed=2)
    whole = decide(probabilities) >= 0  # where the highest probability is shared, scikit-learn has no say
    probabilities, truth = probabilities[whole], truth[whole]
    measured, decided = measure(probabilities, truth), probabilities.argmax(axis=1)
    assert measured["balanced_accuracy"] == pytest.approx(sk.balanced_accuracy_score(truth, decided), abs=1e-12)
    assert measured["f1_macro"] == pytest.approx(sk.f1_score(truth, decided, average="macro"), abs=1e-12)
    area = sk.roc_auc_score(truth, probabilities, multi_class="ovr", average="macro")
    assert measured["roc_auc_macro"] == pytest.approx(area, abs=1e-12)


def test_intervals_hold_the_value_and_widen_with_images_of_one_lesion() -> None:
    probabilities, truth = random_predictions(n=200)
    probabilities, truth = np.repeat(probabilities, 4, axis=0), np.repeat(truth, 4)
    over_images = bootstrap_intervals(probabilities, truth, np.arange(800), resamples=500)
    over_lesions = bootstrap_intervals(probabilities, truth, np.repeat(np.arange(200), 4), resamples=500)
    for name, value in measure(probabilities, truth).items():
        if name in HEADLINE and name != "ece":  # ECE is biased upwards in resamples
            low, high = over_lesions[name]
            assert low < value < high
            # Four equal images a lesion: the width of the interval is that of a quarter of the images, twice.
            narrow_low, narrow_high = over_images[name]
            assert 1.6 < (high - low) / (narrow_high - narrow_low) < 2.5, name


def test_intervals_are_the_same_every_time() -> None:
    probabilities, truth = random_predictions()
    first, second = (bootstrap_intervals(probabilities, truth, np.arange(300), resamples=300) for _ in range(2))
    assert first == second
