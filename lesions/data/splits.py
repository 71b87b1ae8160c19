"""Splits that never share a lesion and keep the share of every diagnosis."""

from __future__ import annotations

import hashlib
import warnings
from fractions import Fraction
from math import lcm

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from lesions.data.duplicates.groups import group_lesions
from lesions.dataset import SHARES
from lesions.faults import Faults

UNDIVIDED = ""  # the split of an image that has none yet
CHANGES = 10_000  # of the split of one or two parts of the data that are tried, to come closer to the shares
ADVICE = "add lesions of these diagnoses, or remove their rows"


def divide(table: pd.DataFrame, pairs: pd.DataFrame, seed: int, folds: int = 0, fold: int = 0) -> pd.DataFrame:
    """`table` with its columns `group_id` and `split` filled; rows that already have a split keep it.

    A group is a lesion or a patient, or several that `pairs` join. With `folds`, number `fold` of them is the
    validation split.
    Extra training images have no say in this: they get no group here, so that the same lesions of the source are in
    each split with and without them.
    """
    extra = table["split"] == "train"
    others = table[~extra]
    closed = pairs["image_id"].isin(others["image_id"]) & pairs["other_image_id"].isin(others["image_id"])
    table = table.assign(group_id=group_lesions(others, pairs[closed])).fillna({"group_id": UNDIVIDED})
    undivided = table["split"] == UNDIVIDED
    own = table[undivided]
    split = split_into_folds(own, seed, folds, fold) if folds else split_by_group(own, seed)
    return table.assign(split=table["split"].mask(undivided, split))


def split_by_group(table: pd.DataFrame, seed: int, shares: dict[str, float] = SHARES) -> pd.Series:
    """The split of each row of `table` (columns image_id, lesion_id, group_id, dx), as a Series of names.

    Each diagnosis is dealt separately: its groups are ordered by size, equal sizes in a random order that depends
    on `seed` and the group's id alone, and the splits take turns in proportion to their shares (Webster's
    method of apportionment). So every split gets its share of the lesions to within one lesion, and of the
    images too, since it gets its share of every size. The order of the rows does not matter.
    Groups of several diagnoses, such as patients, can't be dealt so: see `_stratify`.
    Raises InputError that names every diagnosis with fewer groups than there are splits.
    """
    faults = Faults()
    of_diagnosis = table.groupby("dx")["group_id"].nunique()
    for diagnosis, count in of_diagnosis[of_diagnosis < len(shares)].items():
        faults.add(f"diagnosis with fewer lesions than the {len(shares)} splits", f"{diagnosis}: {count}")
    faults.raise_if_any(f"{ADVICE}: every split must hold each diagnosis")
    if (table.groupby("group_id")["dx"].nunique() > 1).any():
        return _stratify(table, seed, shares)
    groups = table.groupby("group_id").agg(
        dx=("dx", "first"), lesions=("lesion_id", "nunique"), images=("image_id", "size")
    )
    groups["draw"] = [hashlib.sha256(f"{seed}:{group}".encode()).digest() for group in groups.index]
    groups = groups.sort_values(["dx", "lesions", "images", "draw"], ascending=[True, False, False, True])
    split_of: dict[str, str] = {}
    for _, members in groups.groupby("dx", sort=False):
        split_of.update(zip(members.index, _deal(len(members), shares), strict=True))
    return table["group_id"].map(split_of)


def _stratify(table: pd.DataFrame, seed: int, shares: dict[str, float]) -> pd.Series:
    """The split of each row where groups hold several diagnoses: scikit-learn's StratifiedGroupKFold makes small parts
    of like shares. They are dealt at random, and then one or two of them change their split as often as that brings
    the splits closer to their `shares` of every diagnosis. The order of the rows does not matter.

    Raises InputError that names every diagnosis that some split would lack.
    """
    rows = table.sort_values("image_id")
    part = _parts(rows, lcm(*(Fraction(share).limit_denominator(100).denominator for share in shares.values())), seed)
    counts = pd.crosstab(part, rows["dx"])
    of_diagnosis = (counts / counts.sum()).to_numpy()
    aims = np.array(list(shares.values()))

    def miss(way: NDArray[np.int64]) -> float:
        """How far all splits are off, as chi-square weighs it: the same distance weighs more in a small split."""
        reached = of_diagnosis.T @ (way[:, None] == np.arange(len(aims)))
        return float(((reached - aims) ** 2 / aims).sum())

    random = np.random.RandomState(seed)
    way = random.permutation(np.repeat(np.arange(len(aims)), apportion(len(counts), list(aims))))
    off = miss(way)
    for _ in range(CHANGES):
        other = way.copy()
        other[random.randint(len(way), size=2)] = random.randint(len(aims), size=2)
        if (now := miss(other)) < off:
            way, off = other, now
    split = part.map(dict(zip(counts.index, np.array(list(shares))[way], strict=True)))
    faults = Faults()
    for diagnosis, found in split.groupby(rows["dx"]).unique().items():
        faults.add("diagnosis that these splits would lack", *(f"{diagnosis}: {one}" for one in set(shares) - {*found}))
    faults.raise_if_any(f"{ADVICE}, or try another --seed: every split must hold each diagnosis")
    return split.reindex(table.index)


def _parts(rows: pd.DataFrame, count: int, seed: int) -> pd.Series:
    """A number below `count` for each row, the same for a group; a number for each group if there are too few rows."""
    from sklearn.model_selection import StratifiedGroupKFold

    if rows["dx"].value_counts().max() < count or rows["group_id"].nunique() <= count:
        return pd.Series(pd.factorize(rows["group_id"])[0], index=rows.index)
    part = pd.Series(0, index=rows.index)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # that a diagnosis has fewer images than there are parts
        folds = StratifiedGroupKFold(count, shuffle=True, random_state=seed)
        for number, (_, chosen) in enumerate(folds.split(rows, rows["dx"], rows["group_id"])):
            part.iloc[chosen] = number
    return part


def split_into_folds(table: pd.DataFrame, seed: int, folds: int, fold: int) -> pd.Series:
    """Cross-validation: the split of each row, where fold number `fold` (from 0) of `folds` is the validation split.

    The test split is that of `split_by_group`, held out of every fold. Each other group is in the validation split
    of exactly one fold. Raises InputError as `split_by_group` does.
    """
    split = split_by_group(table, seed)
    others = split != "test"
    names = {f"fold {number}": 1 / folds for number in range(folds)}
    chosen = split_by_group(table[others], seed, names) == f"fold {fold}"
    split[others] = chosen.map({True: "validation", False: "train"})
    return split


def _deal(count: int, shares: dict[str, float]) -> list[str]:
    quotas = apportion(count, list(shares.values()))
    names = np.repeat(list(shares), quotas)
    turns = np.concatenate([(np.arange(quota) + 0.5) / quota for quota in quotas])
    return names[np.argsort(turns, kind="stable")].tolist()


def apportion(count: int, shares: list[float]) -> list[int]:
    """`count` items in proportion to `shares`, at least one each: the largest remainders round up."""
    ideal = [count * share / sum(shares) for share in shares]
    quotas = [max(1, int(part)) for part in ideal]
    by_remainder = sorted(range(len(shares)), key=lambda i: quotas[i] - ideal[i])
    for i in by_remainder[: max(0, count - sum(quotas))]:
        quotas[i] += 1
    while sum(quotas) > count:  # the minimum of one each took more than `count`
        quotas[quotas.index(max(quotas))] -= 1
    return quotas


def share_table(table: pd.DataFrame) -> dict[str, dict[str, dict[str, float]]]:
    """Images, lesions and their shares by diagnosis and split: `{dx: {split: {...}}}`."""
    counts = table.groupby(["dx", "split"]).agg(images=("image_id", "size"), lesions=("lesion_id", "nunique"))
    totals = counts.groupby("split").sum()
    result: dict[str, dict[str, dict[str, float]]] = {}
    for (diagnosis, split), row in counts.iterrows():
        result.setdefault(diagnosis, {})[split] = {
            "images": int(row["images"]),
            "lesions": int(row["lesions"]),
            "share_of_images": round(float(row["images"] / totals.loc[split, "images"]), 6),
            "share_of_lesions": round(float(row["lesions"] / totals.loc[split, "lesions"]), 6),
        }
    return result
