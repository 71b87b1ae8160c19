"""A folder of images, or a single file, as rows for a model."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path
from typing import Any

from PIL import Image

from lesions.faults import SHOWN_OF_A_KIND, Faults, InputError
from lesions.images import SUFFIXES, BadImage, decode, find_images
from lesions.output.plain_text import escaped, one_line

TYPES = ", ".join(sorted(SUFFIXES))


class ImageFolder:
    """The images in a folder, at any depth, or one file, as rows. Each is decoded once, when its row is read.

    Says which files of the folder it passes over. A broken file gives a black image and is remembered. Call
    `raise_if_broken` after the last row: it raises InputError with all broken files.
    """

    def __init__(self, place: Path) -> None:
        if re.match("[a-z]+:/", str(place)):  # Path turns two slashes into one
            raise InputError(f"{place} is an address; download the image and give --images the file")
        if not place.exists():
            raise InputError(f"there is no file or folder {place}")
        self.faults = Faults()
        found = find_images(place, self.faults) if place.is_dir() else {place.stem: place}
        self.paths = {escaped(name): path for name, path in found.items()}
        self.raise_if_broken()
        self.names = sorted(self.paths)
        if others := passed_over(place):
            more = f" and {len(others) - SHOWN_OF_A_KIND} more" if len(others) > SHOWN_OF_A_KIND else ""
            named = one_line(", ".join(others[:SHOWN_OF_A_KIND])) + more
            print(f"left out, not of a type that is read ({TYPES}): {named}", file=sys.stderr)
        if not self.names:
            raise InputError(f"{place} holds no image ({TYPES})")

    def raise_if_broken(self) -> None:
        for places in self.faults.by_kind.values():
            places.sort()  # several threads may have noted them
        self.faults.raise_if_any("repair these files, or remove them")

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: int) -> dict[str, Any]:
        path = self.paths[self.names[index]]
        try:
            return {"image": decode(path), "label": -1}
        except BadImage as error:
            self.faults.add("image unreadable", f"{path}: {error}")
            return {"image": Image.new("RGB", (8, 8)), "label": -1}


def passed_over(folder: Path) -> list[str]:
    """What `find_images` passes over, as relative paths: files of other types, and linked folders. Hidden ones are
    nobody's images."""
    found = []
    for place, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        others = [name for name in names if Path(name).suffix.lower() not in SUFFIXES and not name.startswith(".")]
        linked = [name for name in folders if Path(place, name).is_symlink()]
        found += [Path(place, name).relative_to(folder).as_posix() for name in (*others, *linked)]
    return sorted(found)
