"""Predictions and ground truth as CSV, in the form of the ISIC challenges and in that of HAM10000."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from lesions.diagnoses import isic_order
from lesions.faults import Faults, InputError
from lesions.output.files import write_csv
from lesions.output.plain_text import from_cell


def write_predictions(path: Path, images: list[str], probabilities: NDArray[np.float64], labels: list[str]) -> None:
    """Writes `image,MEL,NV,BCC,AKIEC,BKL,DF,VASC`, one row per image, as ISIC 2018 Task 3 takes it.

    With all digits: rounding could tie two diagnoses or move a metric.
    """
    table = pd.DataFrame(probabilities, columns=labels)[isic_order(labels)].rename(columns=str.upper)
    table.insert(0, "image", images)
    write_csv(path, table)


def read_predictions(path: Path) -> tuple[NDArray[np.float64], list[str], list[str]]:
    """What `write_predictions` wrote: probabilities (n, classes), the labels of their columns, and the images."""
    table = pd.read_csv(path, dtype={"image": str}).rename(columns=from_cell).set_index("image").rename(from_cell)
    return table.to_numpy(np.float64), [column.lower() for column in table], list(table.index)


def write_ground_truth(path: Path, rows: pd.DataFrame, dx: list[str]) -> None:
    """Writes `image_id,lesion_id,dx`, so that others can measure the predictions again.

    `rows` has one row per image: `image`, and `lesion_id` where it is known.
    """
    table = rows[[name for name in ("image", "lesion_id") if name in rows]].rename(columns={"image": "image_id"})
    write_csv(path, table.assign(dx=dx))


def read_ground_truth(path: Path, labels: list[str], images: list[str]) -> pd.DataFrame:
    """The true diagnosis of each of `images`, in their order: columns `dx` and, where the file has it, `lesion_id`.

    Takes the ISIC one-hot form (`image,MEL,NV,...`) and HAM10000's (`image_id,dx`). Rows of other images are
    ignored. Raises InputError that names every image without exactly one known diagnosis.
    """
    try:
        table = pd.read_csv(path, dtype=str, encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError, pd.errors.ParserError, pd.errors.EmptyDataError) as error:
        raise InputError(f"the ground truth {path} can't be read as CSV: {error}") from error
    table = table.rename(columns=from_cell).map(from_cell, na_action="ignore")
    if {"image_id", "dx"} <= set(table):
        table = table.rename(columns={"image_id": "image"})
    elif {"image", *map(str.upper, labels)} <= set(table):
        table["dx"] = from_one_hot(table, [label.upper() for label in labels])
    else:
        raise InputError(
            f"the ground truth {path} has the columns {', '.join(table)}; it needs image_id,dx "
            f"or image,{','.join(isic_order(labels)).upper()}"
        )
    faults = Faults()
    known = table[table["image"].isin(images)]
    faults.add("image without ground truth", *sorted(set(images) - set(known["image"])))
    faults.add("image with two rows", *sorted(set(known["image"][known["image"].duplicated()])))
    faults.add("no diagnosis that the model knows", *known["image"][~known["dx"].isin(labels)])
    faults.raise_if_any(f"correct {path}; the model knows {', '.join(labels)}")
    return known.set_index("image").loc[images].reset_index()


def one_hot_columns(table: pd.DataFrame) -> list[str]:
    """The columns of `table` (of strings) that the ISIC challenges' one-hot form would have: upper case, all 0 or 1."""
    marks = table[[name for name in table if name.isupper()]].apply(pd.to_numeric, errors="coerce")
    return [name for name in marks if marks[name].isin([0, 1]).all()]


def from_one_hot(table: pd.DataFrame, columns: list[str]) -> pd.Series:
    """The name, in lower case, of the one of `columns` that each row marks; None where it marks none or several."""
    marks = table[columns].apply(pd.to_numeric, errors="coerce")
    one_hot = marks.isin([0, 1]).all(axis=1) & (marks.sum(axis=1) == 1)
    return marks.fillna(0).idxmax(axis=1).str.lower().where(one_hot, None)
