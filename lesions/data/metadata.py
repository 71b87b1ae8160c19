"""The metadata table: read it, check every row, convert its columns to their types."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import pandas as pd

from lesions.data.isic_archive import DERMOSCOPIC, NONE_STATED
from lesions.data.left_out import DIAGNOSIS, IMAGE_TYPE, LeftOut
from lesions.data.table_files import EXTRA_COLUMNS, METADATA, Columns, TableFile, read_files
from lesions.diagnoses import CODES, LONGEST_DIAGNOSIS
from lesions.faults import Faults, InputError
from lesions.ground_truth import PATIENT, TEXT_COLUMNS, years_of
from lesions.images import find_images
from lesions.output.files import whole_file
from lesions.output.plain_text import in_short


def read_metadata(
    paths: Path | Sequence[Path],
    faults: Faults,
    columns: Columns | None = None,
    classes: Sequence[str] | None = CODES,
    left_out: list[LeftOut] | None = None,
    source: str = "",
) -> pd.DataFrame:
    """Reads the table, one row per image, sorted by image_id; notes every fault of its rows in `faults`.

    It takes four forms: a column of diagnoses, as HAM10000 has; one-hot columns, as the ISIC challenges have, whose
    names in lower case are the diagnoses; the ISIC Archive's; and a folder of class folders. Several files are
    joined. `classes` are the allowed diagnoses. None allows any, and a missing lesion id: such an image is a lesion
    of its own. With a list `left_out` it may be missing too, and images of other diagnoses, or of another type than
    dermoscopic, are appended to that list instead of being faults.
    A lesion has one diagnosis. A patient may have several: `columns.group` names the patient, or the column patient_id
    does where a row states that and no lesion. Without such a column `patient_id` is the lesion's id.
    Missing ages are NaN; missing text is the string `unknown`, as HAM10000 writes it.
    Raises InputError if a file is not a table or lacks a column, since no row can be checked then.
    """
    columns = columns or Columns()
    paths = [paths] if isinstance(paths, Path) else list(paths)
    strict = classes is not None and left_out is None
    file = read_files(paths, columns, faults)
    if columns.group == Columns.group and PATIENT in file.rows:
        lesions = file.rows.get("lesion_id", pd.Series("", index=file.rows.index))
        if ((lesions == "") & (file.rows[PATIENT] != "")).any():  # as in ISIC 2020 and 2024
            columns = replace(columns, group=PATIENT)  # whose other images may show the same lesion
        else:
            file = replace(file, rows=file.rows.drop(columns=PATIENT))
    table = _known_columns(file, columns, strict)
    if left_out is not None and classes is not None:
        table = _leave_out(table, classes, left_out, source)
    _check_rows(table, faults, classes if strict else None)

    text = table[[*TEXT_COLUMNS, "skin_tone"]].replace("", "unknown")
    table = table.assign(age=years_of(table, "image_id", faults), **{name: text[name] for name in text})
    # Where the lesion is not known, the patient is the smallest unit that is.
    for name, otherwise in (("lesion_id", "patient_id"), ("lesion_id", "image_id"), ("patient_id", "lesion_id")):
        table[name] = table[name].where(table[name] != "", table[otherwise])
    return table.sort_values("image_id", ignore_index=True)


def _known_columns(file: TableFile, columns: Columns, strict: bool) -> pd.DataFrame:
    """The rows of `file` with exactly the columns that this program knows, "" where they say nothing."""
    table = file.rows
    grouped = columns.group != Columns.group
    wanted = {"dx": columns.label, **({"patient_id": columns.group} if grouped else {})}
    if strict:
        wanted |= {name: name for name in (*(() if grouped else ("lesion_id",)), *TEXT_COLUMNS, "age")}
    if missing := [column for name, column in wanted.items() if name not in table]:
        raise InputError(
            f"{file.path} lacks the columns {', '.join(missing)}; it has {in_short(file.columns)}. A table has the "
            "columns image_id and dx, or image and one column per diagnosis in capitals, or isic_id and diagnosis_1"
        )
    if table.empty:
        raise InputError(f"{file.path} holds no row")
    names = ["lesion_id", "patient_id", "image_id", "dx", *TEXT_COLUMNS, "age", *EXTRA_COLUMNS, "image_type"]
    return table.reindex(columns=names, fill_value="")


def _leave_out(table: pd.DataFrame, classes: Sequence[str], left_out: list[LeftOut], source: str) -> pd.DataFrame:
    """`table` without the images that are not dermoscopic, or of none of the `classes`; these go to `left_out`."""
    other_type = ~table["image_type"].isin([DERMOSCOPIC, ""])
    outside = ~table["dx"].isin(classes) & ~other_type
    for mask, kind, column in ((other_type, IMAGE_TYPE, "image_type"), (outside, DIAGNOSIS, "dx")):
        rows = table[mask]
        left_out += [
            LeftOut(i, "", source, kind, why or NONE_STATED)
            for i, why in zip(rows["image_id"], rows[column], strict=True)
        ]
    usable = table[~other_type & ~outside]
    if usable.empty:
        found = in_short(map(repr, table["dx"].value_counts().index))
        raise InputError(
            f"{source} has no dermoscopic image with one of the diagnoses {in_short(classes)}; it has {found}. "
            "Correct the spelling in its table, or leave it out"
        )
    return usable


def _check_rows(table: pd.DataFrame, faults: Faults, classes: Sequence[str] | None) -> None:
    line = table.index.to_series().astype(str)
    for column in ("image_id", "dx"):
        faults.add(f"{column} is empty, in line", *line[table[column] == ""])
    if classes is not None:
        faults.add("lesion_id is empty, in line", *line[(table["lesion_id"] == "") & (table["patient_id"] == "")])

    long = table["dx"].str.len() > LONGEST_DIAGNOSIS
    faults.add(f"dx of over {LONGEST_DIAGNOSIS} characters (is that its column?), in line", *line[long])

    repeated = table["image_id"][(table["image_id"] != "") & table["image_id"].duplicated()]
    faults.add("image_id appears more than once", *sorted(set(repeated)))

    if classes is not None:
        unknown = table[~table["dx"].isin(classes) & (table["dx"] != "")]
        faults.add(
            f"unknown diagnosis (dx is one of {in_short(classes)})",
            *(unknown["image_id"] + ": " + unknown["dx"].map(repr)),
        )

    names = table["dx"].drop_duplicates().sort_values()
    for _, alike in names.groupby(names.str.casefold()):
        if len(alike) > 1:
            faults.add("one diagnosis in several spellings", ", ".join(map(repr, alike)))

    diagnoses = table[table["lesion_id"] != ""].groupby("lesion_id")["dx"].unique()
    for lesion, found in diagnoses[diagnoses.map(len) > 1].items():
        faults.add("lesion with two diagnoses", f"{lesion}: {', '.join(sorted(found))}")
    stand_in = table["patient_id"].where(table["patient_id"] != "", table["image_id"])[table["lesion_id"] == ""]
    others = stand_in.map(diagnoses.str[0])
    clash = others[others.notna() & (others != table["dx"].loc[others.index])].index
    faults.add(
        "lesion_id that is also the id of an image, or patient, of unknown lesion and another diagnosis: rename one",
        *(table["image_id"][clash] + ": " + stand_in[clash]),
    )


def add_paths(
    table: pd.DataFrame,
    folder: Path,
    faults: Faults,
    missing: str = "image missing",
    files: Mapping[str, Path] | None = None,
) -> pd.DataFrame:
    """`table` with the `path` of each image: of `files` by their ids, or else below `folder`; notes those that are
    `missing` in `faults`."""
    images = find_images(folder, faults, wanted=set(table["image_id"])) if files is None else files
    faults.add(missing, *(name for name in table["image_id"] if name and name not in images))
    return table.assign(path=table["image_id"].map(images))


def finish_metadata(folder: Path, table: pd.DataFrame) -> Path:
    """Writes `table` as the metadata file of `folder`, which it returns; last, so that it marks a whole download."""
    with whole_file(folder / METADATA) as partial:
        table.to_csv(partial, index=False, lineterminator="\n")
    return folder
