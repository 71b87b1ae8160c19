"""What audit.json and the terminal say of a data set: its counts and shares, and every image that was left out."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import pandas as pd

from lesions.data.left_out import LeftOut
from lesions.data.options import Options
from lesions.data.sources.source import Source
from lesions.data.splits import share_table
from lesions.dataset import SHARES, fingerprint


def describe(
    options: Options, source: Source, classes: Sequence[str], table: pd.DataFrame, left_out: Sequence[LeftOut]
) -> dict[str, Any]:
    """The content of audit.json, except for the duplicates. `table` has its groups and splits."""
    own = table[table["split"].isin(SHARES)]
    return {
        "source": source.describe(),
        "classes": classes,
        "n_images": len(own),
        "n_lesions": int(own["lesion_id"].nunique()),
        "n_groups": int(own["group_id"].nunique()),
        "image_size": options.image_size,
        "missing_ages": int(own["age"].isna().sum()),
        "unknown_sex": int((own["sex"] == "unknown").sum()),
        "no_lesion_id": int((own["lesion_id"] == own["image_id"]).sum()),  # each a lesion of its own
        "skipped_images": _records(left_out, extra_test=""),
        "split": {
            "seed": options.seed,
            "shares": SHARES,
            "folds": {"folds": options.folds, "fold": options.fold} if options.folds else None,
            "classes": share_table(own),
        },
        "extra_tests": {
            test.name: {
                "n_images": len(rows := table[table["split"] == test.name]),
                "n_lesions": int(rows["lesion_id"].nunique()),
                "fingerprint": fingerprint(rows),
                "left_out": _records(left_out, extra_test=test.name),
            }
            for test in options.extra_test
        },
        "fingerprint": fingerprint(own),
    }


def _records(left_out: Iterable[LeftOut], extra_test: str) -> list[dict[str, str]]:
    return [{"image_id": i.image_id, "reason": i.reason} for i in left_out if i.extra_test == extra_test]


def summary(audit: dict[str, Any]) -> Iterator[str]:
    """The lines that the terminal shows of `audit` (the content of audit.json)."""
    names = list(audit["split"]["shares"])
    yield f"\n{audit['n_images']} images of {audit['n_lesions']} lesions; images (lesions) by split:"
    yield "        " + "".join(f"{name:>16}" for name in names)
    for dx, row in audit["split"]["classes"].items():
        yield f"{dx:<8}" + "".join(f"{row[name]['images']:>8} {'({lesions})'.format(**row[name]):>7}" for name in names)
    for name, test in audit["extra_tests"].items():
        out = len(test["left_out"])
        yield f"{name}: {test['n_images']} images; {out} left out because their lesions are in the data set"
    if audit["no_lesion_id"]:
        yield f"{audit['no_lesion_id']} images have no lesion id and count as separate lesions; see --group_column"
    duplicates = audit["duplicates"]
    if duplicates["lesions_merged"]:
        yield f"{len(duplicates['pairs'])} pairs of images show one lesion under two ids; these are kept together"
    if duplicates["pairs_across_splits"]:
        yield f"{duplicates['pairs_across_splits']} pairs of images of one lesion lie in two splits; see audit.json"
    if audit["skipped_images"]:
        yield f"{len(audit['skipped_images'])} unreadable images were left out; see audit.json"
    yield f"fingerprint {audit['fingerprint']}"
