"""The files of a metadata table: read each, bring its columns to the project's names, and join them."""

from __future__ import annotations

import filecmp
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from lesions.data.isic_archive import diagnoses_of, is_archive_form
from lesions.diagnoses import is_malignant
from lesions.faults import Faults, InputError
from lesions.ground_truth import (
    PATIENT,
    TEXT_COLUMNS,
    marked_column,
    one_hot_columns,
    read_cells,
    stated_columns,
    wrong_marks,
)
from lesions.images import LINKED, archives, image_files, image_ids, linked_folders, tell_passed_over
from lesions.output.plain_text import escaped, in_short

SUFFIXES = (".csv", ".tab", ".tsv", ".txt")  # of a table, in any case
METADATA = "HAM10000_metadata.csv"  # of Kaggle's release
FILE_NAMES = (
    *("HAM10000_metadata" + suffix for suffix in (".csv", "", *SUFFIXES[1:])),  # the Dataverse's has none, or .tab
    *("metadata" + suffix for suffix in SUFFIXES),  # the ISIC Archive's
)
EXTRA_COLUMNS = ("skin_tone", "license", "attribution")  # which HAM10000 lacks; "" if a table does not state them
OF_AN_IMAGE = ("image_id", "image_type")  # the other columns may describe a lesion, whatever its image
IMAGE_NAMES = ("image_id", "isic_id", "image", "file_name")  # the last one is that of imagefolder
SHEET_ERROR = r"(?i)#(?:N/A|[A-Z/0]+[!?])"  # what Excel and others write into a cell whose formula fails


@dataclass(frozen=True)
class Columns:
    """The columns of a metadata table that name the image, its diagnosis, and the lesion or patient to keep whole."""

    image: str = "image_id"
    label: str = "dx"
    group: str = "lesion_id"


@dataclass(frozen=True)
class TableFile:
    """A file, the names of its columns, and those of its columns that this program knows, under HAM10000's names."""

    path: Path
    columns: Collection[str]
    rows: pd.DataFrame


def find_metadata(folder: Path) -> Path:
    """The metadata file in `folder`; or `folder` itself, if the folders in it are diagnoses. Raises InputError."""
    files = {path.name.lower(): path for path in folder.iterdir() if path.is_file()}
    for name in FILE_NAMES:
        if name.lower() in files:
            return files[name.lower()]
    names = sorted({path.parent.name for path in image_files(folder) if path.parent != folder})
    if any(is_malignant(name) is not None for name in names):
        return folder
    advice = [
        f"no {METADATA} in {folder}, and no metadata.csv of the ISIC Archive: give the folder that holds it "
        "and the images, or name a table of another name (--metadata, or NAME=DIR:TABLE.csv)"
    ]
    if packed := [path.relative_to(folder).as_posix() for path in archives(folder)]:
        advice.append(f"If the table is in {in_short(packed)}: unpack that first")
    if names:
        advice.append(
            f"If the folders of the images are named after their diagnoses ({in_short(names)}): --metadata {folder}"
        )
    raise InputError("\n".join(advice))


def is_archive_table(path: Path) -> bool:
    """Whether the file is metadata of the ISIC Archive. Raises InputError if it is not a table."""
    return path.is_file() and is_archive_form(_read_csv(path).columns)


def has_column(paths: Sequence[Path], name: str) -> bool:
    """Whether one of the files has the column, in any case. Raises InputError if one is not a table."""
    return any(name.lower() in _read_csv(path).columns.str.lower() for path in paths if path.is_file())


def read_files(paths: Sequence[Path], columns: Columns, faults: Faults) -> TableFile:
    """The files as one, with a row for each image of the first. A folder stands for its class folders.

    The others are joined to it on the image, the lesion or the patient, whichever they share most. What the first
    does not state is taken from them. Raises InputError if a file is not a table, or can't be joined.
    """
    first, *others = (_read_file(path, columns, faults) for path in paths)
    if "image_id" not in first.rows or (columns.image not in first.columns and columns.image != Columns.image):
        raise InputError(f"{first.path} lacks the column {columns.image}; it has {in_short(first.columns)}")
    rows, names = first.rows, list(first.columns)
    for other in others:
        rows = _join(rows, first.path, other, columns, faults)
        names += [name for name in other.columns if name not in names]
    return TableFile(first.path, names, rows)


def _read_file(path: Path, columns: Columns, faults: Faults) -> TableFile:
    table = _class_folders(path, faults) if path.is_dir() else _read_csv(path)
    known: dict[str, pd.Series | list[str]] = {}
    image = next((name for name in (columns.image, *IMAGE_NAMES) if name in table), None)
    if image:
        known["image_id"] = image_ids(table[image])
    if columns.label in table:
        known["dx"] = table[columns.label].str.strip()
    elif columns.label == Columns.label and is_archive_form(table.columns):
        known["dx"] = diagnoses_of(table)
    elif columns.label == Columns.label and (marks := one_hot_columns(table)):
        wrong = (f"{line}: {cells}" for line, cells in wrong_marks(table, marks).items())
        faults.add(f"one-hot cell of {path.name} that is not 0 or 1, or one of several 1s, in line", *wrong)
        known["dx"] = marked_column(table, marks).str.lower().fillna("")
    others = {name: name for name in (*TEXT_COLUMNS, "age", *EXTRA_COLUMNS, "image_type")}
    others[PATIENT] = PATIENT if columns.group == Columns.group else columns.group
    known |= stated_columns(table, {"lesion_id": Columns.group, **others})
    rows = pd.DataFrame(known, index=table.index, dtype=str)
    for name in rows:  # a cell whose quote is not closed swallows the lines up to the next quote
        lines = rows.index[rows[name].str.contains("[\r\n]")]
        faults.add(f"{name} of several lines in {path.name}: a quote is missing, in line", *map(str, lines))
        failed = rows[name][rows[name].str.fullmatch(SHEET_ERROR)]
        failed = failed.index.astype(str) + ": " + failed
        faults.add(f"{name} of {path.name} that is an error of a spreadsheet, in line", *failed)
    return TableFile(path, list(table), rows)


def _read_csv(path: Path) -> pd.DataFrame:
    if not path.is_file():  # a pipe would be empty when it is read again
        raise InputError(f"{path} is not a file; give a table, as a regular file")
    table = read_cells(path)
    table = table.set_axis(table.columns.str.strip(), axis=1)
    table = table.drop(columns="", errors="ignore")
    if not table.columns.is_unique:
        raise InputError(f"{path} has the column {table.columns[table.columns.duplicated()][0]} twice; remove one")
    return table


def _class_folders(folder: Path, faults: Faults) -> pd.DataFrame:
    """A table of the images below `folder`, each with the name of its own folder as the diagnosis."""
    kept: dict[str, list[Path]] = {}
    faults.add(LINKED, *map(str, linked_folders(folder)))
    tell_passed_over(folder)
    for path in image_files(folder):
        if escaped(str(path)) != str(path):
            faults.add("image whose name is not in UTF-8: rename it", str(path))
            continue
        same_name = kept.setdefault(path.stem, [])
        copy = next((other for other in same_name if filecmp.cmp(other, path, shallow=False)), None)
        if copy is None:
            same_name.append(path)
        elif copy.parent.name != path.parent.name:
            faults.add("one image in two class folders", f"{copy} and {path}")
    paths = sorted(path for paths in kept.values() for path in paths)
    if len(depths := {len(path.relative_to(folder).parts) for path in paths}) != 1 or depths == {1}:
        lying = "; ".join(f"such as {next(p for p in paths if len(p.relative_to(folder).parts) == n)}" for n in depths)
        raise InputError(
            f"{folder}: the folder of each image must be its diagnosis, all at one depth, but images lie at "
            f"{len(depths)} depths: {lying or 'there are none'}. Move them, or name a table with --metadata"
        )
    names = [path.relative_to(folder).as_posix() for path in paths]
    return pd.DataFrame({Columns.image: names, Columns.label: [path.parent.name for path in paths]})


def _join(rows: pd.DataFrame, path: Path, other: TableFile, columns: Columns, faults: Faults) -> pd.DataFrame:
    """`rows`, which come from `path`, with what `other` says of the same image, lesion or patient."""
    keys = [name for name in ("image_id", "lesion_id", "patient_id") if name in rows and name in other.rows]
    if not keys:
        raise InputError(f"{other.path} lacks the column {columns.image}; it has {in_short(other.columns)}")
    stated = {key: (set(rows[key]) - {""}, set(other.rows[key]) - {""}) for key in keys}
    key = max(keys, key=lambda name: len(set.intersection(*stated[name])))
    ours, theirs = stated[key]
    unmet, rest = ours - theirs, theirs - ours
    if unmet == ours:
        forms = "; ".join(f"{name} like {_examples(b)} against {_examples(a)}" for name, (a, b) in stated.items())
        raise InputError(f"{other.path} has no image and no lesion in common with {path}: {forms}. Write the ids alike")
    added = other.rows[other.rows[key] != ""].drop(columns="dx" if "dx" in rows else [], errors="ignore")
    if key != "image_id":
        added = added.drop(columns=list(OF_AN_IMAGE), errors="ignore")
    if rest:  # ids that are written in two ways may meet in part
        has = f"it has others, like {_examples(rest)}"
        faults.add(f"{key} of {path.name} that {other.path.name} lacks; {has}", *sorted(unmet))
    added = added.drop_duplicates()
    faults.add(
        f"{key} of which {other.path.name} says different things", *sorted(set(added[key][added[key].duplicated()]))
    )
    joined = rows[[key]].merge(added.drop_duplicates(key), on=key, how="left").fillna("").set_axis(rows.index)
    for name in added.columns.intersection(rows.columns):
        differs = (joined[name] != rows[name]) & (joined[name] != "") & (rows[name] != "")
        if name in ("lesion_id", "patient_id"):
            faults.add(f"{name} that {path.name} and {other.path.name} state differently, of", *rows[key][differs])
        joined[name] = rows[name].where(rows[name] != "", joined[name])
    return joined.assign(**{name: rows[name] for name in rows if name not in joined})


def _examples(ids: set[str]) -> str:
    return ", ".join(map(repr, sorted(ids)[:3])) or "none"
