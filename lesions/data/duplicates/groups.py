"""Which lesions are one: pairs of images that show the same skin, and the groups that follow from them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

# What `python -m lesions.data.duplicates` found in HAM10000: columns image_id, other_image_id, score.
PUBLISHED_PAIRS = Path(__file__).parent / "ham10000.csv"
HAM10000_IDS = ("ISIC_0024306", "ISIC_0034320")  # first and last; all ids between are HAM10000's too


def find_merges(table: pd.DataFrame, processes: int) -> pd.DataFrame:
    """All pairs of images in `table` that show one lesion under two ids, with the lesion and diagnosis of each.

    Those within HAM10000 come from the published list; every other image is searched for by content, which takes
    some minutes per ten thousand. Raises InputError that names every image that can't be decoded.
    """
    pairs = pd.read_csv(PUBLISHED_PAIRS)
    names = table["image_id"]
    unsearched = ~(names.between(*HAM10000_IDS) & (names.str.len() == len(HAM10000_IDS[0])))
    if unsearched.any():
        from lesions.data.duplicates.search import find_pairs  # pulls in OpenCV

        pairs = pd.concat([pairs, find_pairs(table, processes, unsearched)], ignore_index=True)
    return describe_pairs(pairs, table)


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


def group_lesions(table: pd.DataFrame, pairs: pd.DataFrame) -> pd.Series:
    """The group of each row: its lesion_id, or the first of the lesion_ids that `pairs` join to it.

    Pairs with two diagnoses join nothing: one of the two labels must be wrong, and a person must decide which.
    """
    lesions = pd.Index(sorted(table["lesion_id"].unique()))
    joined = pairs[pairs["dx"] == pairs["other_dx"]]
    first, second = lesions.get_indexer(joined["lesion_id"]), lesions.get_indexer(joined["other_lesion_id"])
    graph = coo_matrix(([1] * len(first), (first, second)), shape=(len(lesions), len(lesions)))
    component = pd.Series(connected_components(graph, directed=False)[1], index=lesions)
    leader = pd.Series(lesions, index=lesions).groupby(component).transform("first")
    return table["lesion_id"].map(leader)


def describe_merges(table: pd.DataFrame, pairs: pd.DataFrame, audit: str) -> dict[str, Any]:
    """What audit.json says: every pair with its evidence, and how many lie in two splits. `table` has the splits."""
    split = table.set_index("image_id")["split"]
    across = split.loc[pairs["image_id"]].to_numpy() != split.loc[pairs["other_image_id"]].to_numpy()
    return {
        "audit": audit,
        "lesions_merged": int(table["lesion_id"].nunique() - table["group_id"].nunique()),
        "pairs_across_splits": int(across.sum()),
        "pairs_with_two_diagnoses": int((pairs["dx"] != pairs["other_dx"]).sum()),
        "pairs": pairs.to_dict("records"),
    }
