"""Pairs of images side by side, for a person to judge."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pandas as pd
from PIL import Image, ImageDraw

from lesions.images import decode
from lesions.output.files import whole_file

SHEET_PAIRS = 500  # on the contact sheet, at most


def save_contact_sheet(path: Path, pairs: pd.DataFrame, images: Mapping[str, Path | bytes], side: int = 150) -> None:
    """Writes the pairs side by side with their scores, the weakest first. `images` has the file, or its content, of
    each image_id."""
    pairs = pairs.sort_values("score").head(SHEET_PAIRS)
    columns, width, height = 5, 2 * side + 12, side + 28
    rows = max(1, -(-len(pairs) // columns))  # no image has no pixels
    sheet = Image.new("RGB", (columns * width, rows * height), "white")
    draw = ImageDraw.Draw(sheet)
    for number, row in enumerate(pairs.itertuples()):
        x, y = number % columns * width, number // columns * height
        for offset, name in enumerate((row.image_id, row.other_image_id)):
            sheet.paste(decode(images[name]).resize((side, side)), (x + offset * (side + 2), y))
            draw.text((x + offset * (side + 2), y + side + 1), name, fill="black")
        draw.text((x, y + side + 13), f"score {row.score}", fill="black")
    with whole_file(path) as partial:
        sheet.save(partial)
