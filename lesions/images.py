"""Images: find them, decode them completely, bring them to the form in which the data set stores them."""

from __future__ import annotations

import filecmp
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import NamedTuple, TypeVar

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError
from tqdm import tqdm

from lesions.faults import Faults

# Of what Pillow reads, the formats of photographs. Others need care that no data set deserves: EPS starts Ghostscript.
FORMATS = ("JPEG", "PNG", "WEBP", "TIFF", "BMP", "GIF")
SUFFIXES = {suffix for suffix, kind in Image.registered_extensions().items() if kind in FORMATS}
LARGEST = 256 << 20  # bytes of an image file
ARCHIVES = (".zip", ".tar", ".tar.gz", ".tgz", ".7z", ".rar")
JPEG_QUALITY = 95
ADVICE = "nothing was written; correct these, or see --on_bad_image for unreadable images"

Result = TypeVar("Result")


class BadImage(Exception):
    """A file that can't be decoded as a complete image; the message says why."""


def find_images(folder: Path, faults: Faults, wanted: set[str] | None = None) -> dict[str, Path]:
    """Every image below `folder` by its file name without suffix, optionally only the `wanted` names.

    Kaggle's release holds each image twice, in folders that differ in case only: equal copies are one
    image, unequal ones a fault. So is what is not a regular file inside `folder`: a link that leads out of it could
    publish any file of this machine, and a pipe never ends. If images are missing, archives are a fault too.
    """
    found: dict[str, Path] = {}
    packed: list[str] = []
    for place, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(names):
            path = Path(place, name)
            if name.lower().endswith(ARCHIVES):
                packed.append(str(path))
            if path.suffix.lower() not in SUFFIXES or name.startswith(".") or (wanted and path.stem not in wanted):
                continue
            if not (is_file_inside(path, folder) if path.is_symlink() else path.is_file()):
                faults.add("image that is not a regular file inside its folder: copy the file itself there", str(path))
                continue
            first = found.setdefault(path.stem, path)
            if first != path and not filecmp.cmp(first, path, shallow=False):
                faults.add("two different images of one name", f"{first} and {path}")
    if wanted - found.keys() if wanted else not found:
        faults.add("archive whose images can't be read: unpack it", *packed)
    return found


def is_file_inside(path: Path, folder: Path) -> bool:
    """Whether `path` is a regular file, not a device or a pipe, and lies in `folder` once links are followed."""
    return path.is_file() and path.resolve().is_relative_to(folder.resolve())


def open_image(content: bytes) -> Image.Image:
    """The image, of one of the FORMATS, of which only the header is read yet. Raises BadImage for anything else."""
    with _clear_errors():
        return Image.open(BytesIO(content), formats=FORMATS)


def decode(source: Path | bytes) -> Image.Image:
    """The upright RGB image, fully decoded. Raises BadImage if it is unreadable or truncated."""
    content = source if isinstance(source, bytes) else _content(source)
    with _clear_errors(), open_image(content) as image:
        image.load()
        upright = ImageOps.exif_transpose(image)
        if upright.mode.startswith("I"):  # 16 bits of gray, which convert() would clip at 255
            upright = Image.fromarray((np.asarray(upright) // 256).astype(np.uint8))
        return upright.convert("RGB")


@contextmanager
def _clear_errors() -> Iterator[None]:
    """Turns whatever Pillow raises into BadImage: a damaged file breaks its decoders in ways of every type."""
    try:
        yield
    except UnidentifiedImageError as error:
        raise BadImage(f"not an image in a format that is read ({', '.join(FORMATS)})") from error
    except Exception as error:
        raise BadImage(str(error) or type(error).__name__) from error


def _content(path: Path) -> bytes:
    if not path.is_file():
        raise BadImage("not a regular file")
    if path.stat().st_size > LARGEST:
        raise BadImage(f"larger than {LARGEST >> 20} MiB")
    return path.read_bytes()


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
    content = _content(path)
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
    with open_image(content) as image:
        upright = image.getexif().get(0x0112, 1) == 1
        return image.format == "JPEG" and image.mode == "RGB" and upright
