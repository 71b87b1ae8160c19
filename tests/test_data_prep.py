"""data_prep.py as a command, on small folders in HAM10000's layout."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from conftest import command
from datasets import load_dataset
from PIL import Image

from lesions.diagnoses import CODES
from lesions.images import BadPicture, decode, prepare


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """Seven diagnoses, five lesions each, two pictures a lesion, in two folders."""
    folder = tmp_path / "source"
    rows = []
    for number in range(70):
        name, dx = f"ISIC_{number:04d}", CODES[number // 10]
        place = folder / f"part_{number % 2}"
        place.mkdir(parents=True, exist_ok=True)
        colour = tuple(np.random.RandomState(number).randint(0, 255, 3).tolist())
        Image.new("RGB", (40, 30), colour).save(place / f"{name}{('.jpg', '.JPEG', '.png')[number % 3]}")
        rows.append((f"HAM_{number // 2:04d}", name, dx, "histo", 50.0, "male", "back"))
    columns = ["lesion_id", "image_id", "dx", "dx_type", "age", "sex", "localization"]
    pd.DataFrame(rows, columns=columns).to_csv(folder / "HAM10000_metadata.csv", index=False)
    return folder


def prepare_data(source: object, output: Path, *options: object, check: int = 0) -> str:
    """Runs data_prep.py without the search for lesions under two ids; returns what it says on stderr."""
    return command(
        "data_prep.py", "--source", source, "--output", output, "--audit", "off", *options, check=check
    ).stderr


def edit_table(source: Path, change) -> None:
    path = source / "HAM10000_metadata.csv"
    change(pd.read_csv(path, dtype=str)).to_csv(path, index=False)


def test_writes_the_hub_layout_that_load_dataset_reads(source: Path, tmp_path: Path) -> None:
    edit_table(source, lambda t: t.assign(age=[np.nan, "0.0", *t["age"][2:]], sex=["", "unknown", *t["sex"][2:]]))
    output = tmp_path / "out"
    prepare_data(source, output)

    data = load_dataset(str(output), cache_dir=str(tmp_path / "cache"))
    assert {split: len(part) for split, part in data.items()} == {"train": 42, "validation": 14, "test": 14}
    assert data["train"].features["label"].names == list(CODES)
    rows = {row["image_id"]: row for part in data.values() for row in part}
    assert rows["ISIC_0000"]["age"] is None and rows["ISIC_0000"]["sex"] == "unknown"
    assert rows["ISIC_0001"]["age"] == 0 and rows["ISIC_0001"]["sex"] == "unknown"
    assert rows["ISIC_0002"]["image"].size == (40, 30)

    splits = pd.read_csv(output / "splits.csv")
    assert list(splits) == ["image_id", "lesion_id", "group_id", "dx", "split"]
    assert (splits.groupby("group_id")["split"].nunique() == 1).all()
    audit = json.loads((output / "audit.json").read_text())
    card = (output / "README.md").read_text()
    assert audit["fingerprint"] in card and "cc-by-nc-4.0" in card
    assert sorted(path.name for path in output.iterdir()) == ["README.md", "audit.json", "data", "splits.csv"]


def test_reports_every_fault_at_once_and_writes_nothing(source: Path, tmp_path: Path) -> None:
    def spoil(table: pd.DataFrame) -> pd.DataFrame:
        table.loc[0, "dx"] = "wart"
        table.loc[3, "image_id"] = "ISIC_0002"
        table.loc[5, "dx"] = "vasc"
        table.loc[6, "age"] = "old"
        table.loc[8, "lesion_id"] = ""
        return table

    edit_table(source, spoil)
    next(source.rglob("ISIC_0020.*")).unlink()
    truncated = next(source.rglob("ISIC_0021.*"))
    truncated.write_bytes(truncated.read_bytes()[:200])
    next(source.rglob("ISIC_0022.*")).write_bytes(b"")
    before = sorted(tmp_path.rglob("*"))
    error = prepare_data(source, tmp_path / "out", check=2)
    for expected in (
        "'wart'",
        "image_id appears more than once (1):\n  ISIC_0002",
        "lesion with two diagnoses",
        "HAM_0002: akiec, vasc",
        "'old'",
        "lesion_id is empty, in line (1):\n  10",
        "picture missing (1):\n  ISIC_0020",
        "picture unreadable (2)",
        "ISIC_0021",
        "ISIC_0022",
    ):
        assert expected in error, error
    assert sorted(tmp_path.rglob("*")) == before


def test_lists_twenty_of_a_kind_and_counts_the_rest(source: Path, tmp_path: Path) -> None:
    edit_table(source, lambda table: table.assign(dx="wart"))
    error = prepare_data(source, tmp_path / "out", check=2)
    assert error.count("'wart'") == 20 and "... and 50 more" in error


def test_missing_columns_are_named(source: Path, tmp_path: Path) -> None:
    edit_table(source, lambda table: table.drop(columns=["age", "dx"]))
    assert "lacks the columns dx, age" in prepare_data(source, tmp_path / "out", check=2)


def test_skip_leaves_unreadable_pictures_out_and_lists_them(source: Path, tmp_path: Path) -> None:
    next(source.rglob("ISIC_0021.*")).write_bytes(b"no picture")
    output = tmp_path / "out"
    prepare_data(source, output, "--on_bad_image", "skip")
    audit = json.loads((output / "audit.json").read_text())
    assert [entry["image_id"] for entry in audit["skipped_images"]] == ["ISIC_0021"]
    assert audit["n_images"] == 69 and "ISIC_0021" not in (output / "splits.csv").read_text()


def test_same_split_whatever_the_order_of_rows_files_and_processes(source: Path, tmp_path: Path) -> None:
    prepare_data(source, tmp_path / "a", "--num_proc", 1)
    edit_table(source, lambda table: table.sample(frac=1, random_state=0))
    (source / "HAM10000_metadata.csv").rename(source / "HAM10000_metadata")
    (source / "part_0").rename(source / "z")
    prepare_data(source, tmp_path / "b", "--num_proc", 3)
    prepare_data(source, tmp_path / "c", "--seed", 43)
    first, second, other = (tmp_path / name for name in "abc")
    assert (first / "splits.csv").read_bytes() == (second / "splits.csv").read_bytes()
    for file in first.rglob("*.parquet"):
        assert file.read_bytes() == (second / file.relative_to(first)).read_bytes()
    assert (first / "splits.csv").read_bytes() != (other / "splits.csv").read_bytes()


def test_a_diagnosis_that_cannot_reach_every_split_is_named(source: Path, tmp_path: Path) -> None:
    edit_table(source, lambda table: table[(table["dx"] != "df") | (table["lesion_id"] == "HAM_0015")])
    error = prepare_data(source, tmp_path / "out", check=2)
    assert "fewer lesions than the 3 splits (1):\n  df: 1" in error and not (tmp_path / "out").exists()


def test_replaces_an_older_data_set_but_nothing_else(source: Path, tmp_path: Path) -> None:
    output = tmp_path / "out"
    output.mkdir()
    (output / "thesis.tex").write_text("years of work")
    assert "is no data set" in prepare_data(source, output, check=2)
    assert (output / "thesis.tex").exists()
    (output / "thesis.tex").unlink()
    prepare_data(source, output)
    prepare_data(source, output, "--seed", 1)
    assert json.loads((output / "audit.json").read_text())["split"]["seed"] == 1


def test_load_dataset_sees_a_data_set_made_anew_at_the_same_path(source: Path, tmp_path: Path) -> None:
    splits = []
    for seed in (1, 2):
        prepare_data(source, tmp_path / "out", "--seed", seed)
        splits.append(load_dataset(str(tmp_path / "out"), split="test")["image_id"][:])
    assert splits[0] != splits[1]
    assert splits[1] == pd.read_csv(tmp_path / "out" / "splits.csv").query("split == 'test'")["image_id"].tolist()


def test_equal_copies_are_one_picture_and_unequal_ones_a_fault(source: Path, tmp_path: Path) -> None:
    shutil.copytree(source / "part_0", source / "PART_0")
    prepare_data(source, tmp_path / "out")
    Image.new("RGB", (8, 8)).save(source / "PART_0" / "ISIC_0000.jpg")
    error = prepare_data(source, tmp_path / "out", check=2)
    assert "two different pictures of one name (1)" in error


def test_wrong_source_says_what_to_give(tmp_path: Path) -> None:
    assert "there is no folder" in prepare_data("nowhere", "x", check=2)
    assert "no HAM10000_metadata.csv" in prepare_data(tmp_path, "x", check=2)


def test_the_sample_is_the_same_every_time_and_says_it_is_drawn(sample: Path, tmp_path: Path) -> None:
    command("data_prep.py", "--source", "sample", "--output", tmp_path / "again")
    assert (tmp_path / "again" / "splits.csv").read_bytes() == (sample / "splits.csv").read_bytes()
    assert "drawn by a program" in (sample / "README.md").read_text()


def encode(path: Path, image: Image.Image, **options) -> Path:
    image.save(path, **options)
    return path


def test_pictures_come_out_upright_rgb_and_never_enlarged(tmp_path: Path) -> None:
    left_red = Image.new("RGB", (60, 40), "blue")
    left_red.paste("red", (0, 0, 30, 40))
    turned = Image.Exif()
    turned[0x0112] = 6  # stored lying, to be turned a quarter clockwise
    path = encode(tmp_path / "turned.jpg", left_red, exif=turned, quality=95)
    upright = decode(prepare(path, 100))
    assert upright.size == (40, 60) and upright.getpixel((20, 5))[0] > 200 and upright.getpixel((20, 55))[2] > 200

    smaller = decode(prepare(encode(tmp_path / "large.png", Image.new("RGB", (600, 450))), 256))
    assert smaller.size == (341, 256)
    for mode in ("L", "RGBA", "P", "CMYK"):
        name = f"{mode}.jpg" if mode == "CMYK" else f"{mode}.png"
        image = decode(prepare(encode(tmp_path / name, Image.new(mode, (20, 10))), 256))
        assert (image.mode, image.size) == ("RGB", (20, 10))


def test_a_fitting_jpeg_keeps_its_bytes(tmp_path: Path) -> None:
    path = encode(tmp_path / "a.jpg", Image.effect_noise((40, 30), 50).convert("RGB"), quality=75)
    assert prepare(path, 256) == path.read_bytes()
    assert prepare(path, 20) != path.read_bytes()


@pytest.mark.parametrize("content", [b"", b"GIF89a", b"\xff\xd8\xff\xe0 cut short"])
def test_bad_pictures_are_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "bad.jpg").write_bytes(content)
    with pytest.raises(BadPicture):
        prepare(tmp_path / "bad.jpg", 256)


def test_the_real_data_set(real_data: Path, tmp_path: Path) -> None:
    output = tmp_path / "ham10000"
    command("data_prep.py", "--source", real_data, "--output", output)
    audit = json.loads((output / "audit.json").read_text())
    assert (audit["n_images"], audit["n_lesions"], audit["missing_ages"], audit["unknown_sex"]) == (10015, 7470, 57, 57)
    for shares in audit["split"]["classes"].values():
        of_images = [split["share_of_images"] for split in shares.values()]
        assert max(of_images) - min(of_images) < 0.01
