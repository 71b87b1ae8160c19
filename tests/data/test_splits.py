"""The split: whole lesions, every diagnosis in its share, nothing that depends on the order of rows."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from lesions.data.splits import apportion, split_by_group, split_into_folds
from lesions.dataset import SHARES, fingerprint
from lesions.faults import InputError


def lesions_like_ham10000(seed: int) -> pd.DataFrame:
    """Rows with HAM10000's numbers of lesions a diagnosis, one to six images each, a few lesions merged."""
    random = np.random.RandomState(seed)
    counts = {"akiec": 228, "bcc": 327, "bkl": 727, "df": 73, "mel": 614, "nv": 5403, "vasc": 98}
    rows = []
    for dx, count in counts.items():
        for number in range(count):
            group = f"{dx}{number - (number % 50 == 1)}"
            for image in range(random.choice([1, 1, 1, 2, 2, 3, 6])):
                rows.append((f"{dx}{number}_{image}", f"{dx}{number}", group, dx))
    return pd.DataFrame(rows, columns=["image_id", "lesion_id", "group_id", "dx"])


@pytest.mark.parametrize("seed", [0, 1, 42])
def test_groups_stay_whole_and_shares_hold(seed: int) -> None:
    table = lesions_like_ham10000(seed)
    table["split"] = split_by_group(table, seed)
    assert (table.groupby("group_id")["split"].nunique() == 1).all()

    for dx, rows in table.groupby("dx"):
        lesions = rows.groupby("split")["lesion_id"].nunique()
        ideal = pd.Series(SHARES) * rows["lesion_id"].nunique()
        # Merged groups hold two lesions: off by at most one group.
        assert (lesions - ideal).abs().max() <= 2, dx
    shares = table.groupby("split")["dx"].value_counts(normalize=True).unstack()
    assert (shares.max() - shares.min()).max() < 0.01


def test_single_lesions_are_apportioned_exactly() -> None:
    table = pd.DataFrame({"image_id": [f"i{n}" for n in range(20)], "dx": "nv"})
    table["lesion_id"] = table["group_id"] = table["image_id"]
    assert split_by_group(table, 0).value_counts().to_dict() == {"train": 14, "validation": 3, "test": 3}


def test_depends_on_the_seed_and_not_on_the_order() -> None:
    table = lesions_like_ham10000(3)
    shuffled = table.sample(frac=1, random_state=0)
    first = split_by_group(table, 42)
    assert (split_by_group(shuffled, 42).sort_index() == first).all()
    assert (split_by_group(table, 43) != first).any()
    assert fingerprint(table.assign(split=first)) == fingerprint(shuffled.assign(split=first))
    assert fingerprint(table.assign(split=first)) != fingerprint(table.assign(split=first.shift(fill_value="test")))


@pytest.mark.parametrize(
    ("count", "expected"),
    [(3, [1, 1, 1]), (4, [2, 1, 1]), (7, [5, 1, 1]), (10, [7, 2, 1]), (20, [14, 3, 3]), (100, [70, 15, 15])],
)
def test_apportion(count: int, expected: list[int]) -> None:
    quotas = apportion(count, [0.7, 0.15, 0.15])
    assert sum(quotas) == count and sorted(quotas) == sorted(expected)


def test_too_few_lesions_are_named() -> None:
    table = lesions_like_ham10000(0)
    table = table[(table["dx"] != "df") | (table["lesion_id"].isin(["df3", "df4"]))]
    with pytest.raises(InputError, match="df: 2"):
        split_by_group(table, 0)


def patients(seed: int, count: int) -> pd.DataFrame:
    """Rows of patients with one to six lesions each, of three diagnoses; each patient tends to one of them."""
    random = np.random.RandomState(seed)
    rows = []
    for patient in range(count):
        usual = random.choice(["mel", "nv", "bkl"], p=[0.15, 0.65, 0.2])
        for lesion in range(random.randint(1, 7)):
            dx = usual if random.uniform() < 0.6 else random.choice(["mel", "nv", "bkl"])
            rows += [(f"{patient}_{lesion}_{image}", f"{patient}_{lesion}", f"P{patient}", dx) for image in range(2)]
    return pd.DataFrame(rows, columns=["image_id", "lesion_id", "group_id", "dx"])


@pytest.mark.parametrize(("count", "off"), [(14, 0.2), (40, 0.08), (150, 0.03)])
def test_patients_of_several_diagnoses_stay_whole_and_shares_come_close(count: int, off: float) -> None:
    table = patients(1, count)
    table["split"] = split_by_group(table, 42)
    assert (table.groupby("group_id")["split"].nunique() == 1).all()
    reached = table.groupby("dx")["split"].value_counts(normalize=True).unstack()
    assert (reached - pd.Series(SHARES)).abs().max().max() < off
    shuffled = table.sample(frac=1, random_state=0)
    assert (split_by_group(shuffled, 42).sort_index() == table["split"]).all()
    assert count == 14 or (split_by_group(table, 43) != table["split"]).any()  # few patients have one best split


def test_patients_in_folds_are_validated_once() -> None:
    table = patients(2, 60)
    splits = [split_into_folds(table, 1, 4, fold) for fold in range(4)]
    assert all((split.eq("test") == splits[0].eq("test")).all() for split in splits)
    validated = sum(split.eq("validation").astype(int) for split in splits)
    assert (validated == splits[0].ne("test")).all()
    assert all(split.groupby(table["group_id"]).nunique().eq(1).all() for split in splits)


def test_a_diagnosis_of_too_few_patients_is_named() -> None:
    table = patients(1, 40)
    table.loc[table["group_id"].isin(["P0", "P1"]).to_numpy() & table["lesion_id"].str.endswith("_0"), "dx"] = "df"
    with pytest.raises(InputError, match="df: 2"):
        split_by_group(table, 0)


def test_a_diagnosis_that_a_split_would_lack_is_named() -> None:
    """Four patients, each without one of four diagnoses: wherever one is a split alone, that one is lacking."""
    rows = [(f"{patient}{dx}", f"{patient}{dx}", patient, dx) for patient in "abcd" for dx in "abcd" if patient != dx]
    table = pd.DataFrame(rows, columns=["image_id", "lesion_id", "group_id", "dx"])
    with pytest.raises(InputError, match=r"these splits would lack \(\d\):\n  [abcd]: (validation|test)"):
        split_by_group(table, 0)
