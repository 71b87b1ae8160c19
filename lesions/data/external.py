"""External test sets: images of another origin to evaluate a model on, which must not be in its own data."""

from __future__ import annotations

import re
from argparse import ArgumentTypeError
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from lesions.data.left_out import LeftOut
from lesions.data.metadata import Columns, add_paths, find_metadata, read_metadata
from lesions.data.splits import UNDIVIDED
from lesions.dataset import SHARES
from lesions.faults import Faults, InputError


@dataclass(frozen=True)
class ExternalTest:
    """An external test set as `--extra_test` names it."""

    name: str
    folder: Path
    ground_truth: Path | None

    @classmethod
    def parse(cls, text: str) -> ExternalTest:
        """From `NAME=DIR` or `NAME=DIR:GROUND_TRUTH.csv`. Raises ArgumentTypeError."""
        name, _, place = text.partition("=")
        folder, _, truth = place.rpartition(":") if place.endswith(".csv") else (place, "", "")
        if not re.fullmatch(r"\w+", name) or name in SHARES or not folder:
            raise ArgumentTypeError(
                f"{text!r} is not NAME=DIR or NAME=DIR:GROUND_TRUTH.csv, where NAME is a word and none of {[*SHARES]}"
            )
        return cls(name, Path(folder), Path(truth) if truth else None)


def read_external_test(test: ExternalTest, classes: Sequence[str], faults: Faults) -> pd.DataFrame:
    """The table of the set, as `read_metadata` gives it, with `split` and the `path` of each image; notes every fault
    in `faults`.

    The ground truth is one-hot, as ISIC's (`image,MEL,NV,...`), or a table `image_id,dx`; without one, HAM10000's
    metadata file in the folder.
    """
    if not test.folder.is_dir():
        raise InputError(f"there is no folder {test.folder}: --extra_test {test.name}=DIR:GROUND_TRUTH.csv")
    truth = test.ground_truth or find_metadata(test.folder)
    try:
        header = pd.read_csv(truth, nrows=0, encoding="utf-8-sig")
    except (OSError, ValueError) as error:
        raise InputError(f"the ground truth {truth} can't be read as CSV: {error}") from error
    table = read_metadata(truth, faults, Columns(image="image" if "image" in header else "image_id"), classes=None)
    unknown = table[~table["dx"].isin(classes)]
    faults.add(
        f"diagnosis in {test.name} that the training data lack (they have {', '.join(classes)})",
        *(unknown["image_id"] + ": " + unknown["dx"]),
    )
    table = add_paths(table, test.folder, faults, f"image of {test.name} missing")
    return table.assign(split=test.name)


def leave_out_by_id(external: pd.DataFrame, own: pd.DataFrame) -> tuple[pd.DataFrame, list[LeftOut]]:
    """`external` without the images whose image_id or lesion_id is one of the data set's `own`, and these."""
    reasons = {}
    for column in ("lesion_id", "image_id"):  # the image's own id is the better reason: it comes last
        for row in external[external[column].isin(set(own[column]))].itertuples():
            reasons[row.image_id] = f"{column} {getattr(row, column)} is in the data set"
    return _leave_out(external, reasons)


def leave_out_by_content(table: pd.DataFrame, pairs: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame, list[LeftOut]]:
    """`table` and `pairs` without the external images that show a lesion of the data set, and these.

    The data set's own images are those without a split; `pairs` are those of `find_merges`.
    """
    own = table.set_index("image_id")["split"] == UNDIVIDED
    reasons = {}
    for one, other in (("image_id", "other_image_id"), ("other_image_id", "image_id")):
        crossing = pairs[~own.loc[pairs[one]].to_numpy() & own.loc[pairs[other]].to_numpy()]
        for row in crossing.to_dict("records"):
            reasons[row[one]] = f"shows the lesion of {row[other]} (score {row['score']})"
    table, left_out = _leave_out(table, reasons)
    gone = pairs["image_id"].isin(reasons) | pairs["other_image_id"].isin(reasons)
    return table, pairs[~gone].reset_index(drop=True), left_out


def _leave_out(table: pd.DataFrame, reasons: dict[str, str]) -> tuple[pd.DataFrame, list[LeftOut]]:
    gone = table["image_id"].isin(reasons)
    left_out = [LeftOut(row.image_id, reasons[row.image_id], row.split) for row in table[gone].itertuples()]
    return table[~gone].reset_index(drop=True), left_out
