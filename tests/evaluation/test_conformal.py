"""Prediction sets, against tables that can be checked by hand, and what they guarantee."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from lesions.evaluation.limits.coverage import measure_prediction_sets
from lesions.metrics.conformal import choose_thresholds, guaranteed_share, prediction_sets
from lesions.metrics.measured import Measured

LABELS = ["mel", "nv"]


def of_melanoma(scores: list[float], lesions: list[object]) -> dict[float, dict]:
    """What is chosen for melanoma, by level, from images of melanoma with these probabilities."""
    probabilities = np.array([[score, 1 - score] for score in scores])
    chosen = choose_thresholds(probabilities, np.zeros(len(scores), dtype=int), np.array(lesions), LABELS)
    return {each["level"]: each["by_diagnosis"]["mel"] for each in chosen}


def test_thresholds_by_hand() -> None:
    # 19 lesions of one image: with the new lesion 20, of which 18 must reach the threshold at 90 %, 19 at 95 %.
    chosen = of_melanoma([0.05 * n for n in range(1, 20)], list(range(19)))
    assert chosen[0.9] == {"threshold": pytest.approx(0.1), "guarantee": 0.9, "n_lesions": 19}
    assert chosen[0.95] == {"threshold": pytest.approx(0.05), "guarantee": 0.95, "n_lesions": 19}


def test_images_of_one_lesion_share_its_weight() -> None:
    # 17 lesions far above, then half a lesion at 0.4, half another at 0.3: 18 lesions reach 0.3. As 21 images that
    # count alike, 90 % would be 19.8 of 22: the threshold would be 0.2.
    scores = [0.9] * 17 + [0.4, 0.2, 0.3, 0.1]
    lesions = [*range(17), "one", "one", "two", "two"]
    assert of_melanoma(scores, list(map(str, lesions)))[0.9]["threshold"] == 0.3


def test_few_lesions_guarantee_what_they_can() -> None:
    chosen = of_melanoma([0.9, 0.8, 0.3, 0.6], [1, 2, 3, 4])
    assert chosen[0.9] == chosen[0.95] == {"threshold": 0.3, "guarantee": 0.8, "n_lesions": 4}
    # No validation image is a nevus.
    chosen = choose_thresholds(np.array([[0.9, 0.1]]), np.array([0]), np.array(["one"]), LABELS)
    assert chosen[0]["by_diagnosis"]["nv"] == {"threshold": 0.0, "guarantee": None, "n_lesions": 0}


def test_an_answer_promises_no_more_than_the_lesions_guarantee() -> None:
    rows = {"mel": (0.8, 4), "nv": (0.95, 36), "df": (None, 0)}
    by_diagnosis = {label: {"guarantee": share, "n_lesions": count} for label, (share, count) in rows.items()}
    chosen = {"level": 0.95, "by_diagnosis": by_diagnosis}
    assert guaranteed_share(chosen) == pytest.approx(0.935)  # (4 x 0.8 + 36 x 0.95) / 40


def test_a_set_holds_what_reaches_its_threshold_and_is_never_empty() -> None:
    chosen = {"by_diagnosis": {"mel": {"threshold": 0.2}, "nv": {"threshold": 0.75}}}
    sets = prediction_sets(np.array([[0.1, 0.9], [0.2, 0.8], [0.4, 0.6], [0.199, 0.7]]), LABELS, chosen)
    assert sets.tolist() == [[False, True], [True, True], [True, True], [False, True]]


def test_measured_by_hand_over_lesions() -> None:
    thresholds = [{"level": 0.9, "by_diagnosis": {
        "mel": {"threshold": 0.3, "guarantee": 0.9, "n_lesions": 50},
        "nv": {"threshold": 0.5, "guarantee": 0.9, "n_lesions": 50},
    }}]  # fmt: skip
    # Sets: mel nv; nv; mel; nv. Lesion a is covered in one of two images, b and c in all of theirs.
    probabilities = np.array([[0.5, 0.5], [0.1, 0.9], [0.8, 0.2], [0.2, 0.8]])
    rows = pd.DataFrame({"image": list("1234"), "lesion_id": list("aabc"), "localization": list("xxyy")})
    (found,) = measure_prediction_sets(thresholds, Measured(probabilities, np.array([0, 0, 0, 1]), LABELS, rows), True)
    assert found["coverage"]["value"] == pytest.approx((1 / 2 + 1 + 1) / 3)
    assert found["mean_size"]["value"] == pytest.approx((3 / 2 + 1 + 1) / 3)
    assert found["single"]["value"] == pytest.approx((1 / 2 + 1 + 1) / 3)
    assert found["by_diagnosis"]["mel"]["coverage"]["value"] == pytest.approx((1 / 2 + 1) / 2)
    assert found["by_diagnosis"]["nv"] == {**thresholds[0]["by_diagnosis"]["nv"],
                                           "coverage": {"value": 1, "low": 1, "high": 1}}  # fmt: skip
    assert found["subgroups"]["site"]["x"]["coverage"]["value"] == 0.5
    assert found["subgroups"]["site"]["y"]["n_images"] == 2
    assert found["coverage"]["low"] < found["coverage"]["value"] < found["coverage"]["high"] and found["guaranteed"]


def test_the_guarantee_holds_for_new_lesions() -> None:
    random = np.random.default_rng(0)

    def sampled(lesions: int) -> tuple[np.ndarray, np.ndarray]:
        """Probabilities of melanoma of 1 to 6 images of each lesion, alike within a lesion."""
        n_images = random.integers(1, 7, lesions)
        lesion_of = np.repeat(np.arange(lesions), n_images)
        logits = random.normal(1, 1, lesions)[lesion_of] * (1 + (n_images[lesion_of] > 3)) + random.normal(
            0, 0.3, len(lesion_of)
        )
        scores = 1 / (1 + np.exp(-logits))
        return np.stack([scores, 1 - scores], axis=1), lesion_of

    reached = []
    for _ in range(200):
        probabilities, lesions = sampled(60)
        chosen = choose_thresholds(probabilities, np.zeros(len(lesions), dtype=int), lesions, LABELS)[0]
        new, lesion_of = sampled(200)
        covered = new[:, 0] >= chosen["by_diagnosis"]["mel"]["threshold"]
        reached.append((np.bincount(lesion_of, covered) / np.bincount(lesion_of)).mean())
    assert 0.895 < np.mean(reached) < 0.93
