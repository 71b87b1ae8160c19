"""The splits as Parquet files with the features that `datasets` reads."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from itertools import islice
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from datasets import ClassLabel, Features, Image, Value
from pyarrow.dataset import dataset, field

from lesions.data.stored_form import Prepared, prepare
from lesions.data.workers import each_image
from lesions.dataset import SHARES
from lesions.faults import Faults
from lesions.images import BadImage

ROWS_IN_A_GROUP = 100  # small row groups: the Hub's viewer and random access read one at a time
BYTES_IN_A_FILE = 400_000_000


def features(classes: Sequence[str], optional: Sequence[str] = ()) -> Features:
    """The columns of the data set, with `classes` as the names of the labels; the `optional` ones are strings."""
    return Features(
        {
            "image": Image(),
            "label": ClassLabel(names=list(classes)),
            "image_id": Value("string"),
            "lesion_id": Value("string"),
            "dx_type": Value("string"),
            "age": Value("float32"),
            "sex": Value("string"),
            "localization": Value("string"),
            **{name: Value("string") for name in optional},
        }
    )


def _optional_columns(table: pd.DataFrame) -> list[str]:
    """Columns that HAM10000 alone does not need: the source if there are several, the skin tone if any is known."""
    several = table["source"].nunique() > 1
    return ["source"] * several + ["skin_tone"] * bool((table["skin_tone"] != "unknown").any())


def write_splits(
    folder: Path, table: pd.DataFrame, classes: Sequence[str], shorter_side: int, processes: int, faults: Faults
) -> pd.Series:
    """Writes the rows of `table` into `folder`: the image at `path` and its metadata, to the files of its `split`.

    Several processes prepare the images, each once, while those before it are written. Those that can't be decoded
    are noted in `faults`; what was written is useless then. Returns the size in which each image came, such as
    `600 x 450` pixels, by the index of `table`.
    """
    names = [*SHARES, *sorted(set(table["split"]) - set(SHARES))]
    ordered = pd.concat([table[table["split"] == split] for split in names])
    sizes: list[str] = []

    def stored() -> Iterator[bytes]:
        task = partial(prepare, shorter_side=shorter_side)
        prepared = each_image(task, list(ordered["path"]), processes, "storing images")
        for path, image in zip(ordered["path"], prepared, strict=True):
            if isinstance(image, BadImage):
                faults.add("image unreadable", f"{path}: {image}")
                image = Prepared(b"", 0, 0)
            sizes.append(f"{image.width} x {image.height}")
            yield image.content

    images, columns = stored(), features(classes, _optional_columns(table))
    for split in names:
        _write_split(folder, split, table[table["split"] == split], columns, images)
    return pd.Series(sizes, index=ordered.index)


def _write_split(folder: Path, split: str, rows: pd.DataFrame, columns_of: Features, images: Iterator[bytes]) -> None:
    """Writes one split, with one of `images` for each row; only one row group of them is in memory at a time."""
    schema = columns_of.arrow_schema
    files: list[Path] = []
    writer: pq.ParquetWriter | None = None
    written = 0
    for start in range(0, len(rows), ROWS_IN_A_GROUP):
        batch = rows.iloc[start : start + ROWS_IN_A_GROUP]
        contents = list(islice(images, len(batch)))
        if writer is None or written > BYTES_IN_A_FILE:
            if writer:
                writer.close()
            files.append(folder / f"{split}-{len(files):05d}.parquet")
            writer, written = pq.ParquetWriter(files[-1], schema), 0
        columns = {name: list(batch[name]) for name in schema.names if name not in ("image", "label")}
        columns["age"] = list(batch["age"].astype(object).where(batch["age"].notna(), None))
        columns["label"] = [columns_of["label"].str2int(dx) for dx in batch["dx"]]
        columns["image"] = [
            {"bytes": content, "path": f"{name}.jpg"} for name, content in zip(batch["image_id"], contents, strict=True)
        ]
        arrays = [pa.array(columns[name], type=schema.field(name).type) for name in schema.names]
        writer.write_table(pa.Table.from_arrays(arrays, schema=schema))
        written += sum(map(len, contents))
    if writer:
        writer.close()
    for number, file in enumerate(files):
        file.rename(folder / f"{split}-{number:05d}-of-{len(files):05d}.parquet")


def read_images(folder: Path, names: Iterable[str]) -> dict[str, bytes]:
    """The stored bytes of those of the images `names` that `folder` holds, by image_id."""
    rows = dataset(folder, format="parquet").to_table(
        columns=["image_id", "image"], filter=field("image_id").isin(sorted(set(names)))
    )
    return {row["image_id"]: row["image"]["bytes"] for row in rows.to_pylist()}
