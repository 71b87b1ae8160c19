"""The metadata table: read it, check every row, convert its columns to their types."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from lesions.diagnoses import CODES
from lesions.faults import Faults, InputError
from lesions.files import whole_file
from lesions.ground_truth import from_one_hot, one_hot_columns
from lesions.images import find_images

FILE_NAMES = ("HAM10000_metadata.csv", "HAM10000_metadata")  # Kaggle's name and the Dataverse's
METADATA = FILE_NAMES[0]
TEXT_COLUMNS = ("dx_type", "sex", "localization")
IMAGE_SUFFIX = re.compile(r"\.(jpe?g|png)$", re.IGNORECASE)
ISIC_NAMES = {"age_approx": "age", "anatom_site_general": "localization", "diagnosis_confirm_type": "dx_type"}


@dataclass(frozen=True)
class Columns:
    """The columns of a metadata table that name the image, its diagnosis and its lesion."""

    image: str = "image_id"
    label: str = "dx"
    group: str = "lesion_id"


def find_metadata(folder: Path) -> Path:
    """The metadata file in `folder`. Raises InputError if there is none."""
    for name in FILE_NAMES:
        if (folder / name).is_file():
            return folder / name
    raise InputError(
        f"no {FILE_NAMES[0]} in {folder}: --source takes the folder that holds it and the images; "
        "a table of another name goes to --metadata"
    )


def read_metadata(
    paths: Path | Sequence[Path], faults: Faults, columns: Columns | None = None, classes: Sequence[str] | None = CODES
) -> pd.DataFrame:
    """Reads the table, one row per image, sorted by image_id; notes every fault of its rows in `faults`.

    Several files are joined on the image's column. A table without the column of the diagnosis may hold one-hot
    columns instead, as the ISIC challenges do; the diagnoses are their names in lower case. `classes` are the
    allowed diagnoses. None allows any, and a missing lesion id: such an image is a lesion of its own.
    Missing ages are NaN; missing text is the string `unknown`, as HAM10000 writes it.
    Raises InputError if a file is not a table or lacks a column, since no row can be checked then.
    """
    columns = columns or Columns()
    paths = [paths] if isinstance(paths, Path) else list(paths)
    table = _join([_read_csv(path) for path in paths], paths, columns)
    where = ", ".join(map(str, paths))
    if columns.label not in table and (marks := one_hot_columns(table)):
        table[columns.label] = from_one_hot(table, marks).fillna("")
    if classes is None and columns.group not in table and columns.group == Columns.group:
        table[columns.group] = ""
    missing = [name for name in (columns.image, columns.label, columns.group) if name not in table]
    if classes is not None:
        missing += [name for name in (*TEXT_COLUMNS, "age") if name not in table]
    if missing:
        raise InputError(f"{where} lacks the columns {', '.join(missing)}; it has {', '.join(table.columns)}")
    if table.empty:
        raise InputError(f"{where} holds no row")

    table = table.rename(columns={columns.image: "image_id", columns.label: "dx", columns.group: "lesion_id"})
    table = table.rename(columns={old: new for old, new in ISIC_NAMES.items() if new not in table})
    table = table.reindex(columns=["lesion_id", "image_id", "dx", *TEXT_COLUMNS, "age"], fill_value="")
    table = table.apply(lambda column: column.str.strip())
    table["image_id"] = table["image_id"].str.replace(IMAGE_SUFFIX, "", regex=True)  # some tables name the files
    _check_rows(table, faults, classes)

    age = pd.to_numeric(table["age"].replace({"": None, "unknown": None}), errors="coerce")
    text = table[list(TEXT_COLUMNS)].replace("", "unknown")
    table = table.assign(age=age.astype("float32"), **{name: text[name] for name in text})
    table["lesion_id"] = table["lesion_id"].where(table["lesion_id"] != "", table["image_id"])
    return table.sort_values("image_id", ignore_index=True)


def _read_csv(path: Path) -> pd.DataFrame:
    try:
        # The Dataverse separates columns with tabs, every other source with commas.
        with path.open(encoding="utf-8-sig") as file:
            separator = "\t" if "\t" in file.readline() else ","
        table = pd.read_csv(path, dtype=str, keep_default_na=False, encoding="utf-8-sig", sep=separator)
    except (OSError, pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeDecodeError) as error:
        raise InputError(f"{path} is not a CSV table in UTF-8: {error}") from error
    return table.rename(columns=str.strip)


def _join(tables: list[pd.DataFrame], paths: list[Path], columns: Columns) -> pd.DataFrame:
    for table, path in zip(tables, paths, strict=True):
        if columns.image not in table:
            raise InputError(f"{path} lacks the column {columns.image}; it has {', '.join(table.columns)}")
    first, *others = tables
    for other in others:
        other = other[[columns.image, *(name for name in other if name not in first)]]
        first = first.merge(other, on=columns.image, how="left").fillna("")
    return first


def _check_rows(table: pd.DataFrame, faults: Faults, classes: Sequence[str] | None) -> None:
    line = table.index.to_series().add(2).astype(str)  # line 1 is the header
    for column in ("image_id", "lesion_id", "dx") if classes is not None else ("image_id", "dx"):
        faults.add(f"{column} is empty, in line", *line[table[column] == ""])

    repeated = table["image_id"][(table["image_id"] != "") & table["image_id"].duplicated()]
    faults.add("image_id appears more than once", *sorted(set(repeated)))

    if classes is not None:
        unknown = table[~table["dx"].isin(classes) & (table["dx"] != "")]
        faults.add(
            f"unknown diagnosis (dx is one of {', '.join(classes)})",
            *(unknown["image_id"] + ": " + unknown["dx"].map(repr)),
        )

    diagnoses = table[table["lesion_id"] != ""].groupby("lesion_id")["dx"].unique()
    for lesion, found in diagnoses[diagnoses.map(len) > 1].items():
        faults.add("lesion with two diagnoses", f"{lesion}: {', '.join(sorted(found))}")

    stated = ~table["age"].isin(["", "unknown"])
    years = pd.to_numeric(table["age"], errors="coerce")
    wrong = table[stated & ~years.between(0, 120)]
    faults.add("age is not a number of years", *(wrong["image_id"] + ": " + wrong["age"].map(repr)))


def add_paths(table: pd.DataFrame, folder: Path, faults: Faults, missing: str = "image missing") -> pd.DataFrame:
    """`table` with the `path` of each image below `folder`; notes those that are `missing` in `faults`."""
    images = find_images(folder, faults, wanted=set(table["image_id"]))
    faults.add(missing, *(name for name in table["image_id"] if name and name not in images))
    return table.assign(path=table["image_id"].map(images))


def finish_metadata(folder: Path, table: pd.DataFrame) -> Path:
    """Writes `table` as the metadata file of `folder`, which it returns; last, so that it marks a whole download."""
    with whole_file(folder / METADATA) as partial:
        table.to_csv(partial, index=False, lineterminator="\n")
    return folder
