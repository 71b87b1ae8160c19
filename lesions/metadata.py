"""HAM10000's metadata table: read it, check every row, give it its types."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from lesions.diagnoses import CODES
from lesions.faults import Faults, InputError

COLUMNS = ("lesion_id", "image_id", "dx", "dx_type", "age", "sex", "localization")
FILE_NAMES = ("HAM10000_metadata.csv", "HAM10000_metadata")  # Kaggle's name and the Dataverse's


def find_metadata(folder: Path) -> Path:
    """The metadata file in `folder`. Raises InputError where there is none."""
    for name in FILE_NAMES:
        if (folder / name).is_file():
            return folder / name
    raise InputError(f"no {FILE_NAMES[0]} in {folder}: --source takes the folder that holds it and the pictures")


def read_metadata(path: Path, faults: Faults) -> pd.DataFrame:
    """Reads the table, one row a picture, sorted by image_id; notes every fault of its rows in `faults`.

    Missing ages are NaN; missing text is the string `unknown`, as HAM10000 writes it.
    Raises InputError where the file is no table or lacks a column, since no row can be checked then.
    """
    try:
        table = pd.read_csv(path, dtype=str, keep_default_na=False, encoding="utf-8-sig")
    except (pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeDecodeError) as error:
        raise InputError(f"{path} is not a CSV table in UTF-8: {error}") from error
    missing = [column for column in COLUMNS if column not in table]
    if missing:
        raise InputError(f"{path} lacks the columns {', '.join(missing)}; it has {', '.join(table.columns)}")
    table = table[list(COLUMNS)].apply(lambda column: column.str.strip())
    if table.empty:
        raise InputError(f"{path} holds no row")
    _check_rows(table, faults)

    age = pd.to_numeric(table["age"].replace({"": None, "unknown": None}), errors="coerce")
    text = table[["dx_type", "sex", "localization"]].replace("", "unknown")
    table = table.assign(age=age.astype("float32"), **{name: text[name] for name in text})
    return table.sort_values("image_id", ignore_index=True)


def _check_rows(table: pd.DataFrame, faults: Faults) -> None:
    line = table.index.to_series().add(2).astype(str)  # line 1 is the header
    for column in ("image_id", "lesion_id"):
        faults.add(f"{column} is empty, in line", *line[table[column] == ""])

    repeated = table["image_id"][(table["image_id"] != "") & table["image_id"].duplicated()]
    faults.add("image_id appears more than once", *sorted(set(repeated)))

    unknown = table[~table["dx"].isin(CODES)]
    faults.add(
        f"unknown diagnosis (dx is one of {', '.join(CODES)})",
        *(unknown["image_id"] + ": " + unknown["dx"].map(repr)),
    )

    diagnoses = table[table["lesion_id"] != ""].groupby("lesion_id")["dx"].unique()
    for lesion, found in diagnoses[diagnoses.map(len) > 1].items():
        faults.add("lesion with two diagnoses", f"{lesion}: {', '.join(sorted(found))}")

    stated = ~table["age"].isin(["", "unknown"])
    years = pd.to_numeric(table["age"], errors="coerce")
    wrong = table[stated & ~years.between(0, 120)]
    faults.add("age is no number of years", *(wrong["image_id"] + ": " + wrong["age"].map(repr)))
