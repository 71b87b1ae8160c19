"""Folders that appear whole or not at all."""

from __future__ import annotations

from pathlib import Path

import pytest

from lesions.files import whole_folder


def test_a_folder_is_replaced_when_the_new_one_is_whole_and_not_before(tmp_path: Path) -> None:
    place = tmp_path / "data"
    for text in ("first", "second"):
        with whole_folder(place) as partial:
            (partial / "file").write_text(text)
        assert (place / "file").read_text() == text
    with pytest.raises(FileNotFoundError), whole_folder(place) as partial:
        (partial / "no such folder" / "file").write_text("third")
    assert (place / "file").read_text() == "second" and list(tmp_path.iterdir()) == [place]


def test_a_kill_between_the_two_renames_loses_nothing(tmp_path: Path) -> None:
    place, old, partial = tmp_path / "data", tmp_path / ".data.old", tmp_path / ".data.partial"
    for folder in (old, partial):
        folder.mkdir()
        (folder / "file").write_text(folder.name)
    with pytest.raises(ValueError, match="bad input"), whole_folder(place):
        raise ValueError("bad input")
    assert (place / "file").read_text() == ".data.old" and list(tmp_path.iterdir()) == [place]
