"""Images: find them, decode them completely, bring them to the form in which the data set stores them."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import NamedTuple, TypeVar

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError
from tqdm import tqdm

from lesions.faults import Faults

SUFFIXES = {".jpg", ".jpeg", ".png"}
JPEG_QUALITY = 95
ADVICE = "nothing was written; correct these, or see --on_bad_image for unreadable images"

Result = TypeVar("Result")


class BadImage(Exception):
    """A file that can't be decoded as a complete image; the message says why."""


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
    """The upright RGB image, fully decoded. Raises BadImage if it is unreadable or truncated."""
    try:
        with Image.open(BytesIO(source) if isinstance(source, bytes) else source) as image:
            image.load()
            upright = ImageOps.exif_transpose(image)
            if upright.mode.startswith("I"):  # 16 bits of gray, which convert() would clip at 255
                upright = Image.fromarray((np.asarray(upright) // 256).astype(np.uint8))
            return upright.convert("RGB")
    except UnidentifiedImageError as error:
        raise BadImage("not an image in a format that Pillow knows") from error
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise BadImage(str(error)) from error


class Prepared(NamedTuple):
    """An image as the data set stores it, and the size in pixels that it came in."""

    content: bytes
    width: int
    height: int


def prepare(path: Path, shorter_side: int) -> Prepared:
    """The file's image as RGB JPEG bytes, upright, its shorter side at most `shorter_side` pixels, aspect kept.

    A JPEG in that form already keeps its bytes: encoding it again would only lose detail.
    Raises BadImage if it can't be decoded completely.
    """
    content = path.read_bytes()
    image = decode(content)
    came = image.size
    scale = shorter_side / min(came)
    if scale >= 1 and _is_plain_jpeg(content):
        return Prepared(content, *came)
    if scale < 1:
        width, height = (max(1, round(side * scale)) for side in came)
        image = image.resize((width, height), Image.Resampling.LANCZOS)
    encoded = BytesIO()
    image.save(encoded, "JPEG", quality=JPEG_QUALITY)
    return Prepared(encoded.getvalue(), *came)


def each_image(
    task: Callable[[Path], Result], paths: Sequence[Path], processes: int, what: str
) -> Iterator[Result | BadImage]:
    """Yields `task(path)` for each of `paths` in order, computed in `processes`; a BadImage for one that can't be
    read. `what` names the progress bar."""
    with ProcessPoolExecutor(processes) as pool:
        results = pool.map(partial(_attempt, task), paths, chunksize=32)
        yield from tqdm(results, total=len(paths), desc=what, unit="image")


def find_unreadable(paths: Sequence[Path], processes: int) -> dict[Path, str]:
    """Those of `paths` that can't be decoded completely, each with the reason."""
    results = zip(paths, each_image(_check, paths, processes, "checking images"), strict=True)
    return {path: str(result) for path, result in results if result}


def _check(path: Path) -> None:
    decode(path)


def _attempt(task: Callable[[Path], Result], path: Path) -> Result | BadImage:
    try:
        return task(path)
    except (BadImage, OSError) as error:
        return BadImage(str(error))


def _is_plain_jpeg(content: bytes) -> bool:
    with Image.open(BytesIO(content)) as image:
        upright = image.getexif().get(0x0112, 1) == 1
        return image.format == "JPEG" and image.mode == "RGB" and upright
