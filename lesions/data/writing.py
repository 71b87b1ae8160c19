"""The folder of a prepared data set: Parquet, splits.csv, audit.json, the card and, on request, figures."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd

from lesions.data.dataset_card import render_dataset_card
from lesions.data.duplicates.contact_sheet import save_contact_sheet
from lesions.data.options import Options
from lesions.data.parquet import read_images, write_splits
from lesions.faults import Faults
from lesions.images import ADVICE
from lesions.output.files import write_csv, write_json, write_text


def write_dataset(
    folder: Path,
    table: pd.DataFrame,
    pairs: pd.DataFrame,
    paths: dict[str, Path],
    audit: dict[str, Any],
    options: Options,
) -> None:
    """Writes everything that the data set consists of into `folder`; `paths` are the originals of all images, also of
    those that are left out. Raises InputError for images that can't be decoded."""
    faults = Faults()
    (folder / "data").mkdir()
    pixels = write_splits(folder / "data", table, audit["classes"], options.image_size, options.num_proc, faults)
    faults.raise_if_any(ADVICE)
    write_csv(folder / "splits.csv", table[["image_id", "lesion_id", "group_id", "dx", "split"]])
    stored = partial(read_images, folder / "data")
    if len(pairs):
        images = stored({*pairs["image_id"], *pairs["other_image_id"]})
        save_contact_sheet(folder / "audit_pairs.png", pairs, {**paths, **images})
    readings = []
    if options.explore:
        from lesions.data.exploration.page import explore  # pulls in Matplotlib

        readings = explore(folder / "explore", table.assign(pixels=pixels), stored, audit["source"]["title"])
    write_json(folder / "audit.json", audit)
    name = options.hub_dataset_id or str(options.output)
    write_text(folder / "README.md", render_dataset_card(audit, name, readings))
