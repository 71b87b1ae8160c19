"""Images: find them, and decode them completely."""

from __future__ import annotations

import filecmp
import os
import re
import sys
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image, ImageFile, ImageOps, UnidentifiedImageError

from lesions.faults import Faults
from lesions.output.plain_text import in_short, one_line

# Of what Pillow reads, the formats of photographs. Others need care that no data set deserves: EPS starts Ghostscript.
FORMATS = ("JPEG", "PNG", "WEBP", "TIFF", "BMP", "GIF")
SUFFIXES = {suffix for suffix, kind in Image.registered_extensions().items() if kind in FORMATS}
SUFFIX = re.compile(rf"({'|'.join(map(re.escape, sorted(SUFFIXES, key=len, reverse=True)))})$", re.IGNORECASE)
# As the ISIC challenges name the masks of an image, and others do.
MASK = re.compile(r"(.+)_(?:segmentation|superpixels|attribute_\w+|mask)", re.IGNORECASE)
TYPES = ", ".join(sorted(SUFFIXES))  # as a message names them
DARK = 256 >> 2  # of 256 levels: 14 bits or fewer, kept in 16, stay below it
LARGEST = 256 << 20  # bytes of an image file
ARCHIVES = (".zip", ".tar", ".tar.gz", ".tgz", ".7z", ".rar")
LINKED = "folder that is a link, which is not followed: copy the folder itself there"
ADVICE = "nothing was written; correct these, or see --on_bad_image for unreadable images"


class BadImage(Exception):
    """A file that can't be decoded as a complete image; the message says why."""


def image_id(name: str) -> str:
    """The id of the image that a table or a folder calls `name`, such as `ISIC_1` for ` ISIC_1.JPG`: without blanks
    around it and an image's suffix, in any case, with `/` between folders, and its accents as tables write them: a Mac
    takes them apart in file names."""
    name = unicodedata.normalize("NFC", name).strip().replace("\\", "/")
    return SUFFIX.sub("", name.removeprefix("./")).strip()


def image_ids(names: Iterable[str]) -> list[str]:
    """The ids of images by name or path: without the folder, except where two images would then have one id."""
    ids = [image_id(name) for name in names]
    alike = Counter(one.rpartition("/")[2] for one in set(ids))
    return [last if alike[last := one.rpartition("/")[2]] == 1 else one for one in ids]


def files_below(folder: Path) -> Iterator[Path]:
    """Every file below `folder`, in a fixed order, and every folder that is a link, which is not followed; nothing
    hidden. Raises OSError for a folder that can't be read."""

    def refuse(error: OSError) -> None:
        raise error

    for place, folders, names in os.walk(folder, onerror=refuse):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        names += [name for name in folders if Path(place, name).is_symlink()]
        yield from (Path(place, name) for name in sorted(names) if not name.startswith("."))


def image_files(folder: Path) -> list[Path]:
    """Every image file below `folder`, in a fixed order; nothing hidden, and no mask of an image that is there too."""
    return _images_among(files_below(folder))


def _images_among(files: Iterable[Path]) -> list[Path]:
    paths = [path for path in files if SUFFIX.search(path.name)]
    ids = {image_id(path.name) for path in paths}
    return [path for path in paths if not (mask := MASK.fullmatch(image_id(path.name))) or mask[1] not in ids]


def linked_folders(folder: Path) -> list[Path]:
    """Every link to a folder, below `folder`."""
    return [path for path in files_below(folder) if path.is_symlink() and path.is_dir()]


def archives(folder: Path) -> list[Path]:
    """Every archive below `folder`."""
    return [path for path in files_below(folder) if path.name.lower().endswith(ARCHIVES)]


def tell_passed_over(folder: Path) -> None:
    """Says on stderr which files below `folder` are not images of a type that is read, if any, or masks of images."""
    files = [*files_below(folder)]
    others = {*files}.difference(_images_among(files))
    if others:
        named = one_line(in_short(sorted(path.relative_to(folder).as_posix() for path in others)))
        print(f"left out, not of a type that is read ({TYPES}), or the mask of an image: {named}", file=sys.stderr)


def find_images(folder: Path, faults: Faults, wanted: set[str] | None = None) -> dict[str, Path]:
    """Every image below `folder` by its id, or only the `wanted` ids, which may be paths or the ends of paths.

    Kaggle's release holds each image twice, in folders that differ in case only: equal copies are one image. Unequal
    ones are a fault if one of them is wanted; otherwise the ids of these are their paths. A fault, too, is what is not
    a regular file inside `folder`: a link that leads out of it could publish any file of this machine, and a pipe
    never ends. If images are missing, archives and linked folders are a fault.
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
        faults.add("archive whose images can't be read: unpack it", *map(str, archives(folder)))
        faults.add(LINKED, *map(str, linked_folders(folder)))
    return found


def is_file_inside(path: Path, folder: Path) -> bool:
    """Whether `path` is a regular file, not a device or a pipe, and lies in `folder` once links are followed."""
    return path.is_file() and path.resolve().is_relative_to(folder.resolve())


def open_image(content: bytes) -> ImageFile.ImageFile:
    """The image, of one of the FORMATS, of which only the header is read yet. Raises BadImage for anything else."""
    with _clear_errors():
        return Image.open(BytesIO(content), formats=FORMATS)


def decode(source: Path | bytes) -> Image.Image:
    """The upright RGB image, fully decoded. Raises BadImage as `load` does."""
    with _clear_errors():
        return load(source).convert("RGB")


def load(source: Path | bytes) -> Image.Image:
    """The upright image, fully decoded, in its own mode, of which Pillow converts each to RGB. Raises BadImage if it
    is unreadable or truncated, or if nobody knows which number is white: in gray of 32 bits, and where 16 bits hold
    levels of fewer, as those of 12 bits, and would come out almost black."""
    content = source if isinstance(source, bytes) else read_file(source)
    with _clear_errors(), open_image(content) as image:
        of_16_bits = ";16" in str(image.tile)
        image.load()
        upright = ImageOps.exif_transpose(image)
        if upright.mode in ("I", "F"):
            raise BadImage("gray of 32 bits, in which the number of white is not known; save it with 8 or 16")
        if upright.mode.startswith("I;16"):  # which convert() would clip at 255
            upright = Image.fromarray((np.asarray(upright) // 256).astype(np.uint8))
        if of_16_bits and (brightest := int(np.asarray(upright.convert("RGB")).max())) < DARK:
            raise BadImage(
                f"no pixel uses more than {brightest.bit_length() + 8} of its 16 bits, as if its levels had fewer, and "
                "the number of white is not known; save it with 8 bits"
            )
        return upright


@contextmanager
def _clear_errors() -> Iterator[None]:
    """Turns whatever Pillow raises into BadImage: a damaged file breaks its decoders in ways of every type."""
    try:
        yield
    except BadImage:
        raise
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
