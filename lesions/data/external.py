"""External test sets: images of another origin that a model is measured on, and that must not lie in its own data."""

from __future__ import annotations

import re
from argparse import ArgumentTypeError
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from lesions.data.metadata import Columns, find_metadata, read_metadata
from lesions.dataset import SHARES
from lesions.faults import Faults, InputError
from lesions.images import find_images


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
                f"{text!r} is not NAME=DIR or NAME=DIR:GROUND_TRUTH.csv, NAME a word and none of {[*SHARES]}"
            )
        return cls(name, Path(folder), Path(truth) if truth else None)


def read_external_test(
    test: ExternalTest, classes: Sequence[str], faults: Faults
) -> tuple[pd.DataFrame, dict[str, Path]]:
    """The table of the set, as `read_metadata` gives it, and its images; notes every fault in `faults`.

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
    images = find_images(test.folder, faults, wanted=set(table["image_id"]))
    faults.add(f"image of {test.name} missing", *(name for name in table["image_id"] if name not in images))
    return table.assign(split=test.name), images


def known_by_id(external: pd.DataFrame, own: pd.DataFrame) -> dict[str, str]:
    """The images of `external` whose image_id or lesion_id is one of the data set's `own`, each with the reason."""
    known = {}
    for column in ("lesion_id", "image_id"):  # the image's own id is the better reason: it comes last
        for row in external[external[column].isin(set(own[column]))].itertuples():
            known[row.image_id] = f"{column} {getattr(row, column)} is in the data set"
    return known


def known_by_content(own: pd.Series, pairs: pd.DataFrame) -> dict[str, str]:
    """The external images that show a lesion of the data set, each with the reason.

    `own` says of each image_id whether it is the data set's own; `pairs` are those of `find_merges`.
    """
    known = {}
    for one, other in (("image_id", "other_image_id"), ("other_image_id", "image_id")):
        crossing = pairs[~own.loc[pairs[one]].to_numpy() & own.loc[pairs[other]].to_numpy()]
        for row in crossing.to_dict("records"):
            known[row[one]] = f"shows the lesion of {row[other]} (score {row['score']})"
    return known
