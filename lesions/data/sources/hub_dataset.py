"""Any image data set of the Hub, stored as a folder of images with a metadata table.

The table is written last: a folder that has one is complete, and the network is not asked again.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
from tqdm import tqdm

from lesions.data.metadata import finish_metadata
from lesions.data.table_files import METADATA, Columns
from lesions.faults import InputError
from lesions.output.files import whole_file
from lesions.output.places import plain_name


def from_hub(repo: str, columns: Columns, cache: Path) -> Path:
    """A data set of the Hub with an image column and a diagnosis, all its splits together. Raises InputError.

    `columns.image` names the image column. The image ids come from a column `image_id`, or else from the row numbers.
    """
    from datasets import ClassLabel, Image, load_dataset

    from lesions.hub import local_folder

    snapshot = local_folder(repo, "dataset", everything=True)
    folder = cache / "hub" / repo.replace("/", "--") / snapshot.name
    if (folder / METADATA).is_file():
        return folder
    rows: list[dict[str, Any]] = []
    for split, part in load_dataset(str(snapshot)).items():
        missing = [name for name in (columns.image, columns.label) if name not in part.features]
        if missing or not isinstance(part.features[columns.image], Image):
            raise InputError(
                f"{repo} has no image column {columns.image} or no column {columns.label}; it has "
                f"{', '.join(part.features)}: name them with --image_column, --label_column and --group_column"
            )
        label = part.features[columns.label]
        encoded = part.cast_column(columns.image, Image(decode=False))
        for number, row in enumerate(tqdm(encoded, desc=f"reading {split}", unit="image")):
            name = str(row.get("image_id") or f"{split}_{number:06d}")
            _store(row.pop(columns.image), folder / f"{plain_name(name, 'an image_id')}.jpg")
            code = row[columns.label]
            dx = label.int2str(code) if isinstance(label, ClassLabel) and code is not None else code
            rows.append({**row, "image_id": name, "dx": dx})
    return finish_metadata(folder, pd.DataFrame(rows))


def _store(image: dict[str, Any], path: Path) -> None:
    content = image["bytes"] if image["bytes"] is not None else Path(image["path"]).read_bytes()
    with whole_file(path) as partial:
        partial.write_bytes(content)
