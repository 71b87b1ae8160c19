"""A first look at the data: figures, and two sentences under each that are computed from the numbers."""

from __future__ import annotations

from base64 import b64encode
from pathlib import Path

import pandas as pd

from lesions.data.exploration.of_images import ReadImages, figures_of_images
from lesions.data.exploration.of_table import figures_of_table
from lesions.data.exploration.reading import Reading
from lesions.dataset import SHARES
from lesions.output.files import write_text
from lesions.output.plain_text import for_markdown
from lesions.output.templates import render


def explore(folder: Path, table: pd.DataFrame, read_images: ReadImages, title: str) -> list[Reading]:
    """Writes the figures, README.md and index.html (self-contained) into `folder`; returns the readings.

    `table` is that of all images, with the size in which each came as `pixels`; `read_images` gives the encoded
    images of some ids.
    """
    table = table[table["split"].isin(SHARES)]
    readings = [*figures_of_table(folder, table), *figures_of_images(folder, table, read_images)]
    found = [reading for reading in readings if reading]  # a column without values has no figure
    sources = {reading.file: b64encode((folder / reading.file).read_bytes()).decode() for reading in found}
    for name in ("page.md.j2", "page.html.j2"):
        page = render(
            Path(__file__).with_name(name), {"for_markdown": for_markdown}, title=title, readings=found, sources=sources
        )
        write_text(folder / {"page.md.j2": "README.md", "page.html.j2": "index.html"}[name], page)
    return found
