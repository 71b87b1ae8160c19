"""Images: find them, and decode them completely."""

from __future__ import annotations

import filecmp
import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from lesions.faults import Faults

# Of what Pillow reads, the formats of photographs. Others need care that no data set deserves: EPS starts Ghostscript.
FORMATS = ("JPEG", "PNG", "WEBP", "TIFF", "BMP", "GIF")
SUFFIXES = {suffix for suffix, kind in Image.registered_extensions().items() if kind in FORMATS}
SUFFIX = re.compile(rf"({'|'.join(map(re.escape, sorted(SUFFIXES, key=len, reverse=True)))})$", re.IGNORECASE)
LARGEST = 256 << 20  # bytes of an image file
ARCHIVES = (".zip", ".tar", ".tar.gz", ".tgz", ".7z", ".rar")
ADVICE = "nothing was written; correct these, or see --on_bad_image for unreadable images"


class BadImage(Exception):
    """A file that can't be decoded as a complete image; the message says why."""


def image_id(name: str) -> str:
    """The id of the image that a table or a folder calls `name`, such as `ISIC_1` for ` ISIC_1.JPG`: without blanks
    around it and an image's suffix, in any case, and with `/` between folders."""
    return SUFFIX.sub("", name.strip().replace("\\", "/").removeprefix("./")).strip()


def image_ids(names: Iterable[str]) -> list[str]:
    """The ids of images by name or path: without the folder, except where two images would then have one id."""
    ids = [image_id(name) for name in names]
    alike = Counter(one.rpartition("/")[2] for one in set(ids))
    return [last if alike[last := one.rpartition("/")[2]] == 1 else one for one in ids]


def files_below(folder: Path) -> Iterator[Path]:
    """Every file below `folder`, in a fixed order; nothing hidden."""
    for place, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        yield from (Path(place, name) for name in sorted(names) if not name.startswith("."))


def image_files(folder: Path) -> Iterator[Path]:
    """Every image file below `folder`, in a fixed order; nothing hidden."""
    return (path for path in files_below(folder) if SUFFIX.search(path.name))


def find_images(folder: Path, faults: Faults, wanted: set[str] | None = None) -> dict[str, Path]:
    """Every image below `folder` by its id, or only the `wanted` ids, which may be paths or the ends of paths.

    Kaggle's release holds each image twice, in folders that differ in case only: equal copies are one image. Unequal
    ones are a fault if one of them is wanted; otherwise the ids of these are their paths. A fault, too, is what is not
    a regular file inside `folder`: a link that leads out of it could publish any file of this machine, and a pipe
    never ends. If images are missing, archives are a fault.
    """
    named: dict[str, list[Path]] = {}
    for path in image_files(folder):
        parts = image_id(path.relative_to(folder).as_posix()).split("/")
        ends = ["/".join(parts[start:]) for start in range(len(parts))]
        name = ends[-1] if wanted is None else next((end for end in ends if end in wanted), None)
        if name is None:
            continue
        if not (is_file_inside(path, folder) if path.is_symlink() else path.is_file()):
            faults.add("image that is not a regular file inside its folder: copy the file itself there", str(path))
            continue
        same = named.setdefault(name, [])
        if not any(filecmp.cmp(path, other, shallow=False) for other in same):
            same.append(path)
    found: dict[str, Path] = {}
    for name, paths in named.items():
        for path in paths:
            by_path = wanted is None and len(paths) > 1
            first = found.setdefault(image_id(path.relative_to(folder).as_posix()) if by_path else name, path)
            if first != path:
                faults.add("two different images of one name", f"{first} and {path}")
    if wanted - found.keys() if wanted else not found:
        packed = (str(path) for path in files_below(folder) if path.name.lower().endswith(ARCHIVES))
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
    content = source if isinstance(source, bytes) else read_file(source)
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


def read_file(path: Path) -> bytes:
    """The bytes of an image file. Raises BadImage if it is a device or a pipe, or larger than any photograph."""
    if not path.is_file():
        raise BadImage("not a regular file")
    if path.stat().st_size > LARGEST:
        raise BadImage(f"larger than {LARGEST >> 20} MiB")
    return path.read_bytes()
