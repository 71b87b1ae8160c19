"""Which files are read as images, and that nothing else is opened."""

from __future__ import annotations

import io
import os
from pathlib import Path

import pytest
from PIL import Image

from lesions.data.stored_form import prepare
from lesions.faults import Faults, InputError
from lesions.images import FORMATS, LARGEST, SUFFIXES, BadImage, decode, find_images

PHOTO = Image.linear_gradient("L").convert("RGB").resize((40, 30))


def saved(kind: str) -> bytes:
    content = io.BytesIO()
    PHOTO.save(content, kind)
    return content.getvalue()


def others() -> list[str]:
    """Formats that Pillow can write and that are not read here."""
    Image.init()
    written = []
    for kind in set(Image.SAVE) & set(Image.OPEN) - {*FORMATS}:
        try:
            saved(kind)
        except (OSError, ValueError, TypeError):
            continue
        written.append(kind)
    return sorted(written)


@pytest.mark.parametrize("kind", [*FORMATS, "MPO"])  # MPO: JPEG of a camera with a preview in it
def test_photographs_are_read_whatever_their_suffix(kind: str, tmp_path: Path) -> None:
    (tmp_path / "a.JPG").write_bytes(saved(kind))
    assert decode(tmp_path / "a.JPG").size == decode(saved(kind)).size == PHOTO.size
    assert {".jpg", ".jfif", ".png", ".webp", ".tif", ".bmp"} < SUFFIXES


@pytest.mark.parametrize("kind", others())
def test_other_formats_are_not_opened(kind: str) -> None:
    with Image.open(io.BytesIO(saved(kind))) as image:  # Pillow alone would
        assert image.format not in FORMATS
    with pytest.raises(BadImage, match=r"not an image in a format that is read \(JPEG, "):
        decode(saved(kind))


def test_postscript_named_jpg_starts_no_program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "bin").mkdir()
    ghostscript = tmp_path / "bin" / "gs"
    ghostscript.write_text(f"#!/bin/sh\ntouch '{tmp_path}/started'\n")
    ghostscript.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}")
    (tmp_path / "lesion.jpg").write_bytes(saved("EPS"))
    for read in (decode, lambda path: prepare(path, 256)):
        with pytest.raises(BadImage):
            read(tmp_path / "lesion.jpg")
    assert not (tmp_path / "started").exists()


@pytest.mark.parametrize("kind", FORMATS)
def test_a_damaged_file_is_a_bad_image_whatever_the_decoder_raises(kind: str) -> None:
    whole, broken = saved(kind), 0
    for at in range(0, len(whole), max(1, len(whole) // 150)):
        for content in (whole[:at], whole[:at] + b"\xff\x7f\xff" + whole[at + 3 :]):
            try:
                decode(content)
            except BadImage:
                broken += 1
    assert broken > 10


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "source" / "deep").mkdir(parents=True)
    (tmp_path / "source" / "good.jpg").write_bytes(saved("JPEG"))
    (tmp_path / "private.jpg").write_bytes(saved("PNG"))
    return tmp_path / "source"


def refused(folder: Path, wanted: set[str] | None = None) -> str:
    faults = Faults()
    assert set(find_images(folder, faults, wanted)) <= {"good", "inside"}
    with pytest.raises(InputError) as error:
        faults.raise_if_any("")
    return str(error.value)


def test_what_is_not_a_regular_file_inside_the_folder_is_refused(folder: Path) -> None:
    for name, target in {
        "out": "../../private.jpg",
        "absolute": folder.parent / "private.jpg",
        "zero": "/dev/zero",
    }.items():
        (folder / "deep" / f"{name}.jpg").symlink_to(target)
    (folder / "deep" / "gone.jpg").symlink_to("nowhere.jpg")
    (folder / "deep" / "loop.jpg").symlink_to("loop.jpg")
    (folder / "deep" / "inside.jpg").symlink_to("../good.jpg")
    os.mkfifo(folder / "deep" / "pipe.jpg")
    said = refused(folder)
    assert "not a regular file inside its folder: copy the file itself there (6)" in said
    assert all(f"{name}.jpg" in said for name in ("out", "absolute", "zero", "gone", "loop", "pipe"))
    assert "pipe" not in refused(folder, {"good", "zero"})  # only what is asked for
    with pytest.raises(BadImage, match="not a regular file"):
        decode(folder / "deep" / "pipe.jpg")


def test_a_link_to_the_whole_folder_is_fine(folder: Path) -> None:
    (folder.parent / "link").symlink_to(folder)
    faults = Faults()
    assert list(find_images(folder.parent / "link", faults)) == ["good"] and not faults.by_kind


def test_an_endless_file_is_not_read(folder: Path) -> None:
    with (folder / "huge.jpg").open("wb") as file:
        file.truncate(LARGEST + 1)
    with pytest.raises(BadImage, match="larger than 256 MiB"):
        decode(folder / "huge.jpg")


def test_an_archive_in_place_of_the_images_is_named(folder: Path) -> None:
    (folder / "deep" / "part_2.ZIP").touch()
    said = refused(folder, {"good", "missing"})
    assert "archive whose images can't be read: unpack it (1)" in said and "part_2.ZIP" in said
    faults = Faults()
    find_images(folder, faults, {"good"})
    find_images(folder, faults)
    assert not faults.by_kind  # none is missing
    (folder / "good.jpg").unlink()
    assert "part_2.ZIP" in refused(folder)


def test_a_linked_folder_is_named_where_images_are_missing(folder: Path) -> None:
    (folder.parent / "other").mkdir()
    (folder / "linked").symlink_to(folder.parent / "other")
    said = refused(folder, {"good", "missing"})
    assert "folder that is a link, which is not followed" in said and "linked" in said
    faults = Faults()
    find_images(folder, faults, {"good"})
    assert not faults.by_kind


def test_a_folder_that_can_not_be_read_is_never_passed_over(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def scandir(place: object) -> object:
        if str(place).endswith("deep"):
            raise PermissionError(13, "Permission denied", str(place))
        return listing(place)

    listing = os.scandir
    monkeypatch.setattr(os, "scandir", scandir)
    with pytest.raises(PermissionError, match="deep"):
        find_images(folder, Faults())
