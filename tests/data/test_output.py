"""Where data_prep.py writes: only over what it wrote, and what it writes harms no reader."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
from conftest import command
from in_process import in_process

from lesions.data.dataset_card import render_dataset_card
from lesions.dataset import dataset_fingerprint, load_splits
from lesions.faults import InputError
from lesions.output.files import read_json


def test_somebodys_files_in_the_output_are_named_and_kept(sample: Path, tmp_path: Path) -> None:
    place = tmp_path / "data"
    shutil.copytree(sample, place)
    (place / "notes.txt").write_text("mine")
    (place / "explore").mkdir()
    (place / "explore" / "mine.txt").write_text("mine")
    (place / "data" / "mine.parquet").write_text("mine")
    (place / "model").mkdir()
    (place / "model" / "model.safetensors").write_text("mine")
    error = command("data_prep.py", "--source", "sample", "--output", place, check=2).stderr
    assert "notes.txt" in error and "model/model.safetensors" in error and "train" not in error
    assert "explore/mine.txt" in error and "data/mine.parquet" in error
    assert (place / "notes.txt").read_text() == "mine" and (place / "model" / "model.safetensors").exists()


@pytest.mark.parametrize(
    ("place", "expected"),
    [("/proc/data", "can't be written to"), ("/proc", "is a mount point"), (".", "current folder")],
)
def test_a_place_that_takes_no_output_is_refused_before_the_work(place: str, expected: str) -> None:
    error = command("data_prep.py", "--source", "sample", "--output", place, check=2).stderr
    assert expected in error or "is not a data set of this program" in error


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (("--seed", "-1"), "--seed must be at least 0"),
        (("--extra_test", "all=somewhere"), "none of ['train', 'validation', 'test', 'all']"),
        (("--cache_dir", "/proc/cache", "--source", "isic"), "/proc can't be written to"),
    ],
)
def test_options_that_can_not_work_are_refused_before_the_work(
    options: tuple[str, ...], expected: str, tmp_path: Path
) -> None:
    done = in_process("data_prep.py", "--source", "sample", "--output", tmp_path / "data", *options, check=2)
    assert expected in done.stderr


def test_a_title_and_classes_from_data_stay_in_their_place(sample: Path) -> None:
    audit = read_json(sample / "audit.json")
    title = "a: b\n---\n<script>"
    audit["sources"][title] = audit["sources"].pop(audit["source"]["title"])
    audit["source"] |= {"title": title, "drawn": False}
    audit["split"]["classes"]["x|y`"] = audit["split"]["classes"].pop("vasc")
    card = render_dataset_card(audit, "data/x")
    assert 'pretty_name: "a: b --- \\u0026lt;script\\u003e, split by lesion"' in card
    assert "<script" not in card and card.count("\n---\n") == 1 and "x\\|y'" in card


def test_the_card_knows_one_scale_of_skin_tones(sample: Path) -> None:
    audit = read_json(sample / "audit.json")
    card = render_dataset_card({**audit, "skin_tones": {"0": 3, "5": 2}}, "data/x")
    assert "| `skin_tone` | from 0, very dark, to 5, very light, as MILK10k" in card
    card = render_dataset_card({**audit, "skin_tones": {"12": 3, "56": 2}}, "data/x")
    assert "| `skin_tone` | as its source states it" in card and "very dark" not in card


def test_a_user_without_home_and_a_terminal_without_unicode(tmp_path: Path) -> None:
    environment = {"PYTHONIOENCODING": "cp1252", "HOME": "", "XDG_CACHE_HOME": os.fspath(tmp_path / "cache")}
    command("data_prep.py", "--source", "sample", "--output", tmp_path / "data", **environment)
    assert (tmp_path / "data" / "audit.json").is_file()


def test_paths_with_signs_that_libraries_read_as_patterns(sample: Path, tmp_path: Path) -> None:
    place = tmp_path / "a [1]*é"
    shutil.copytree(sample, place)
    dataset = load_splits(str(place), "test")
    assert dataset_fingerprint(dataset) == dataset_fingerprint(load_splits(str(sample), "test"))
    (tmp_path / "a::b").mkdir()
    with pytest.raises(InputError, match="can't open a path with `::`; rename that folder"):
        load_splits(str(tmp_path / "a::b"))
