"""A patient's name hides in many places of an image file. None of them may get into the data set."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageCms, PngImagePlugin, TiffImagePlugin
from test_metadata import halves, saved

from lesions.data.stored_form import bare_jpeg, prepare
from lesions.images import decode

NAME = "Erika Mustermann"
SECRET = NAME.encode()
FORMS = {"JPEG": "jpg", "PNG": "png", "WEBP": "jpg", "TIFF": "jpg"}  # Pillow goes by the content, whatever the suffix
XMP = f"<x:xmpmeta xmlns:x='adobe:ns:meta/'>{NAME}</x:xmpmeta>".encode()


def exif(orientation: int = 1) -> Image.Exif:
    """EXIF with the name as the artist, as the owner of the camera, and in the place of the photograph."""
    fields = Image.Exif()
    fields[0x0112], fields[0x013B], fields[0x9C9D] = orientation, NAME, NAME.encode("utf-16-le")
    fields.get_ifd(0x8769)[0xA430] = NAME
    fields.get_ifd(0x8825)[0x1D] = NAME
    return fields


def srgb_profile(text: str) -> bytes:
    """A profile of sRGB with the `text` in place of its description."""
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    old = "sRGB built-in".encode("utf-16-be")
    assert old in profile
    return profile.replace(old, text[:13].ljust(13).encode("utf-16-be"))


def segment(marker: int, body: bytes) -> bytes:
    return bytes([0xFF, marker]) + struct.pack(">H", len(body) + 2) + body


def jpeg_with(*segments: bytes, after: bytes = b"") -> bytes:
    plain = saved(halves(), "JPEG", quality=95)
    return plain[:2] + b"".join(segments) + plain[2:] + after


def jfif_with_thumbnail() -> bytes:
    plain = saved(halves(), "JPEG", quality=95)
    pixels = SECRET.ljust(8 * 3 * 2)[: 8 * 2 * 3]
    body = plain[6:18] + bytes([8, 2]) + pixels
    return plain[:2] + segment(0xE0, body) + plain[20:]


def png_with(*chunks: tuple[bytes, bytes], after: bytes = b"") -> bytes:
    plain = saved(halves(), "PNG")
    end = plain.index(b"IEND") - 4
    made = [struct.pack(">I", len(d)) + k + d + struct.pack(">I", zlib.crc32(k + d)) for k, d in chunks]
    return plain[:end] + b"".join(made) + plain[end:] + after


def png_text() -> bytes:
    text = PngImagePlugin.PngInfo()
    text.add_text("Author", NAME)
    text.add_itxt("Title", NAME, zip=True)
    return saved(halves(), "PNG", pnginfo=text)


def tiff_tags() -> bytes:
    tags = TiffImagePlugin.ImageFileDirectory_v2()
    tags[270], tags[315], tags[700], tags[33723] = NAME, NAME, XMP, SECRET
    return saved(halves(), "TIFF", tiffinfo=tags)


HIDDEN = {
    **{f"{form} EXIF": saved(halves(), form, exif=exif()) for form in FORMS},
    **{f"{form} ICC": saved(halves(), form, icc_profile=srgb_profile(NAME)) for form in FORMS},
    **{f"{form} XMP": saved(halves(), form, xmp=XMP) for form in ("JPEG", "WEBP")},
    **{f"{form} after the end": saved(halves(), form) + SECRET for form in FORMS},
    "JPEG EXIF, turned": saved(halves().rotate(180), "JPEG", exif=exif(3), quality=95),
    "JPEG XMP by hand": jpeg_with(segment(0xE1, b"http://ns.adobe.com/xap/1.0/\0" + XMP)),
    "JPEG IPTC": jpeg_with(segment(0xED, b"Photoshop 3.0\x008BIM\x04\x04\0\0\0\0\0\x15\x1c\2\x50\0\x10" + SECRET)),
    "JPEG comment": saved(halves(), "JPEG", comment=SECRET),
    "JPEG unknown segments": jpeg_with(*(segment(0xE0 + number, SECRET) for number in range(16))),
    "JPEG JFIF thumbnail": jfif_with_thumbnail(),
    "JPEG JFXX thumbnail": jpeg_with(segment(0xE0, b"JFXX\0\x10" + saved(halves(), "JPEG", comment=SECRET))),
    "JPEG Adobe, longer": jpeg_with(segment(0xEE, b"Adobe\0\x64\0\0\0\0\1" + SECRET)),
    "JPEG second image": saved(halves(), "JPEG") + saved(halves(), "JPEG", comment=SECRET),
    "PNG text": png_text(),
    "PNG EXIF after the data": png_with((b"eXIf", exif().tobytes()[6:])),
    "PNG private chunk": png_with((b"naMe", SECRET)),
    "GIF comment": saved(halves(), "GIF", comment=SECRET),
    "TIFF tags": tiff_tags(),
}


@pytest.mark.parametrize("side", [256, 20], ids=["that needs no change", "made smaller"])
@pytest.mark.parametrize("place", HIDDEN)
def test_a_name_does_not_get_into_the_data_set(place: str, side: int, tmp_path: Path) -> None:
    form = place.split()[0]
    path = tmp_path / f"a.{FORMS.get(form, 'jpg')}"
    path.write_bytes(HIDDEN[place])
    stored = prepare(path, side).content
    for spelled in (SECRET, NAME.encode("utf-16-le"), NAME.encode("utf-16-be"), NAME[:13].encode("utf-16-be")):
        assert spelled not in stored
    image = Image.open(io.BytesIO(stored))
    assert image.format == "JPEG" and set(image.info) <= {"jfif", "jfif_version", "jfif_unit", "jfif_density", "dpi",
                                                          "adobe", "adobe_transform"}  # fmt: skip
    assert not image.getexif() and image.size == ((60, 40) if side == 256 else (30, 20))
    left, right = (decode(stored).getpixel((x * image.width // 60, 10)) for x in (10, 50))
    assert left[0] > 150 > 80 > right[0] and right[2] > 150  # red is on the left still


@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"restart_marker_blocks": 1}, {"subsampling": 0}])
def test_a_jpeg_keeps_its_pixels_without_being_encoded_again(options: dict[str, object], tmp_path: Path) -> None:
    noise = Image.effect_noise((61, 47), 60).convert("RGB")
    plain = saved(noise, "JPEG", quality=80, **options)
    path = tmp_path / "a.jpg"
    path.write_bytes(saved(noise, "JPEG", quality=80, exif=exif(), comment=SECRET, **options) + SECRET)
    assert prepare(path, 256).content == plain == bare_jpeg(plain)


def test_a_jpeg_that_is_not_built_as_it_should_be_is_encoded_again(tmp_path: Path) -> None:
    plain = saved(halves(), "JPEG", quality=95)
    path = tmp_path / "a.jpg"
    path.write_bytes(plain[:20] + SECRET + plain[20:])  # between two segments, which libjpeg only warns of
    assert bare_jpeg(path.read_bytes()) is None and SECRET not in prepare(path, 256).content


@pytest.mark.parametrize("side", [256, 20])
def test_the_effect_of_a_color_profile_is_kept(side: int, tmp_path: Path) -> None:
    """A profile whose red and blue are exchanged: without it, the left half would be blue."""
    profile = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    red, blue = profile.index(b"rXYZ"), profile.index(b"bXYZ")
    profile[red : red + 4], profile[blue : blue + 4] = b"bXYZ", b"rXYZ"
    for form in FORMS:
        path = tmp_path / "a.jpg"
        path.write_bytes(saved(halves(), form, icc_profile=bytes(profile), quality=95))
        stored = decode(prepare(path, side).content)
        assert "icc_profile" not in stored.info
        left = stored.getpixel((stored.width // 6, 10))
        assert left[2] > 150 > left[0], (form, left)


def test_a_broken_profile_does_not_matter(tmp_path: Path) -> None:
    path = tmp_path / "a.jpg"
    path.write_bytes(saved(halves(), "JPEG", icc_profile=SECRET * 20, quality=95))
    stored = prepare(path, 256).content
    assert SECRET not in stored and np.array_equal(np.asarray(decode(stored)), np.asarray(decode(path)))
