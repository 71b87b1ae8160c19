"""Calibration, operating points, selective prediction and subgroups, against tables that can be checked by hand."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from scipy.special import log_softmax

from lesions.evaluation.calibration import describe_calibration, undo_decision
from lesions.evaluation.cohort import describe_cohort
from lesions.evaluation.limits.unfamiliar import measure_unfamiliar
from lesions.evaluation.operating_points import measure_operating_points
from lesions.evaluation.selective import measure_selective
from lesions.evaluation.subgroups import measure_gaps, measure_subgroups
from lesions.metrics.intervals import recall_intervals
from lesions.metrics.measured import Measured
from lesions.metrics.probabilities import softmax
from lesions.metrics.targets import is_case, score_of
from lesions.model.familiarity import Familiarity
from lesions.report.sections import cohort
from lesions.training.thresholds import choose_thresholds

LABELS = ["bcc", "mel", "nv"]


def of_melanoma(scores: list[float], cases: list[int], **columns: list) -> Measured:
    """Images with these probabilities of melanoma, the rest nevus; `cases` are the melanomas."""
    probabilities = np.array([[0.0, score, 1 - score] for score in scores])
    rows = pd.DataFrame({"image": [f"p{n}" for n in range(len(scores))], **columns})
    return Measured(probabilities, np.where(cases, 1, 2), LABELS, rows)


def test_malignant_points_follow_the_labels_and_what_nobody_knows_has_none() -> None:
    probabilities, truth = np.eye(4)[[0, 1, 2, 3]] * 0.7 + 0.075, np.arange(4)

    def malignant(labels: list[str], named: list[str] | None = None) -> list[list[str]]:
        points = choose_thresholds(probabilities, truth, labels, named)
        return [point["labels"] for point in points if (point["target"], point["level"]) == ("malignant", 0.9)]

    assert malignant(["AK", "BCC", "NV", "SCC"]) == [["AK", "BCC", "SCC"]] * 2
    assert malignant(["AK", "BCC", "NV", "UNK"]) == []
    assert malignant(["AK", "BCC", "NV", "UNK"], ["BCC", "UNK"]) == [["BCC", "UNK"]] * 2
    points = choose_thresholds(probabilities, truth, ["AK", "Melanoma", "NV", "UNK"])
    assert {point["target"] for point in points} == {"melanoma"} and points[0]["labels"] == ["Melanoma"]
    point = {"target": "malignant", "labels": ["AK", "SCC"]}
    assert score_of(point, probabilities, ["AK", "BCC", "NV", "SCC"]).tolist() == pytest.approx(
        [0.85, 0.15, 0.15, 0.85]
    )
    assert is_case(point, truth, ["AK", "BCC", "NV", "SCC"]).tolist() == [True, False, False, True]


def test_thresholds_by_hand() -> None:
    # Ten melanomas at 0.91, 0.82, ..., ten nevi at 0.05, 0.15, ..., so that they overlap.
    scores = [0.95 - 0.05 * n for n in range(10)] + [0.05 + 0.07 * n for n in range(10)]
    measured = of_melanoma(scores, [1] * 10 + [0] * 10)
    points = choose_thresholds(measured.probabilities, measured.truth, LABELS)
    chosen = {(point["target"], point["aim"], point["level"]): point for point in points}
    assert len(points) == 8
    # Nine of the ten melanomas lie at 0.55 and above, the tenth at 0.5; nevi at 0.61, 0.68 lie above both.
    point = chosen["melanoma", "sensitivity", 0.9]
    assert point["threshold"] == pytest.approx(0.55)
    assert point["validation"] == {"sensitivity": 0.9, "specificity": pytest.approx(0.8), "n_cases": 10, "n_images": 20}
    assert chosen["melanoma", "sensitivity", 0.95]["threshold"] == pytest.approx(0.5)
    # Specificity 0.9 lets one nevus through, 0.68: the lowest threshold that keeps the next, 0.61, out is 0.65.
    point = chosen["melanoma", "specificity", 0.9]
    assert point["threshold"] == pytest.approx(0.65) and point["validation"]["sensitivity"] == pytest.approx(0.7)
    # No basal cell carcinoma is here: malignant is melanoma.
    assert chosen["malignant", "specificity", 0.9]["threshold"] == point["threshold"]


def test_operating_points_by_hand_with_ppv_and_npv_at_the_stated_prevalence() -> None:
    measured = of_melanoma([0.9, 0.8, 0.3, 0.2, 0.7, 0.1, 0.1, 0.2, 0.3, 0.1], [1, 1, 1, 1, 0, 0, 0, 0, 0, 0])
    point = {"target": "melanoma", "aim": "sensitivity", "level": 0.9, "threshold": 0.25}
    (found,) = measure_operating_points([point], measured, prevalence=0.1)
    assert found["sensitivity"]["value"] == pytest.approx(3 / 4)
    assert found["specificity"]["value"] == pytest.approx(4 / 6)
    assert found["ppv"]["value"] == pytest.approx(0.1 * 0.75 / (0.1 * 0.75 + 0.9 * 2 / 6))
    assert found["npv"]["value"] == pytest.approx(0.9 * 4 / 6 / (0.9 * 4 / 6 + 0.1 * 0.25))
    assert found["sensitivity"]["low"] < 3 / 4 < found["sensitivity"]["high"] and found["n_cases"] == 4


def test_a_target_without_a_case_has_no_operating_point_and_no_value() -> None:
    nevi = of_melanoma([0.9, 0.1, 0.2], [0, 0, 0])
    assert choose_thresholds(nevi.probabilities, nevi.truth, LABELS) == []
    point = {"target": "melanoma", "aim": "sensitivity", "level": 0.9, "threshold": 0.5}
    (found,) = measure_operating_points([point], nevi)
    assert found["sensitivity"]["value"] is None and "reason" in found["sensitivity"]
    assert found["specificity"]["value"] == pytest.approx(2 / 3)


def test_a_threshold_above_every_score_is_a_number() -> None:
    """A specificity that no score reaches needs one above all, which a ROC curve calls infinite."""
    measured = of_melanoma([0.1, 0.2, 0.9], [1, 1, 0])
    for point in choose_thresholds(measured.probabilities, measured.truth, LABELS):
        assert np.isfinite(point["threshold"])
        if point["aim"] == "specificity":
            assert 0.9 < point["threshold"] < 0.91 and point["validation"]["specificity"] == 1


def test_undoing_the_decision_gives_the_probabilities_before_it() -> None:
    logits = np.random.default_rng(0).normal(0, 3, (50, 3))
    decision = {"temperature": 1.7, "bias": [0.5, -0.2, 0.1]}
    folded = softmax(logits / decision["temperature"] + np.array(decision["bias"]))
    assert undo_decision(folded, decision) == pytest.approx(np.exp(log_softmax(logits, axis=1)), abs=1e-9)


def test_reliability_bins_by_hand() -> None:
    measured = of_melanoma([0.9, 0.9, 0.4, 0.98], [1, 0, 0, 1])
    calibration = describe_calibration(measured, None)
    assert calibration["without_decision"] is None
    bins = {round(b["confidence"], 3): (b["n_images"], b["accuracy"]) for b in calibration["bins"]}
    assert bins == {0.6: (1, 1.0), 0.9: (2, 0.5), 0.98: (1, 1.0)}


def test_selective_prediction_by_hand() -> None:
    # The least certain five of ten are the wrong ones.
    measured = of_melanoma([0.9] * 5 + [0.6] * 5, [1, 1, 1, 1, 1, 0, 0, 0, 0, 0])
    found = {point["coverage"]: point for point in measure_selective(measured)}
    assert found[1.0]["accuracy"]["value"] == 0.5 and found[0.5]["accuracy"]["value"] == 1
    assert found[0.8]["accuracy"]["value"] == pytest.approx(5 / 8)
    assert (found[0.5]["n_images"], found[0.5]["n_classes"]) == (5, 1)


def test_subgroups_and_gaps_by_hand() -> None:
    # Of 40 women 10 are judged right, of 60 men 45; one man of unknown age.
    right = np.array([True] * 10 + [False] * 30 + [True] * 45 + [False] * 15)
    sex = ["female"] * 40 + ["male"] * 60
    age = np.array([50.0] * 99 + [np.nan])
    measured = of_melanoma(np.where(right, 0.9, 0.1).tolist(), [1] * 100, sex=sex, age=age, dx_type=["histo"] * 100)
    groups = measure_subgroups(measured)
    assert groups["sex"]["female"]["accuracy"]["value"] == 0.25 and groups["sex"]["male"]["n_images"] == 60
    assert set(groups["age"]) == {"40 to 59", "unknown"} and groups["confirmed by"]["histo"]["n_images"] == 100
    gaps = measure_gaps(measured)
    assert list(gaps) == ["sex"]  # one age band can't be compared; how it was confirmed is not about people
    assert gaps["sex"]["subgroup"] == "female" and gaps["sex"]["value"] == pytest.approx(0.75 - 0.25)
    assert 0.25 < gaps["sex"]["low"] < 0.5 < gaps["sex"]["high"] < 0.75


def test_cohort_and_recall_intervals() -> None:
    ages = [30.0, 40.0, 50.0, np.nan]
    measured = of_melanoma([0.9, 0.9, 0.1, 0.2], [1, 0, 1, 1], age=ages, sex=["male", "male", "", "female"])
    described = describe_cohort(measured)
    assert described["all"]["age"] == {"median": 40, "quartiles": [35, 45], "unknown": 1}
    assert described["by_diagnosis"]["mel"]["sex"] == {"male": 1, "unknown": 1, "female": 1}
    assert set(described["by_diagnosis"]) == {"mel", "nv"} and described["all"]["n_lesions"] is None
    intervals = recall_intervals(measured.probabilities, measured.truth, measured.lesions)
    assert intervals[0] == (None, None) and intervals[1][0] < 1 / 3 < intervals[1][1] and intervals[2] == (0, 0)


def test_diagnoses_that_are_called_as_other_rows_are() -> None:
    """ALL is a leukemia. Of its three images one is unlike the training images, of the other diagnosis both are."""
    labels, truth = ["all", "refused"], np.array([0, 0, 0, 1, 1])
    rows = pd.DataFrame({"image": list("abcde")})
    measured = Measured(np.array([[0.9, 0.1]] * 5), truth, labels, rows)
    predictor = SimpleNamespace(familiarity=Familiarity(np.eye(1, dtype=np.float32), np.zeros(1, np.float32)))
    answers = SimpleNamespace(features=np.array([[0], [0], [9], [9], [9]], np.float32))
    found = measure_unfamiliar({"accepted": 0.99, "threshold": 1.0}, predictor, answers, measured)
    assert found and found["refused"]["value"] == pytest.approx(3 / 5)
    assert found["by_diagnosis"]["all"]["value"] == pytest.approx(1 / 3)
    assert found["by_diagnosis"]["refused"]["value"] == 1
    assert found["accuracy"]["accepted"]["value"] == 1 and found["accuracy"]["refused"]["value"] == pytest.approx(1 / 3)
    shown = cohort({"cohort": describe_cohort(measured)})
    assert [row[:2] for row in shown.rows] == [["all", "5"], ["all", "3"], ["refused", "2"]]
