"""Predictions and ground truth as CSV, in the form of the ISIC challenges and in that of HAM10000."""

from __future__ import annotations

import csv
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from lesions.diagnoses import BY_CODE, isic_order
from lesions.faults import Faults, InputError
from lesions.images import image_id
from lesions.output.files import write_csv
from lesions.output.plain_text import from_cell, in_short

IMAGE_COLUMNS = ("image", "image_id")
COLUMNS = (*IMAGE_COLUMNS, "lesion_id", "dx")  # that hold no mark of a diagnosis
SEPARATOR, QUOTED = re.compile("[,;\t]"), re.compile('"[^"]*"')
TEXT_COLUMNS = ("dx_type", "sex", "localization")
PATIENT = "patient_id"
OTHER_NAMES = {  # skin tones are on the Archive's scale, which runs the other way than Fitzpatrick's
    "age": ["age_approx"],
    "sex": ["gender"],
    "localization": ["anatom_site_general", "anatom_site_general_challenge", "site"],
    "dx_type": ["diagnosis_confirm_type"],
    "skin_tone": ["skin_tone_class"],
    "license": ["copyright_license"],
}
SEXES = {"f": "female", "m": "male"}
WHOLE = r"^(\d+)\.0$"  # a whole number, as pandas writes it in a column with gaps
NOTHING = {"na", "n/a", "#n/a", "<na>", "nan", "none", "null", "unknown", "-", "?"}  # how tables write "not known"
SUM_TOLERANCE = 1e-2  # of the probabilities of an image, which somebody may have rounded


def write_predictions(path: Path, images: list[str], probabilities: NDArray[np.float64], labels: list[str]) -> None:
    """Writes `image,MEL,NV,BCC,AKIEC,BKL,DF,VASC`, one row per image, as ISIC 2018 Task 3 takes it. A label that is
    not the code of a diagnosis names its column as it is.

    With all digits: rounding could tie two diagnoses or move a metric.
    """
    table = pd.DataFrame(probabilities, columns=labels)[isic_order(labels)]
    table = table.rename(columns={label: _column_of(label, labels) for label in labels})
    table.insert(0, "image", images)
    write_csv(path, table)


def read_predictions(path: Path, labels: Sequence[str]) -> tuple[NDArray[np.float64], list[str]]:
    """What `write_predictions` wrote: probabilities (n, classes) in the order of `labels`, and the images.

    Raises InputError, which names every label without a column, and every image whose row is not its probabilities.
    """
    needed = in_short(("image", *(_column_of(label, labels) for label in isic_order(labels))))
    table, faults = _read_table(path, "predictions", needed), Faults()
    images, columns = list(table["image"]), _columns_of(labels, table)
    faults.add("column missing", *(label for label in labels if label not in columns))
    faults.raise_if_any(f"{path} does not hold predictions of this model; measure it again")
    chosen = table[[columns[label] for label in labels]]
    probabilities = chosen.apply(pd.to_numeric, errors="coerce").to_numpy(np.float64)
    with np.errstate(invalid="ignore"):
        sound = (probabilities >= 0).all(axis=1) & (abs(probabilities.sum(axis=1) - 1) < SUM_TOLERANCE)
    faults.add("not probabilities that sum to 1", *(name for name, fine in zip(images, sound, strict=True) if not fine))
    faults.add("image with two rows", *sorted(set(table["image"][table["image"].duplicated()])))
    faults.raise_if_any(f"correct {path}, or measure the model again")
    return probabilities, images


def write_ground_truth(path: Path, rows: pd.DataFrame, dx: list[str]) -> None:
    """Writes `image_id,lesion_id,dx`, so that others can measure the predictions again.

    `rows` has one row per image: `image`, and `lesion_id` where it is known.
    """
    table = rows[[name for name in ("image", "lesion_id") if name in rows]].rename(columns={"image": "image_id"})
    write_csv(path, table.assign(dx=dx))


def read_ground_truth(path: Path, labels: Sequence[str], images: Sequence[str]) -> pd.DataFrame:
    """The true diagnosis of each of `images`, in their order: columns `dx` and, where the file has them, `lesion_id`,
    age, sex, site, skin tone and `dx_type`, as data_prep.py reads them. An image of unknown lesion is a lesion of
    its own.

    Takes the ISIC one-hot form (`image,MEL,NV,...`) and HAM10000's (`image_id,dx`). Rows of other images are
    ignored; so are the case of a diagnosis, and the suffix of a file name. Raises InputError that names every image
    without exactly one known diagnosis.
    """
    needed = f"image_id, dx or image, {in_short(_column_of(label, labels) for label in isic_order(labels))}"
    table = _read_table(path, "ground truth", needed)
    columns = _columns_of(labels, table)
    if "dx" in table:
        dx, said = table["dx"].map(lambda text: label_of(text, labels)), table["dx"].map(repr)
    elif set(labels) <= set(columns):
        labels_by_column = {column: label for label, column in columns.items()}
        dx = marked_column(table, list(labels_by_column)).map(labels_by_column)
        wrong = wrong_marks(table, list(labels_by_column))
        said = pd.Series([wrong.get(line, "no 1") for line in table.index], table.index)
    else:
        raise InputError(f"the ground truth {path} has the columns {in_short(table)}; it needs {needed}")
    names = {name: name for name in (*TEXT_COLUMNS, "skin_tone", "age", "lesion_id")}
    about = stated_columns(table.drop(columns=list(columns.values())), names)
    table = pd.DataFrame({"image": _named_as(images, table["image"]), **about, "dx": dx, "said": said})
    faults, known = Faults(), table[table["image"].isin(images)]
    faults.add("image without ground truth", *sorted(set(images) - set(known["image"])))
    faults.add("image with two rows", *sorted(set(known["image"][known["image"].duplicated()])))
    faults.add("no diagnosis that the model knows", *(known["image"] + ": " + known["said"])[known["dx"].isna()])
    if "age" in known:
        known = known.assign(age=years_of(known, "image", faults))
    faults.raise_if_any(f"correct {path}; the model knows {in_short(labels)}")
    if "lesion_id" in known:
        known = known.assign(lesion_id=known["lesion_id"].where(known["lesion_id"] != "", known["image"]))
    return known.drop(columns="said").set_index("image").loc[list(images)].reset_index()


def label_of(text: str, labels: Sequence[str]) -> str | None:
    """The one of `labels` that `text` spells: exactly, or else as the only one that is equal but for case and blanks
    around it. None if it spells none or several."""
    if text in labels:
        return text
    alike = [label for label in labels if label.strip().casefold() == text.strip().casefold()]
    return alike[0] if len(alike) == 1 else None


def _column_of(label: str, labels: Sequence[str]) -> str:
    """The column of `label`: in capitals if it is a code, or the name of another column; else as it is."""
    capitals = label.upper()
    return capitals if label in (*BY_CODE, *COLUMNS) and capitals not in labels else label


def _columns_of(labels: Sequence[str], table: pd.DataFrame) -> dict[str, str]:
    """The column of each of `labels` that has exactly one."""
    found = [(label_of(column, labels), column) for column in table if column not in COLUMNS]
    times = [label for label, _ in found]
    return {label: column for label, column in found if label is not None and times.count(label) == 1}


def _named_as(images: Sequence[str], names: pd.Series) -> pd.Series:
    """`names` spelled as `images`, where they differ in what `image_id` leaves out, such as an image's suffix."""
    exact, by_id = set(images), {image_id(image): image for image in images}
    return names.map(lambda name: name if name in exact else by_id.get(image_id(name), name))


def read_cells(path: Path, what: str = "table") -> pd.DataFrame:
    """The cells of the CSV file `path` as text, where `NA` is a name like any other, each row under the number of its
    line. What separates the cells, a comma, semicolon or tab, is the first of these in the header. Rows of blank cells
    are left out. Raises InputError, which calls the file `what`, for rows of another length than the header: their
    cells may be of other columns.

    pandas would rename a column whose name is empty or appears twice, and fill short rows without a word.
    """
    header, rows, line = list[str](), dict[int, list[str]](), 0
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            first = SEPARATOR.search(QUOTED.sub("", file.readline()))
            file.seek(0)
            reader = csv.reader(file, delimiter=first[0] if first else ",", strict=True)
            header, line = next(reader, header), reader.line_num
            for cells in reader:
                if any(cell.strip() for cell in cells):
                    rows[line + 1] = cells
                line = reader.line_num
    except csv.Error as error:
        raise InputError(
            f"the {what} {path}: the row that begins in line {line + 1} has a quote too few or too many ({error})"
        ) from error
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"the {what} {path} can't be read as CSV in UTF-8: {error}") from error
    if not header:
        raise InputError(f"the {what} {path} is empty")
    faults = Faults()
    faults.add(
        f"row of {path} that has not {len(header)} cells, as its header has, in line",
        *(f"{line}: {len(cells)}" for line, cells in rows.items() if len(cells) != len(header)),
    )
    faults.raise_if_any("add or remove cells there; a cell that holds a separator needs quotes around it")
    return pd.DataFrame(rows.values(), index=list(rows), columns=header, dtype=str)


def _read_table(path: Path, what: str, needed: str) -> pd.DataFrame:
    """The CSV file `path`, as `read_cells` reads it, with the column `image`. Raises InputError, which calls the file
    `what` and says which columns are `needed`."""
    rows = read_cells(path, what).map(from_cell).reset_index(drop=True)
    names = [name.strip() if name.strip() in COLUMNS else name for name in map(from_cell, rows)]
    names = ["image" if name in IMAGE_COLUMNS else name for name in names]
    if names.count("image") != 1 or any(names.count(name) > 1 for name in COLUMNS):
        raise InputError(f"the {what} {path} has the columns {in_short(rows)}; it needs {needed}, each of them once")
    return rows.set_axis(names, axis=1)


def stated_columns(table: pd.DataFrame, names: Mapping[str, str]) -> dict[str, pd.Series]:
    """What `table` (of strings) says of the `names`, each in the column given for it or under its other usual names, in
    any case; the first that says something counts, and "" is what nobody knows. A name without a column is left out."""
    cases = {column.lower(): column for column in table}
    known = {}
    for name, given in names.items():
        spellings = (given, *OTHER_NAMES.get(name, []))
        columns = (one if one in table else cases.get(one.lower()) for one in spellings)
        if stated := [table[column].str.strip() for column in columns if column]:
            said = pd.Series("", index=table.index)
            for value in stated:
                said = said.where(said != "", value.mask(value.str.lower().isin(NOTHING), ""))
            if name in ("lesion_id", PATIENT, "skin_tone"):
                said = said.str.replace(WHOLE, r"\1", regex=True)
            known[name] = said.str.lower().replace(SEXES) if name == "sex" else said
    return known


def years_of(table: pd.DataFrame, image: str, faults: Faults) -> pd.Series:
    """The column age as numbers, NaN where it is ""; notes every other text, by the column `image`, in `faults`."""
    years = pd.to_numeric(table["age"], errors="coerce")
    wrong = table[(table["age"] != "") & ~years.between(0, 120)]
    faults.add("age is not a number of years", *(wrong[image] + ": " + wrong["age"].map(repr)))
    return years.astype("float32")


def one_hot_columns(table: pd.DataFrame) -> list[str]:
    """The columns of `table` (of strings) that the ISIC challenges' one-hot form would have: upper case, most of
    their cells 0 or 1, or if none has these, true or false, as pandas writes what its get_dummies makes."""
    capitals = [name for name in table if name.isupper()]
    for marks in (table[capitals].apply(pd.to_numeric, errors="coerce"), _marks(table, capitals)):
        if found := [name for name in marks if marks[name].isin([0, 1]).mean() > 0.5]:
            return found
    return []


def _marks(table: pd.DataFrame, columns: list[str]) -> pd.DataFrame:
    numbers = {"true": "1", "false": "0"}
    return table[columns].apply(lambda cells: pd.to_numeric(cells.str.lower().replace(numbers), errors="coerce"))


def marked_column(table: pd.DataFrame, columns: list[str]) -> pd.Series:
    """The one of `columns` that each row marks with a 1, all others with a 0; None where it marks none, or several."""
    marks = _marks(table, columns)
    one_hot = marks.isin([0, 1]).all(axis=1) & (marks.sum(axis=1) == 1)
    return marks.fillna(0).idxmax(axis=1).where(one_hot, None)


def wrong_marks(table: pd.DataFrame, columns: list[str]) -> dict[Any, str]:
    """Of each row, by the index, with another cell than 0 or 1 in one of `columns`, or with a 1 in several: these
    columns and their values."""
    marks = _marks(table, columns)
    wrong = ~marks.isin([0, 1])
    wrong |= (marks == 1).mul((marks == 1).sum(axis=1) > 1, axis=0)
    faulty = wrong[wrong.any(axis=1)]
    return {
        line: ", ".join(f"{name} {table.at[line, name]!r}" for name in columns if odd[name])
        for line, odd in faulty.iterrows()
    }
