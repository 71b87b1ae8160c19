"""The search for images of one lesion under two ids, and what follows from a pair."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
from conftest import command
from in_process import in_process
from PIL import Image

from lesions.data.duplicates.groups import PUBLISHED_PAIRS, describe_merges, describe_pairs, find_merges, group_lesions
from lesions.data.duplicates.keypoints import LONGEST, find_keypoints
from lesions.data.duplicates.search import find_pairs

WAYS = {
    "turned": lambda image: image.rotate(90, expand=True),
    "tilted": lambda image: image.rotate(20, resample=Image.Resampling.BICUBIC),
    "cropped": lambda image: image.crop((50, 40, 260, 200)),
    "smaller": lambda image: image.resize((image.width // 2, image.height // 2)),
    "darker": lambda image: image.point(lambda value: int(value * 0.8)),
    "recompressed": lambda image: image,
    "squashed to a square": lambda image: image.resize((224, 224)),
}


def skin(seed: int) -> Image.Image:
    """An image with fine marks of its own, and the same ruler as every other along its lower edge."""
    random = np.random.RandomState(seed)
    marks = sum(cv2.GaussianBlur(random.normal(size=(224, 298)), (0, 0), sigma) * sigma for sigma in (2, 4, 9))
    gray = np.uint8((150 + 60 * marks / np.abs(marks).max()).clip(0, 255))
    gray[204:214, 40:250:8] = 20
    return Image.fromarray(gray).convert("RGB")


def test_finds_what_was_photographed_again_and_nothing_else(tmp_path: Path) -> None:
    paths, lesions = [], []
    for seed in range(40):
        paths.append(tmp_path / f"{seed}.jpg")
        lesions.append(f"lesion {seed}")
        skin(seed).save(paths[-1], quality=90)
    expected = set()
    for seed, (way, change) in enumerate(WAYS.items()):
        expected.add((seed, len(paths)))
        paths.append(tmp_path / f"{way}.jpg")
        lesions.append(way)
        change(skin(seed)).save(paths[-1], quality=40)
    table = pd.DataFrame({"image_id": range(len(paths)), "lesion_id": lesions, "dx": "nv", "path": paths})
    found = find_pairs(table, processes=2)
    assert set(zip(found["image_id"], found["other_image_id"], strict=True)) == expected
    assert len(find_pairs(table.assign(lesion_id="one lesion"), processes=1)) == 0


@pytest.fixture
def table() -> pd.DataFrame:
    """Six images of five lesions, of which the published list joins some."""
    pairs = pd.read_csv(PUBLISHED_PAIRS)
    first, second = pairs.loc[0, "image_id"], pairs.loc[0, "other_image_id"]
    images = [first, second, "x1", "x2", "x3", "x4"]
    lesions = ["b", "a", "c", "d", "d", "e"]
    diagnoses = ["nv", "nv", "nv", "nv", "nv", "mel"]
    return pd.DataFrame({"image_id": images, "lesion_id": lesions, "patient_id": lesions, "dx": diagnoses})


def test_joined_lesions_form_one_group(table: pd.DataFrame) -> None:
    pairs = describe_pairs(pd.read_csv(PUBLISHED_PAIRS), table)
    assert len(pairs) == 1
    assert list(group_lesions(table, pairs)) == ["a", "a", "c", "d", "d", "e"]
    chain = pd.DataFrame({"lesion_id": ["b", "c"], "other_lesion_id": ["c", "d"], "dx": "nv", "other_dx": "nv"})
    assert list(group_lesions(table, chain)) == ["b", "a", "b", "b", "b", "e"]


def test_two_diagnoses_are_reported_and_not_merged(table: pd.DataFrame) -> None:
    table.loc[1, "dx"] = "mel"
    pairs = describe_pairs(pd.read_csv(PUBLISHED_PAIRS), table)
    groups = group_lesions(table, pairs)
    assert list(groups) == list(table["lesion_id"])
    table = table.assign(split=["train", "test"] + ["train"] * 4, group_id=groups)
    report = describe_merges(table, pairs, "merge")
    assert report["pairs_with_two_diagnoses"] == 1 and report["pairs_across_splits"] == 1


def test_only_what_no_search_has_covered_is_searched(tmp_path: Path) -> None:
    names = ["ISIC_0024306", "ISIC_0024307", "new", "new again"]
    paths = [tmp_path / f"{name}.jpg" for name in names]
    for path, seed in zip(paths, (1, 1, 2, 2), strict=True):
        skin(seed).save(path, quality=90)
    table = pd.DataFrame({"image_id": names, "lesion_id": names, "dx": "nv", "path": paths})
    found = find_merges(table, processes=1)
    # The first two lie within HAM10000, whose pairs are known: these are none of them.
    assert found[["image_id", "other_image_id"]].to_numpy().tolist() == [["new", "new again"]]
    assert (found["score"] >= 10).all()


def test_equal_images_are_pairs_however_smooth_they_are(tmp_path: Path) -> None:
    names = ["a", "b", "c", "d", "e", "same lesion", "unlike"]
    paths = [tmp_path / f"{name}.png" for name in names]
    for path in paths:  # no keypoint is on any of these
        Image.linear_gradient("L").rotate(90 * (path.stem == "unlike")).save(path)
    diagnoses = ["mel", "nv", "mel", "nv", "nv", "nv", "nv"]
    table = pd.DataFrame({"image_id": names, "lesion_id": names, "patient_id": names, "dx": diagnoses, "path": paths})
    table.loc[5, "lesion_id"] = table.loc[5, "patient_id"] = "e"
    found = find_merges(table, processes=1)
    assert (found["score"] == 0).all()
    assert list(group_lesions(table, found)) == ["a", "b", "a", "b", "b", "b", "unlike"]
    known = find_pairs(table, 1, pd.Series([name == "c" for name in names]))
    assert known[["image_id", "other_image_id"]].to_numpy().tolist() == [["a", "c"], ["b", "c"]]


def test_the_command_finds_nothing_and_says_so(tmp_path: Path) -> None:
    rows = [f"L{seed},I{seed},nv,histo,50,male,back" for seed in range(3)]
    header = "lesion_id,image_id,dx,dx_type,age,sex,localization"
    (tmp_path / "HAM10000_metadata.csv").write_text("\n".join([header, *rows]))
    for seed in range(3):
        skin(seed).save(tmp_path / f"I{seed}.jpg")
    pairs, sheet = tmp_path / "out" / "pairs.csv", tmp_path / "out" / "sheet.png"
    options = ("--pairs", pairs, "--sheet", sheet, "--num_proc", 1)
    assert "0 pairs in" in in_process("-m", "lesions.data.duplicates", tmp_path, *options).stdout
    assert pairs.read_text() == "image_id,other_image_id,score\n" and sheet.is_file()


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (("--pairs", "{tmp}"), "is a folder"),
        (("--pairs", "{tmp}/file/pairs.csv"), "is a file, not a folder"),
        (("--pairs", "{tmp}/a.csv", "--sheet", "{tmp}/sheet"), "give a name that ends in .png"),
        (("--pairs", "{tmp}/a.csv", "--num_proc", "0"), "--num_proc must be at least 1"),
    ],
)
def test_what_can_not_be_written_is_refused_before_the_search(
    options: tuple[str, ...], expected: str, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    words = [word.format(tmp=tmp_path) for word in options]
    assert expected in in_process("-m", "lesions.data.duplicates", "nothing", *words, check=2).stderr


def test_images_of_one_color_have_no_pairs(tmp_path: Path) -> None:
    paths = [tmp_path / f"{number}.png" for number in range(3)]
    for path in paths:
        Image.new("RGB", (40, 30), "pink").save(path)
    table = pd.DataFrame({"image_id": ["a", "b", "c"], "lesion_id": ["a", "b", "c"], "dx": "nv", "path": paths})
    assert len(find_pairs(table, processes=1)) == 0


def test_the_published_pairs_of_ham10000_are_kept_together(real_data: Path, tmp_path: Path) -> None:
    audits = {}
    for audit in ("report", "merge", "off"):
        command("data_prep.py", "--source", real_data, "--output", tmp_path / audit, "--audit", audit)
        audits[audit] = json.loads((tmp_path / audit / "audit.json").read_text())
    assert audits["report"]["fingerprint"] == audits["off"]["fingerprint"] != audits["merge"]["fingerprint"]
    assert audits["report"]["duplicates"]["pairs_across_splits"] > 0 == len(audits["off"]["duplicates"]["pairs"])
    merged = audits["merge"]
    assert merged["n_lesions"] - merged["n_groups"] == merged["duplicates"]["lesions_merged"] > 0
    assert merged["duplicates"]["lesions_merged"] < 0.025 * merged["n_lesions"]
    assert merged["duplicates"]["pairs_across_splits"] <= merged["duplicates"]["pairs_with_two_diagnoses"]
    assert Image.open(tmp_path / "merge" / "audit_pairs.png").width > 1000
    splits = pd.read_csv(tmp_path / "merge" / "splits.csv")
    assert (splits.groupby("group_id")["split"].nunique() == 1).all()
    for shares in merged["split"]["classes"].values():
        of_images = [split["share_of_images"] for split in shares.values()]
        assert max(of_images) - min(of_images) < 0.01


@pytest.mark.parametrize("size", [(5000, 1), (1, 70_000), (1, 1)])
def test_a_strip_of_pixels_does_not_fill_the_memory(size: tuple[int, int], tmp_path: Path) -> None:
    Image.new("RGB", size, "red").save(tmp_path / "a.png")
    keypoints = find_keypoints([tmp_path / "a.png"], 1)
    assert keypoints.shapes.max() <= LONGEST // 2 and not len(keypoints.points)
