"""The metadata table: read it, check every row, convert its columns to their types."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from lesions.data.isic_archive import DERMOSCOPIC, diagnoses_of, is_archive_form
from lesions.data.left_out import DIAGNOSIS, IMAGE_TYPE, LeftOut
from lesions.diagnoses import CODES
from lesions.faults import Faults, InputError
from lesions.ground_truth import from_one_hot, one_hot_columns
from lesions.images import find_images
from lesions.output.files import whole_file

FILE_NAMES = ("HAM10000_metadata.csv", "HAM10000_metadata", "metadata.csv")  # Kaggle's, the Dataverse's, ISIC's
METADATA = FILE_NAMES[0]
TEXT_COLUMNS = ("dx_type", "sex", "localization")
EXTRA_COLUMNS = ("skin_tone", "license", "attribution")  # which HAM10000 lacks; "" if a table does not state them
IMAGE_SUFFIX = re.compile(r"\.(jpe?g|png)$", re.IGNORECASE)
IMAGE_NAMES = ("isic_id", "image")  # of the column that HAM10000 calls image_id
OTHER_NAMES = {
    "age": ["age_approx"],
    "localization": ["anatom_site_general", "site"],
    "dx_type": ["diagnosis_confirm_type"],
    "skin_tone": ["skin_tone_class"],
    "license": ["copyright_license"],
}


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
        f"no {FILE_NAMES[0]} in {folder}, and no {FILE_NAMES[-1]} of the ISIC Archive: give the folder that holds it "
        "and the images, or name a table of another name (--metadata, or NAME=DIR:TABLE.csv)"
    )


def is_archive_table(path: Path) -> bool:
    """Whether the file is metadata of the ISIC Archive. Raises InputError if it is not a table."""
    return is_archive_form(_read_csv(path).columns)


def read_metadata(
    paths: Path | Sequence[Path],
    faults: Faults,
    columns: Columns | None = None,
    classes: Sequence[str] | None = CODES,
    left_out: list[LeftOut] | None = None,
    source: str = "",
) -> pd.DataFrame:
    """Reads the table, one row per image, sorted by image_id; notes every fault of its rows in `faults`.

    It takes three forms: a column of diagnoses, as HAM10000 has; one-hot columns, as the ISIC challenges have, whose
    names in lower case are the diagnoses; and the ISIC Archive's. Several files are joined on the image, or on the
    lesion if they share no image. `classes` are the allowed diagnoses. None allows any, and a missing lesion id: such
    an image is a lesion of its own. With a list `left_out` it may be missing too, and images of other diagnoses, or
    of another type than dermoscopic, are appended to that list instead of being faults.
    Missing ages are NaN; missing text is the string `unknown`, as HAM10000 writes it.
    Raises InputError if a file is not a table or lacks a column, since no row can be checked then.
    """
    columns = columns or Columns()
    paths = [paths] if isinstance(paths, Path) else list(paths)
    strict = classes is not None and left_out is None
    table = _join([_name_columns(_read_csv(path), path, columns) for path in paths], paths, columns)
    table = _known_columns(table, ", ".join(map(str, paths)), columns, strict)
    if left_out is not None and classes is not None:
        table = _leave_out(table, classes, left_out, source)
    _check_rows(table, faults, classes if strict else None)

    age = pd.to_numeric(table["age"].replace({"": None, "unknown": None}), errors="coerce")
    text = table[[*TEXT_COLUMNS, "skin_tone"]].replace("", "unknown")
    table = table.assign(age=age.astype("float32"), **{name: text[name] for name in text})
    table["lesion_id"] = table["lesion_id"].where(table["lesion_id"] != "", table["image_id"])
    return table.sort_values("image_id", ignore_index=True)


def _known_columns(table: pd.DataFrame, where: str, columns: Columns, strict: bool) -> pd.DataFrame:
    """`table` (of strings) under HAM10000's names, with exactly the columns that this program knows."""
    if columns.label not in table and (marks := one_hot_columns(table)):
        table[columns.label] = from_one_hot(table, marks).fillna("")
    if not strict and columns.group not in table and columns.group == Columns.group:
        table[columns.group] = ""
    missing = [name for name in (columns.label, columns.group) if name not in table]
    if strict:
        missing += [name for name in (*TEXT_COLUMNS, "age") if name not in table]
    if missing:
        raise InputError(
            f"{where} lacks the columns {', '.join(missing)}; it has {', '.join(table.columns)}. A table has the "
            "columns image_id and dx, or image and one column per diagnosis in capitals, or isic_id and diagnosis_1"
        )
    if table.empty:
        raise InputError(f"{where} holds no row")
    table = table.rename(columns={columns.label: "dx", columns.group: "lesion_id"})
    names = ["lesion_id", "image_id", "dx", *TEXT_COLUMNS, "age", *EXTRA_COLUMNS, "image_type"]
    table = pd.DataFrame({name: _first_stated(table, [name, *OTHER_NAMES.get(name, [])]) for name in names})
    table["image_id"] = table["image_id"].str.replace(IMAGE_SUFFIX, "", regex=True)  # some tables name the files
    return table


def _first_stated(table: pd.DataFrame, names: list[str]) -> pd.Series:
    """For each row the first of the columns `names` that says something; "" if none does."""
    found = pd.Series("", index=table.index)
    for name in names:
        if name in table:
            found = found.where(found != "", table[name].str.strip())
    return found


def _leave_out(table: pd.DataFrame, classes: Sequence[str], left_out: list[LeftOut], source: str) -> pd.DataFrame:
    """`table` without the images that are not dermoscopic, or of none of the `classes`; these go to `left_out`."""
    other_type = ~table["image_type"].isin([DERMOSCOPIC, ""])
    outside = ~table["dx"].isin(classes) & ~other_type
    for mask, kind, column in ((other_type, IMAGE_TYPE, "image_type"), (outside, DIAGNOSIS, "dx")):
        rows = table[mask]
        left_out += [LeftOut(i, "", source, kind, why) for i, why in zip(rows["image_id"], rows[column], strict=True)]
    usable = table[~other_type & ~outside]
    if usable.empty:
        found = table["dx"].value_counts().index[:10]
        raise InputError(
            f"{source} has no dermoscopic image with one of the diagnoses {', '.join(classes)}; it has "
            f"{', '.join(map(repr, found))}. Correct the spelling in its table, or leave it out"
        )
    return usable


def _read_csv(path: Path) -> pd.DataFrame:
    try:
        # The Dataverse separates columns with tabs, every other source with commas.
        with path.open(encoding="utf-8-sig") as file:
            separator = "\t" if "\t" in file.readline() else ","
        table = pd.read_csv(path, dtype=str, keep_default_na=False, encoding="utf-8-sig", sep=separator)
    except (OSError, pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeDecodeError) as error:
        raise InputError(f"{path} is not a CSV table in UTF-8: {error}") from error
    return table.rename(columns=str.strip)


def _name_columns(table: pd.DataFrame, path: Path, columns: Columns) -> pd.DataFrame:
    """`table` with the name `image_id` for the column of the images, if it has one, and classes for the Archive's
    diagnoses."""
    if is_archive_form(table.columns) and columns.label not in table:
        table = table.assign(**{columns.label: diagnoses_of(table)})
    default = columns.image == Columns.image
    for name in (columns.image, *(IMAGE_NAMES if default else ())):
        if name in table:
            return table.rename(columns={name: "image_id"})
    if columns.group in table:
        return table
    raise InputError(f"{path} lacks the column {columns.image}; it has {', '.join(table.columns)}")


def _join(tables: list[pd.DataFrame], paths: list[Path], columns: Columns) -> pd.DataFrame:
    first, *others = tables
    if "image_id" not in first:
        raise InputError(f"{paths[0]} lacks the column {columns.image}; it has {', '.join(first.columns)}")
    for other, path in zip(others, paths[1:], strict=True):
        shared = [name for name in ("image_id", columns.group) if name in first and name in other]
        key = next((name for name in shared if other[name].isin(first[name]).any()), None)
        if key is None:
            raise InputError(f"{path} has no image and no lesion in common with {paths[0]}")
        other = other[[key, *(name for name in other if name not in first)]].drop_duplicates(key)
        first = first.merge(other, on=key, how="left").fillna("")
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
