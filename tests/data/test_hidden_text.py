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


def jpeg_with_name_before(marker: bytes, **options: object) -> bytes:
    """The name before the `marker` that ends a part of the image which is not the last."""
    plain = saved(halves(), "JPEG", quality=95, **options)
    scan = plain.index(b"\xff\xda")
    at = plain.index(marker, scan + 2)
    return plain[:at] + SECRET + plain[at:]


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
    "JPEG after the last block": saved(halves(), "JPEG", quality=95)[:-2] + SECRET + b"\xff\xd9",
    "JPEG before a restart": jpeg_with_name_before(b"\xff\xd0", restart_marker_blocks=1),
    "JPEG after the first scan of several": jpeg_with_name_before(b"\xff\xc4", progressive=True),
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


@pytest.mark.parametrize("options", [{}, {"optimize": True}, {"subsampling": 0}])
def test_a_jpeg_keeps_its_pixels_without_being_encoded_again(options: dict[str, object], tmp_path: Path) -> None:
    noise = Image.effect_noise((61, 47), 60).convert("RGB")
    plain = saved(noise, "JPEG", quality=80, **options)
    path = tmp_path / "a.jpg"
    path.write_bytes(saved(noise, "JPEG", quality=80, exif=exif(), comment=SECRET, **options) + SECRET)
    assert prepare(path, 256).content == plain == bare_jpeg(plain)


def test_a_jpeg_that_is_not_built_as_it_should_be_is_encoded_again(tmp_path: Path) -> None:
    plain = saved(halves(), "JPEG", quality=95)
    for end in (b"", b"\xff\xd0\xff\xd9", b"\xff\xdc\0\4\0\50\xff\xd9"):  # none, a restart, a number of lines
        assert bare_jpeg(plain[:-2] + end) is None
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


def gray_profile(gamma: float) -> bytes:
    """A profile of gray (ICC.1:2010) whose values are the light to the power 1 / `gamma`."""
    white = b"XYZ \0\0\0\0" + struct.pack(">3i", *(round(65536 * value) for value in (0.9642, 1, 0.8249)))
    curve = b"curv\0\0\0\0" + struct.pack(">IH", 1, round(256 * gamma)) + b"\0\0"
    text = b"desc\0\0\0\0" + struct.pack(">I", 2) + b"x\0" + bytes(78)
    tags, at, body = b"", 128 + 4 + 12 * 3, b""
    for name, content in ((b"wtpt", white), (b"kTRC", curve), (b"desc", text)):
        tags += name + struct.pack(">2I", at + len(body), len(content))
        body += content.ljust(-(-len(content) // 4) * 4, b"\0")
    head = struct.pack(">4x4sI4s4s4s12x4s28x", b"lcms", 0x02100000, b"mntr", b"GRAY", b"XYZ ", b"acsp")
    head += struct.pack(">3i", 63190, 65536, 54061) + bytes(48)
    return struct.pack(">I", at + len(body)) + head[4:] + struct.pack(">I", 3) + tags + body


def test_the_profile_of_a_gray_image_is_applied(tmp_path: Path) -> None:
    """Of gamma 1: a gray of 128 is half the light, which sRGB writes as 188."""
    for form, mode in (("JPEG", "L"), ("PNG", "LA"), ("TIFF", "L")):
        path = tmp_path / "a.jpg"
        path.write_bytes(saved(Image.new(mode, (40, 30), 128), form, icc_profile=gray_profile(1.0)))
        stored = decode(prepare(path, 256).content)
        assert stored.getpixel((20, 15)) == pytest.approx((188, 188, 188), abs=2), form


def test_the_profile_of_a_cmyk_image_is_applied(tmp_path: Path) -> None:
    """A profile from CMYK whose every color is white (ICC.1:2010, lut8Type): whatever the ink, the page is white."""
    lut = b"mft1\0\0\0\0" + bytes([4, 3, 2, 0]) + struct.pack(">9i", *(65536 * (n % 4 == 0) for n in range(9)))
    lut += bytes(range(256)) * 4 + bytes([255, 128, 128]) * 16 + bytes(range(256)) * 3
    head = struct.pack(">4x4sI4s4s4s12x4s28x", b"lcms", 0x02100000, b"prtr", b"CMYK", b"Lab ", b"acsp")
    head += struct.pack(">3i", 63190, 65536, 54061) + bytes(48)
    profile = head[4:] + struct.pack(">I", 1) + b"A2B0" + struct.pack(">2I", 144, len(lut)) + lut
    profile = struct.pack(">I", len(profile) + 4) + profile
    for form in ("JPEG", "TIFF"):
        path = tmp_path / "a.jpg"
        path.write_bytes(saved(halves("CMYK"), form, icc_profile=profile))
        stored = decode(prepare(path, 256).content)
        assert stored.getpixel((10, 20)) == pytest.approx((255, 255, 255), abs=3), form
    path.write_bytes(saved(halves("RGB"), "JPEG", icc_profile=profile, quality=95))  # a profile of other colors
    assert decode(prepare(path, 256).content).getpixel((10, 20))[1] < 60
