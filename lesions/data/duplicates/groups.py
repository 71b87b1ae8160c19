"""Which lesions are one: pairs of images that show the same skin, and the groups that follow from them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

# What the search found in HAM10000, and in MILK10k against HAM10000 and itself: image_id, other_image_id, score.
# Every image of MILK10k that was searched is listed, also one without a pair. A score of 0: the images have too few
# keypoints, and a direct comparison of aligned or equal images found them.
PUBLISHED_PAIRS = Path(__file__).parent / "ham10000.csv"
MILK10K_PAIRS = Path(__file__).parent / "milk10k.csv"
HAM10000_IDS = ("ISIC_0024306", "ISIC_0034320")  # first and last; all ids between are HAM10000's too


def find_merges(table: pd.DataFrame, processes: int) -> pd.DataFrame:
    """All pairs of images in `table` that show one lesion under two ids, with the lesion and diagnosis of each.

    Those within HAM10000 and MILK10k come from the published lists; every other image is searched for by content,
    which takes some minutes per ten thousand. Raises InputError that names every image that can't be decoded.
    """
    milk10k = pd.read_csv(MILK10K_PAIRS)
    pairs = pd.concat([pd.read_csv(PUBLISHED_PAIRS), milk10k.dropna()], ignore_index=True)
    names = table["image_id"]
    ham10000 = names.between(*HAM10000_IDS) & (names.str.len() == len(HAM10000_IDS[0]))
    unsearched = ~(ham10000 | names.isin(milk10k["image_id"]))
    if unsearched.any():
        from lesions.data.duplicates.search import find_pairs  # pulls in OpenCV

        pairs = pd.concat([pairs, find_pairs(table, processes, unsearched)], ignore_index=True)
    return describe_pairs(pairs.astype({"score": int}), table)


def no_merges() -> pd.DataFrame:
    """What `find_merges` gives if there is nothing to merge."""
    return pd.DataFrame(
        columns=["image_id", "other_image_id", "score", "lesion_id", "dx", "other_lesion_id", "other_dx"]
    )


def describe_pairs(pairs: pd.DataFrame, table: pd.DataFrame) -> pd.DataFrame:
    """The `pairs` of which both images are in `table` under two lesion ids, with what `table` says of each."""
    of_image = table.set_index("image_id")[["lesion_id", "dx"]]
    pairs = pairs[pairs["image_id"].isin(of_image.index) & pairs["other_image_id"].isin(of_image.index)]
    for prefix in ("", "other_"):
        rows = of_image.loc[pairs[f"{prefix}image_id"]]
        pairs = pairs.assign(**{f"{prefix}{name}": rows[name].to_numpy() for name in rows})
    return pairs[pairs["lesion_id"] != pairs["other_lesion_id"]].reset_index(drop=True)


def joined(pairs: pd.DataFrame) -> pd.DataFrame:
    """Those of `pairs` that make their lesions one group.

    Pairs with two diagnoses do not: one of the two labels must be wrong, and a person must decide which.
    """
    return pairs[pairs["dx"] == pairs["other_dx"]]


def connect_lesions(table: pd.DataFrame, pairs: pd.DataFrame) -> pd.Series:
    """A number for each row of `table`, the same for all whose lesions `pairs` or a patient connect."""
    names = pd.Index(sorted(table["lesion_id"].unique()))
    of_patient = table.groupby("patient_id")["lesion_id"].transform("first")
    first = names.get_indexer([*table["lesion_id"], *pairs["lesion_id"]])
    second = names.get_indexer([*of_patient, *pairs["other_lesion_id"]])
    known = (first >= 0) & (second >= 0)
    edges = (np.ones(known.sum()), (first[known], second[known]))
    number = connected_components(coo_matrix(edges, shape=(len(names), len(names))), directed=False)[1]
    return table["lesion_id"].map(pd.Series(number, index=names))


def group_lesions(table: pd.DataFrame, pairs: pd.DataFrame) -> pd.Series:
    """The group of each row: its patient_id, or the first of the patient_ids that `pairs` or a lesion join to it.

    Without patients, the lesion_id stands in the column patient_id.
    """
    return table["patient_id"].groupby(connect_lesions(table, joined(pairs))).transform("min")


def describe_merges(table: pd.DataFrame, pairs: pd.DataFrame, audit: str) -> dict[str, Any]:
    """What audit.json says: every pair with its score, and how many of those that are left are in two splits.

    `table` has the splits and the groups; it may lack images of `pairs`, which were left out.
    """
    split = table.set_index("image_id")["split"]
    kept = pairs[pairs["image_id"].isin(split.index) & pairs["other_image_id"].isin(split.index)]
    across = split.loc[kept["image_id"]].to_numpy() != split.loc[kept["other_image_id"]].to_numpy()
    return {
        "audit": audit,
        "lesions_merged": group_lesions(table, no_merges()).nunique() - table["group_id"].nunique(),
        "pairs_across_splits": int(across.sum()),
        "pairs_with_two_diagnoses": int((kept["dx"] != kept["other_dx"]).sum()),
        "pairs": pairs.to_dict("records"),
    }
