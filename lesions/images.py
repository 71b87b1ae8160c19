"""Images: find them, decode them whole, bring them to the form in which the data set keeps them."""

from __future__ import annotations

import os
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from lesions.faults import Faults

SUFFIXES = {".jpg", ".jpeg", ".png"}
JPEG_QUALITY = 95


class BadImage(Exception):
    """A file that can't be decoded as a whole image; the message says why."""


def find_images(folder: Path, faults: Faults, wanted: set[str] | None = None) -> dict[str, Path]:
    """Every image below `folder` by its file name without suffix, optionally only the `wanted` names.

    Kaggle's release holds each image twice, in folders that differ in case only: equal copies are one
    image, unequal ones a fault.
    """
    found: dict[str, Path] = {}
    for place, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(names):
            path = Path(place, name)
            if path.suffix.lower() not in SUFFIXES or name.startswith(".") or (wanted and path.stem not in wanted):
                continue
            first = found.setdefault(path.stem, path)
            if first != path and first.read_bytes() != path.read_bytes():
                faults.add("two different images of one name", f"{first} and {path}")
    return found


def decode(source: Path | bytes) -> Image.Image:
    """The upright RGB image, fully decoded. Raises BadImage where it is unreadable or truncated."""
    try:
        with Image.open(BytesIO(source) if isinstance(source, bytes) else source) as image:
            image.load()
            upright = ImageOps.exif_transpose(image)
            if upright.mode.startswith("I"):  # 16 bits of gray, which convert() would cut off at 255
                upright = Image.fromarray((np.asarray(upright) // 256).astype(np.uint8))
            return upright.convert("RGB")
    except UnidentifiedImageError as error:
        raise BadImage("not an image in a format that Pillow knows") from error
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise BadImage(str(error)) from error


def prepare(path: Path, shorter_side: int) -> bytes:
    """The file's image as RGB JPEG bytes, upright, its shorter side at most `shorter_side` pixels, aspect kept.

    A JPEG that is so already keeps its bytes: encoding it again would only lose detail.
    Raises BadImage where it can't be decoded whole.
    """
    content = path.read_bytes()
    image = decode(content)
    scale = shorter_side / min(image.size)
    if scale >= 1 and _is_plain_jpeg(content):
        return content
    if scale < 1:
        width, height = (max(1, round(side * scale)) for side in image.size)
        image = image.resize((width, height), Image.Resampling.LANCZOS)
    encoded = BytesIO()
    image.save(encoded, "JPEG", quality=JPEG_QUALITY)
    return encoded.getvalue()


def _is_plain_jpeg(content: bytes) -> bool:
    with Image.open(BytesIO(content)) as image:
        upright = image.getexif().get(0x0112, 1) == 1
        return image.format == "JPEG" and image.mode == "RGB" and upright
