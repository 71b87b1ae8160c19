"""A folder of images, or a single file, as rows for a model."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from PIL import Image

from lesions.faults import Faults, InputError
from lesions.images import TYPES, BadImage, decode, find_images, tell_passed_over
from lesions.output.plain_text import escaped


class ImageFolder:
    """The images in a folder, at any depth, or one file, as rows. Each is decoded once, when its row is read.

    Says which files of the folder it passes over. A broken file gives a black image and is remembered. Call
    `raise_if_broken` after the last row: it raises InputError with all broken files.
    """

    def __init__(self, place: Path) -> None:
        if re.match("[a-z]+:/", str(place)):  # Path turns two slashes into one
            raise InputError(f"{place} is an address; download the image and give --images the file")
        if not place.exists():
            raise InputError(f"{place} does not exist; give --images an image or a folder")
        self.faults = Faults()
        found = find_images(place, self.faults) if place.is_dir() else {place.stem: place}
        self.paths = {escaped(name): path for name, path in found.items()}
        self.raise_if_broken()
        self.names = sorted(self.paths)
        if place.is_dir():
            tell_passed_over(place)
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
