"""The data set on disk, in the layout that the Hub and `load_dataset` know: data/SPLIT-00000-of-00001.parquet."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from datasets import ClassLabel, Features, Image, Value

ROWS_IN_A_GROUP = 100  # small row groups: the Hub's viewer and random access read one at a time
BYTES_IN_A_FILE = 400_000_000


def features(classes: Sequence[str]) -> Features:
    """The columns of the data set, with `classes` as the names of the labels."""
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
        }
    )


def write_split(
    folder: Path, split: str, rows: pd.DataFrame, classes: Sequence[str], read_image: Callable[[str], bytes]
) -> None:
    """Writes the metadata `rows` of one split, with the JPEG bytes that `read_image(image_id)` gives.

    Only one row group of images is in memory at a time.
    """
    columns_of = features(classes)
    schema = columns_of.arrow_schema
    files: list[Path] = []
    writer: pq.ParquetWriter | None = None
    written = 0
    for start in range(0, len(rows), ROWS_IN_A_GROUP):
        batch = rows.iloc[start : start + ROWS_IN_A_GROUP]
        images = [{"bytes": read_image(name), "path": f"{name}.jpg"} for name in batch["image_id"]]
        if writer is None or written > BYTES_IN_A_FILE:
            if writer:
                writer.close()
            files.append(folder / f"{split}-{len(files):05d}.parquet")
            writer, written = pq.ParquetWriter(files[-1], schema), 0
        columns = {name: batch[name] for name in schema.names if name not in ("image", "label")}
        columns["age"] = batch["age"].astype(object).where(batch["age"].notna(), None)
        columns["label"] = [columns_of["label"].str2int(dx) for dx in batch["dx"]]
        arrays = [
            pa.array(images if name == "image" else list(columns[name]), type=schema.field(name).type)
            for name in schema.names
        ]
        writer.write_table(pa.Table.from_arrays(arrays, schema=schema))
        written += sum(len(image["bytes"]) for image in images)
    if writer:
        writer.close()
    for number, file in enumerate(files):
        file.rename(folder / f"{split}-{number:05d}-of-{len(files):05d}.parquet")
