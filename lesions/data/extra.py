"""Extra sets: images of another origin, to evaluate on (`--extra_test`) or to train on as well (`--extra_train`).

No lesion of an extra test set may be in the data set, and no extra training image may show a lesion of the validation
split, of the test split or of an extra test set.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence

import pandas as pd

from lesions.data.duplicates.groups import connect_lesions, joined
from lesions.data.left_out import COPY, LeftOut
from lesions.data.metadata import add_paths, read_metadata
from lesions.data.options import FORM, ExtraSet, Options
from lesions.data.splits import UNDIVIDED
from lesions.data.table_files import Columns, find_metadata, has_column, is_archive_table
from lesions.faults import Faults, InputError
from lesions.output.plain_text import in_short


def read_extra(
    extra: ExtraSet, split: str, classes: Sequence[str], options: Options, faults: Faults, left_out: list[LeftOut]
) -> pd.DataFrame:
    """The table of the set, as `read_metadata` gives it, with `split`, `source` and the `path` of each image; notes
    every fault in `faults`.

    Each of its tables is in its folder, or anywhere else; without one, it is the metadata file there. Images that are
    not dermoscopic or have none of the `classes` go to `left_out`, except that a diagnosis outside the classes is a
    fault in a test set whose table is not the ISIC Archive's: it is more likely a matter of spelling, unless
    `options` say to skip these. Patients are known if the set has the same `--group_column` as the source.
    """
    if not extra.folder.is_dir():
        raise InputError(f"the folder {extra.folder} does not exist; write {FORM}")
    tables = [extra.folder / table if (extra.folder / table).is_file() else table for table in extra.tables]
    tables = tables or [find_metadata(extra.folder)]
    columns = Columns()
    if options.group_column and has_column(tables, options.group_column):
        columns = Columns(group=options.group_column)
    if split == "train" or options.on_other_diagnosis == "skip" or is_archive_table(tables[0]):
        table = read_metadata(tables, faults, columns, classes, left_out, extra.name)
    else:
        table = read_metadata(tables, faults, columns, classes=None)
        unknown = table[~table["dx"].isin(classes) & (table["dx"] != "")]
        faults.add(
            f"diagnosis in {extra.name} that the training data lack (they have {in_short(classes)}; "
            "--on_other_diagnosis skip leaves such images out)",
            *(unknown["image_id"] + ": " + unknown["dx"]),
        )
    if extra.share < 1:
        table = table[table["patient_id"].map(_position) < extra.share]
    if table.empty:
        raise InputError(f"{extra.text}: no lesion is in this share of the set; give a larger one")
    table = add_paths(table, extra.folder, faults, f"image of {extra.name} missing")
    return table.assign(split=split, source=extra.name)


def _position(patient: str) -> float:
    """Where in [0, 1) a patient is: a number that depends on the id alone, so that a share is the same every time."""
    return int.from_bytes(hashlib.sha256(patient.encode()).digest()[:8]) / 2**64


def leave_out_known(rows: pd.DataFrame, table: pd.DataFrame, left_out: list[LeftOut]) -> pd.DataFrame:
    """`rows` of an extra set without the images that `table` has already: by the id of the image and, in a test set,
    also of the lesion and patient. A training set may hold what is in a test set, until `leave_out_leaks` decides."""
    training = (rows["split"] == "train").all()
    known = table[table["split"].isin([UNDIVIDED, "train"])] if training else table
    reasons = {}
    for column in ["image_id"] if training else ["patient_id", "lesion_id", "image_id"]:  # the better reason is last
        for row in rows[rows[column].isin(set(known[column]))].itertuples():
            reasons[row.image_id] = f"{column} {getattr(row, column)} is in the data set"
    return _leave_out(rows, rows["image_id"].isin(reasons), reasons, left_out)


def leave_out_of_tests(table: pd.DataFrame, pairs: pd.DataFrame, left_out: list[LeftOut]) -> pd.DataFrame:
    """`table` without the images of extra test sets that show a lesion of the source, according to `pairs`."""
    own = set(table.loc[table["split"] == UNDIVIDED, "image_id"])
    reasons = {}
    for one, other in (("image_id", "other_image_id"), ("other_image_id", "image_id")):
        for row in pairs[pairs[other].isin(own)].to_dict("records"):
            reasons[row[one]] = f"shows the lesion of {row[other]} (score {row['score']})"
    tested = ~table["split"].isin([UNDIVIDED, "train"])
    return _leave_out(table, tested & table["image_id"].isin(reasons), reasons, left_out)


def leave_out_leaks(table: pd.DataFrame, pairs: pd.DataFrame, left_out: list[LeftOut]) -> pd.DataFrame:
    """`table`, now with all splits, without the extra training images that show a lesion, or a patient, of another
    split, directly or through other images. The extra images that stay take the group of the training lesion that
    they show.

    Two images of one lesion are a leak whatever their diagnoses; only those of one diagnosis make a group.
    """
    extra = table["group_id"] == UNDIVIDED
    lesion = connect_lesions(table, pairs)
    closed = table[table["split"] != "train"].assign(lesion=lesion).drop_duplicates("lesion").set_index("lesion")
    leaks = extra & lesion.isin(closed.index)
    shown = closed.loc[lesion[leaks], ["image_id", "split"]].itertuples(index=False)
    reasons = {
        name: f"shows the lesion of {other} ({split})"
        for name, (other, split) in zip(table.loc[leaks, "image_id"], shown, strict=True)
    }
    group = connect_lesions(table, joined(pairs))
    own = table[~extra].groupby(group)["group_id"].min()
    first = table.groupby(group)["patient_id"].min()
    groups = table["group_id"].mask(extra, group.map(own).fillna(group.map(first)))
    return _leave_out(table.assign(group_id=groups), leaks, reasons, left_out)


def check_left(table: pd.DataFrame, training: Sequence[ExtraSet], tests: Sequence[ExtraSet]) -> None:
    """Raises InputError for an extra set of which no image is left."""
    trained = set(table.loc[table["split"] == "train", "source"])
    if empty := [extra.name for extra in training if extra.name not in trained]:
        raise InputError(
            f"no image of {', '.join(empty)} is left to train on: each shows a lesion of the validation split, of the "
            "test split or of an extra test set, or is in the data set already. Remove this --extra_train"
        )
    if empty := [test.name for test in tests if test.name not in set(table["split"])]:
        raise InputError(
            f"no image of {', '.join(empty)} is left to test on: each is in the data set already, or its lesion or "
            "patient. If these are others under the same ids, give them ids of their own; or remove this --extra_test"
        )


def _leave_out(
    table: pd.DataFrame, gone: pd.Series, reasons: Mapping[str, str], left_out: list[LeftOut]
) -> pd.DataFrame:
    left_out += [
        LeftOut(row.image_id, row.split, row.source, COPY, reasons[row.image_id]) for row in table[gone].itertuples()
    ]
    return table[~gone].reset_index(drop=True)
