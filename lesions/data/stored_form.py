"""Brings images to the form in which the data set stores them: JPEG of the pixels alone, in sRGB."""

from __future__ import annotations

import re
from io import BytesIO
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageCms

from lesions.images import BadImage, load, open_image, read_file

JPEG_QUALITY = 95
SAME_COLOR = 2  # levels of 255, at most, by which a profile of sRGB itself changes a pixel through rounding
GRAY = ("1", "L", "LA")  # modes of Pillow
EOI, SOS, APP0, APP14 = 0xD9, 0xDA, 0xE0, 0xEE  # markers of a JPEG
NEEDED = {SOS, 0xC0, 0xC1, 0xC4, 0xDB}  # a frame that is not progressive, and tables
UNSEEN = {*range(APP0, 0xF0), 0xFE}  # metadata of applications, and comments
MARKER = re.compile(rb"\xff+([^\x00\xff])")
SLACK = 8  # bytes: without them, several blocks are missing
SCAN_END = re.compile(rb"\xff([^\x00\xff])")


class Prepared(NamedTuple):
    """An image as the data set stores it, and the size in pixels that it came in."""

    content: bytes
    width: int
    height: int


def prepare(path: Path, shorter_side: int) -> Prepared:
    """The file's image as RGB JPEG bytes, upright, its shorter side at most `shorter_side` pixels, aspect kept.

    Nothing but the image is kept: no metadata, thumbnail or comment, which may name a patient. A color profile is
    applied: the pixels are sRGB. A JPEG in that form already keeps its pixels, see `bare_jpeg`: encoding it again
    would only lose detail. Raises BadImage if it can't be decoded completely.
    """
    content = read_file(path)
    loaded = load(content)
    came = loaded.size
    image = _to_srgb(loaded)
    scale = shorter_side / min(came)
    bare = bare_jpeg(content) if scale >= 1 and image is loaded and _is_plain_jpeg(content) else None
    if bare and not _has_slack(bare, image):
        return Prepared(bare, *came)
    if scale < 1:
        width, height = (max(1, round(side * scale)) for side in came)
        image = image.resize((width, height), Image.Resampling.LANCZOS)
    image.info.clear()  # Pillow would write the comment
    encoded = BytesIO()
    image.save(encoded, "JPEG", quality=JPEG_QUALITY)
    return Prepared(encoded.getvalue(), *came)


def _to_srgb(image: Image.Image) -> Image.Image:
    """The `image` in RGB, with its color profile applied; without it where that changes next to nothing, and where
    the profile is broken or of other colors than the image's. An image in RGB that it doesn't change is `image`
    itself."""
    plain = image if image.mode == "RGB" else image.convert("RGB")
    if not (profile := image.info.get("icc_profile")):
        return plain
    own = image if image.mode == "CMYK" else image.convert("L") if image.mode in GRAY else plain
    try:
        source = ImageCms.ImageCmsProfile(BytesIO(profile))
        if source.profile.xcolor_space.strip() != {"L": "GRAY"}.get(own.mode, own.mode):
            return plain
        converted = ImageCms.profileToProfile(own, source, ImageCms.createProfile("sRGB"), outputMode="RGB")
    except (ImageCms.PyCMSError, OSError):
        return plain
    assert converted is not None  # it is None only for a conversion in place
    differs = np.abs(np.asarray(converted, np.int16) - np.asarray(plain, np.int16)).max()
    return converted if differs > SAME_COLOR else plain


def bare_jpeg(content: bytes) -> bytes | None:
    """The JPEG `content` with only the segments that its pixels need (ITU T.81, annex B), up to its end; None if it
    is not built as the standard says, or not of one scan without restarts: anything may stand before each restart, and
    at the end of each scan, and no decoder minds."""
    parts, at = [b"\xff\xd8"], 2
    while found := MARKER.match(content, at):
        marker, at = found[1][0], found.end()
        body = content[at + 2 : at + int.from_bytes(content[at : at + 2])]
        at += 2 + len(body)
        if marker == APP0 and body.startswith(b"JFIF\0"):
            body = body[:12] + b"\0\0"  # without its thumbnail
        elif marker == APP14 and body.startswith(b"Adobe"):
            body = body[:12]  # how the colors are stored
        elif marker in UNSEEN:
            continue
        elif marker not in NEEDED:
            return None
        parts.append(bytes([0xFF, marker]) + (len(body) + 2).to_bytes(2) + body)
        if marker == SOS:
            end = SCAN_END.search(content, at)
            return b"".join([*parts, content[at : end.start()], b"\xff\xd9"]) if end and end[1][0] == EOI else None
    return None


def _has_slack(bare: bytes, image: Image.Image) -> bool:
    """Whether the last SLACK bytes of the JPEG `bare` hold nothing of the `image`: after its last block anything may
    stand, and no decoder minds."""
    try:
        shorter = load(bare[: -SLACK - 2] + b"\xff\xd9")
    except BadImage:  # the whole scan may be as short
        return False
    return np.array_equal(np.asarray(shorter.convert("RGB")), np.asarray(image))


def _is_plain_jpeg(content: bytes) -> bool:
    with open_image(content) as image:
        upright = image.getexif().get(0x0112, 1) == 1
        return image.format == "JPEG" and image.mode == "RGB" and upright
