"""Where the pictures and their metadata come from: a folder in HAM10000's layout, or the built-in drawn sample."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from lesions import sample
from lesions.faults import InputError

SAMPLE = "sample"


@contextmanager
def open_source(source: str) -> Iterator[Path]:
    """Yields the folder that holds `source`'s metadata and pictures; a drawn sample is removed afterwards."""
    if source == SAMPLE:
        with TemporaryDirectory(prefix="drawn-lesions-") as drawn:
            sample.draw_sample(Path(drawn))
            yield Path(drawn)
        return
    folder = Path(source)
    if not folder.is_dir():
        raise InputError(
            f"there is no folder {folder}: --source takes a folder with HAM10000_metadata.csv and the pictures "
            f"anywhere below it, or `{SAMPLE}` for the built-in drawn lesions"
        )
    yield folder


def describe_source(source: str) -> dict[str, Any]:
    """The source's title, and whether its pictures are drawn: what audit.json and the cards say of it."""
    drawn = source == SAMPLE
    return {"title": "Drawn lesions (not real)" if drawn else "HAM10000", "drawn": drawn}
