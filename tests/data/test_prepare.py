"""data_prep.py as a command, on small folders in HAM10000's layout."""

from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import redirect_stderr
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from conftest import ROOT, command
from datasets import load_dataset
from hub_server import HubServer
from PIL import Image
from test_duplicates import skin

import data_prep
from lesions.data import stored_form, workers
from lesions.data.duplicates import contact_sheet, keypoints
from lesions.data.stored_form import prepare
from lesions.diagnoses import CODES
from lesions.images import decode, load


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """Seven diagnoses, five lesions each, two images a lesion, in two folders."""
    folder = tmp_path / "source"
    rows = []
    for number in range(70):
        name, dx = f"ISIC_{number:04d}", CODES[number // 10]
        place = folder / f"part_{number % 2}"
        place.mkdir(parents=True, exist_ok=True)
        color = tuple(np.random.RandomState(number).randint(0, 255, 3).tolist())
        Image.new("RGB", (40, 30), color).save(place / f"{name}{('.jpg', '.JPEG', '.png')[number % 3]}")
        rows.append((f"HAM_{number // 2:04d}", name, dx, "histo", 50.0, "male", "back"))
    columns = ["lesion_id", "image_id", "dx", "dx_type", "age", "sex", "localization"]
    pd.DataFrame(rows, columns=columns).to_csv(folder / "HAM10000_metadata.csv", index=False)
    return folder


def prepare_data(source: object, output: Path, *options: object, check: int = 0) -> str:
    """Runs data_prep.py's main here, without the search for lesions under two ids; returns what it says on stderr.

    (A process of its own for each of these tests would take most of their time to start.)
    """
    arguments = ["data_prep.py", "--source", source, "--output", output, "--audit", "off", "--num_proc", 1, *options]
    said, code = io.StringIO(), 0
    with pytest.MonkeyPatch.context() as patch, redirect_stderr(said):
        patch.setattr(sys, "argv", list(map(str, arguments)))
        try:
            data_prep.main()
        except SystemExit as end:
            code = end.code
    assert code == check, said.getvalue()
    return said.getvalue()


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
        "image missing (1):\n  ISIC_0020",
        "image unreadable (2)",
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


def test_skip_leaves_unreadable_images_out_and_lists_them(source: Path, tmp_path: Path) -> None:
    next(source.rglob("ISIC_0021.*")).write_bytes(b"no image")
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
    assert "files that this program did not write" in prepare_data(source, output, check=2)
    assert (output / "thesis.tex").exists()
    (output / "thesis.tex").unlink()
    prepare_data(source, output)
    prepare_data(source, output, "--seed", 1)
    assert json.loads((output / "audit.json").read_text())["split"]["seed"] == 1


def test_load_dataset_sees_a_new_data_set_at_the_same_path(source: Path, tmp_path: Path) -> None:
    splits = []
    for seed in (1, 2):
        prepare_data(source, tmp_path / "out", "--seed", seed)
        splits.append(load_dataset(str(tmp_path / "out"), split="test")["image_id"][:])
    assert splits[0] != splits[1]
    assert splits[1] == pd.read_csv(tmp_path / "out" / "splits.csv").query("split == 'test'")["image_id"].tolist()


def test_equal_copies_are_one_image_and_unequal_ones_a_fault(source: Path, tmp_path: Path) -> None:
    shutil.copytree(source / "part_0", source / "PART_0")
    prepare_data(source, tmp_path / "out")
    Image.new("RGB", (8, 8)).save(source / "PART_0" / "ISIC_0000.jpg")
    error = prepare_data(source, tmp_path / "out", check=2)
    assert "two different images of one name (1)" in error


def test_wrong_source_says_what_to_give(tmp_path: Path) -> None:
    assert "the folder nowhere does not exist" in prepare_data("nowhere", "x", check=2)
    assert "no HAM10000_metadata.csv" in prepare_data(tmp_path, "x", check=2)


def test_the_sample_is_the_same_every_time_and_says_it_is_synthetic(sample: Path, tmp_path: Path) -> None:
    prepare_data("sample", tmp_path / "again")
    assert (tmp_path / "again" / "splits.csv").read_bytes() == (sample / "splits.csv").read_bytes()
    assert "A program generated these images" in (sample / "README.md").read_text()


def encode(path: Path, image: Image.Image, **options) -> Path:
    image.save(path, **options)
    return path


def test_large_images_come_out_smaller_and_small_ones_as_they_are(tmp_path: Path) -> None:
    smaller = decode(prepare(encode(tmp_path / "large.png", Image.new("RGB", (600, 450))), 256).content)
    assert smaller.size == (341, 256)
    assert decode(prepare(encode(tmp_path / "small.png", Image.new("RGB", (20, 10))), 256).content).size == (20, 10)


def test_a_fitting_jpeg_keeps_its_bytes(tmp_path: Path) -> None:
    path = encode(tmp_path / "a.jpg", Image.effect_noise((40, 30), 50).convert("RGB"), quality=75)
    assert prepare(path, 256).content == path.read_bytes()
    assert prepare(path, 20).content != path.read_bytes()


def test_each_image_is_decoded_once_to_search_and_once_to_store(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("ISIC_0004", "ISIC_0006"):  # one lesion under two ids, so that there is a contact sheet
        skin(4).save(next(source.rglob(f"{name}.*")), quality=90)
    decoded = tmp_path / "decoded"

    def noted(image: Path | bytes, read: Callable[[Path | bytes], Image.Image] = decode) -> Image.Image:
        content = image if isinstance(image, bytes) else image.read_bytes()
        with decoded.open("a") as file:  # the processes that read images are forks of this one
            file.write(hashlib.sha256(content).hexdigest() + "\n")
        return read(image)

    monkeypatch.setattr(stored_form, "load", partial(noted, read=load))
    for module in (workers, keypoints, contact_sheet):
        monkeypatch.setattr(module, "decode", noted)
    originals = [hashlib.sha256(path.read_bytes()).hexdigest() for path in source.rglob("ISIC_*")]
    for audit, times in (("off", 1), ("merge", 2)):
        decoded.write_text("")
        prepare_data(source, tmp_path / "out", "--audit", audit, "--image_size", 16, "--explore")
        lines = decoded.read_text().split()
        assert sorted(line for line in lines if line in originals) == sorted(originals * times)
    assert (tmp_path / "out" / "audit_pairs.png").exists()


def external_set(folder: Path, source: Path) -> Path:
    """Two images that the source holds, one under its own id and one whose lesion it holds, and four others."""
    folder.mkdir()
    names = ["ISIC_0003", "ext_1", "ext_2", "ext_3", "ext_4", "ext_5"]
    for number, name in enumerate(names):
        Image.new("RGB", (40, 30), (number, 200, 100)).save(folder / f"{name}.jpg")
    rows = [(name, "HAM_0009" if name == "ext_1" else "", *(float(code == "mel") for code in CODES)) for name in names]
    truth = pd.DataFrame(rows, columns=["image", "lesion_id", *map(str.upper, CODES)])
    truth.to_csv(folder / "truth.csv", index=False)
    return folder


def test_an_external_test_set_is_a_split_without_what_the_data_set_holds(source: Path, tmp_path: Path) -> None:
    folder, output = external_set(tmp_path / "other clinic", source), tmp_path / "out"
    test = f"clinic={folder}:{folder / 'truth.csv'}"
    prepare_data(source, output, "--extra_test", test, "--explore")
    data = load_dataset(str(output))
    assert data["clinic"]["image_id"] == ["ext_2", "ext_3", "ext_4", "ext_5"]
    assert {split: len(data[split]) for split in ("train", "validation", "test")} == {
        "train": 42,
        "validation": 14,
        "test": 14,
    }
    audit = json.loads((output / "audit.json").read_text())
    assert audit["n_images"] == 70 and audit["extra_tests"]["clinic"]["n_images"] == 4
    reasons = {entry["image_id"]: entry["reason"] for entry in audit["extra_tests"]["clinic"]["left_out"]}
    assert reasons == {
        "ISIC_0003": "image_id ISIC_0003 is in the data set",
        "ext_1": "lesion_id HAM_0009 is in the data set",
    }
    assert "`clinic` is an external test set: 4 images" in (output / "README.md").read_text()


def test_faults_of_an_external_test_set(source: Path, tmp_path: Path) -> None:
    folder = external_set(tmp_path / "clinic", source)
    (folder / "ext_2.jpg").unlink()
    truth = pd.read_csv(folder / "truth.csv").rename(columns={"MEL": "WART"})
    truth.to_csv(folder / "truth.csv", index=False)
    error = prepare_data(source, tmp_path / "out", "--extra_test", f"clinic={folder}:{folder / 'truth.csv'}", check=2)
    assert "image of clinic missing (1):\n  ext_2" in error and "ext_3: wart" in error
    assert "is not NAME=DIR" in prepare_data(source, tmp_path / "out", "--extra_test", "test=x", check=2)


def test_an_external_test_set_of_which_nothing_is_left_is_an_error(source: Path, tmp_path: Path) -> None:
    folder = class_folders(tmp_path / "clinic", "a.png", "b.png")
    (folder / "t.csv").write_text("image_id,dx,lesion_id\na,nv,HAM_0001\nb,nv,HAM_0002\n")
    error = prepare_data(source, tmp_path / "out", "--extra_test", f"clinic={folder}:t.csv", check=2)
    assert "no image of clinic is left to test on" in error and not (tmp_path / "out").exists()


def test_an_external_image_of_a_known_lesion_is_found_by_content(source: Path, tmp_path: Path) -> None:
    known = next(source.rglob("ISIC_0004.*"))
    skin(4).save(known, quality=90)
    folder = external_set(tmp_path / "clinic", source)
    skin(4).rotate(90, expand=True).save(folder / "ext_4.jpg", quality=70)
    output = tmp_path / "out"
    test = f"clinic={folder}:{folder / 'truth.csv'}"
    command("data_prep.py", "--source", source, "--output", output, "--extra_test", test)
    left_out = json.loads((output / "audit.json").read_text())["extra_tests"]["clinic"]["left_out"]
    assert "shows the lesion of ISIC_0004" in {entry["image_id"]: entry["reason"] for entry in left_out}["ext_4"]
    assert "ext_4" not in (output / "splits.csv").read_text()


def test_folds_share_the_test_split_and_validate_on_each_lesion_once(source: Path, tmp_path: Path) -> None:
    validated, tests = [], set()
    for fold in range(3):
        prepare_data(source, tmp_path / "out", "--folds", 3, "--fold", fold)
        splits = pd.read_csv(tmp_path / "out" / "splits.csv")
        assert (splits.groupby("group_id")["split"].nunique() == 1).all()
        validated += splits.loc[splits["split"] == "validation", "lesion_id"].unique().tolist()
        tests.add(tuple(splits.loc[splits["split"] == "test", "image_id"]))
    assert len(tests) == 1 and len(validated) == len(set(validated)) == 35 - 7
    assert "is the validation split" in (tmp_path / "out" / "README.md").read_text()
    assert "--fold one of" in prepare_data(source, tmp_path / "out", "--folds", 3, "--fold", 3, check=2)


def test_another_data_set_keeps_its_own_diagnoses(source: Path, tmp_path: Path) -> None:
    def rename(table: pd.DataFrame) -> pd.DataFrame:
        table["dx"] = table["dx"].map({code: f"type {code}" for code in CODES}).where(table.index % 10 < 9, "eighth")
        return table.rename(columns={"image_id": "file", "dx": "type", "lesion_id": "patient"}).drop(columns="age")

    edit_table(source, rename)
    table = source / "HAM10000_metadata.csv"
    table.rename(source / "list.csv")
    options = ("--metadata", source / "list.csv", "--image_column", "file", "--label_column", "type")
    prepare_data(source, tmp_path / "out", *options)
    assert "70 of 70 images have no lesion id" in (tmp_path / "out" / "README.md").read_text()
    prepare_data(source, tmp_path / "out", *options, "--group_column", "patient")
    labels = load_dataset(str(tmp_path / "out"))["train"].features["label"].names
    assert labels == ["eighth", *(f"type {code}" for code in CODES)]
    card = (tmp_path / "out" / "README.md").read_text()
    assert "license: other" in card and "HAM10000" not in card
    assert "7 of the 35 groups have several diagnoses" in card and "value of `patient`" in card
    splits = pd.read_csv(tmp_path / "out" / "splits.csv")
    assert (splits.groupby("group_id")["split"].nunique() == 1).all() and splits["group_id"].nunique() == 35


def test_a_table_in_the_form_of_ham10000_is_not_taken_for_ham10000(source: Path, tmp_path: Path) -> None:
    (source / "HAM10000_metadata.csv").rename(source / "metadata.csv")
    prepare_data(source.rename(tmp_path / "clinic"), tmp_path / "out")
    audit = json.loads((tmp_path / "out" / "audit.json").read_text())
    assert audit["source"]["title"] == "clinic" and audit["sources"]["clinic"]["terms"].startswith("not stated")
    card = (tmp_path / "out" / "README.md").read_text()
    assert "license: other" in card and "HAM10000" not in card and "DBW86T" not in card


def test_patients_are_kept_whole_with_their_lesions_and_the_shares_are_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """As in PAD-UFES-20: a patient has several lesions, of several diagnoses. Extra sets may show the same patients."""
    random, rows = np.random.RandomState(0), []
    for number in range(120):
        patient, dx = f"PAT_{number // 3}", ("nev", "mel", "bcc")[random.choice(3, p=[0.6, 0.2, 0.2])]
        rows += [(f"{number}_{view}.png", f"LES_{number}", patient, dx) for view in range(2)]
    source, clinic = tmp_path / "pad", tmp_path / "clinic"
    table = pd.DataFrame(rows, columns=["img_id", "lesion_id", "patient_id", "diagnostic"])
    for folder, names in ((source, table["img_id"]), (clinic, ["n1.png", "n2.png"])):
        folder.mkdir()
        for name in names:
            Image.new("RGB", (8, 6), tuple(random.randint(0, 255, 3).tolist())).save(folder / name)
    table.to_csv(source / "pad.csv", index=False)
    (clinic / "metadata.csv").write_text("image,dx,patient_id\nn1.png,nev,PAT_3\nn2.png,nev,PAT_900\n")
    options = ["--image_column", "img_id", "--label_column", "diagnostic", "--group_column", "patient_id"]
    options += ["--metadata", source / "pad.csv", "--extra_test", f"clinic={clinic}"]
    prepare_data(source, tmp_path / "out", *options)

    splits = pd.read_csv(tmp_path / "out" / "splits.csv").set_index("image_id")
    truth = table.assign(image_id=table["img_id"].str.removesuffix(".png")).set_index("image_id").loc[splits.index[:-1]]
    own = splits.iloc[:-1]
    assert own["lesion_id"].equals(truth["lesion_id"]) and own["group_id"].tolist() == truth["patient_id"].tolist()
    assert (own.groupby("group_id")["split"].nunique() == 1).all() and splits.index[-1] == "n2"
    audit = json.loads((tmp_path / "out" / "audit.json").read_text())
    assert audit["n_lesions"] == 120 and audit["n_groups"] == 40 and audit["duplicates"]["lesions_merged"] == 0
    assert audit["split"]["group_column"] == "patient_id"
    reached = own.groupby("dx")["split"].value_counts(normalize=True).unstack()
    assert (reached - pd.Series({"train": 0.7, "validation": 0.15, "test": 0.15})).abs().max().max() < 0.06
    said = capsys.readouterr().out
    assert "groups have several diagnoses; reached of train 70%, validation 15%, test 15% of the images:" in said
    assert f"{reached.loc['bcc', 'validation']:.1%}" in said
    out = audit["extra_tests"]["clinic"]["left_out"]
    assert out == [{"image_id": "n1", "reason": "patient_id PAT_3 is in the data set"}]


def class_folders(folder: Path, *places: str) -> Path:
    """An image of its own at each of the `places`."""
    for number, place in enumerate(places):
        path = folder / place
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (16, 12), (10 * number, 100, 255 - 10 * number)).save(path)
    return folder


def test_class_folders_are_a_source_also_with_equal_file_names(tmp_path: Path) -> None:
    places = [
        f"{part}/{dx}/{number:03d}.png" for part in ("train", "test") for dx in ("mel", "nv") for number in (1, 2)
    ]
    folder = class_folders(tmp_path / "folders", *places, *(f"train/mel/m{n}.png" for n in range(6)))
    shutil.copy(folder / "train" / "nv" / "001.png", folder / "test" / "nv" / "001.png")  # one image, twice
    prepare_data(folder, tmp_path / "out")
    splits = pd.read_csv(tmp_path / "out" / "splits.csv").set_index("image_id")
    assert splits["dx"].value_counts().to_dict() == {"mel": 10, "nv": 3}
    assert splits.loc["train/mel/001", "dx"] == "mel" and splits.loc["m0", "dx"] == "mel"
    data = load_dataset(str(tmp_path / "out"))
    pixels = {row["image_id"]: row["image"].getpixel((8, 6)) for part in data.values() for row in part}
    for number, place in enumerate(places):
        if "nv/001" not in place:
            assert abs(pixels[place.removesuffix(".png")][0] - 10 * number) < 4, place
    assert "13 of 13 images have no lesion id" in (tmp_path / "out" / "README.md").read_text()

    extra = class_folders(tmp_path / "extra", "mel/a.png", "nv/b.png", "wart/c.png")
    error = prepare_data(folder, tmp_path / "out", "--extra_test", f"clinic={extra}", check=2)
    assert "c: wart" in error and "--on_other_diagnosis skip" in error
    prepare_data(folder, tmp_path / "out", "--extra_test", f"clinic={extra}", "--on_other_diagnosis", "skip")
    assert load_dataset(str(tmp_path / "out"))["clinic"]["image_id"] == ["a", "b"]


def test_faults_of_class_folders(tmp_path: Path) -> None:
    names = [f"{dx}/{number}.png" for dx in ("mel", "nv") for number in range(3)]
    folder, out = class_folders(tmp_path / "folders", *names), tmp_path / "out"
    shutil.copy(folder / "mel" / "0.png", folder / "nv" / "0.png")
    assert "one image in two class folders (1)" in prepare_data(folder, out, check=2)
    bcc = class_folders(tmp_path / "elsewhere", "bcc/b.png")
    (folder / "bcc").symlink_to(bcc / "bcc")
    os.link(folder / "mel" / "1.png", os.fsencode(folder / "mel") + b"/l\xe9sion.png")
    error = prepare_data(folder, out, check=2)
    assert f"copy the folder itself there (1):\n  {folder / 'bcc'}" in error
    assert "image whose name is not in UTF-8: rename it (1)" in error
    class_folders(folder, "mel/more/x.png")
    assert "images lie at 2 depths" in prepare_data(folder, out, check=2)
    parts = class_folders(tmp_path / "parts", "part_1/a.png", "part_2/b.png")
    (parts / "images.ZIP").touch()
    (parts / "part_1" / "tables.tar.gz").touch()
    error = prepare_data(parts, out, check=2)
    assert (
        "If the table is in images.ZIP, part_1/tables.tar.gz: unpack that first" in error
        and f"(part_1, part_2): --metadata {parts}" in error
    )
    strange = class_folders(tmp_path / "strange", *(f"{dx}/{dx}{n}.png" for dx in "ab" for n in range(3)))
    (strange / "a" / "photo.heic").touch()
    for mask in ("a/a0_segmentation.png", "a/a1_Superpixels.png", "b/b0_attribute_streaks.png", "b/b0_mask.jpg"):
        shutil.copy(strange / "b" / "b0.png", strange / mask)
    said = prepare_data(strange, out, "--metadata", strange)
    assert "left out, not of a type that is read" in said and "a/photo.heic" in said and "a/a0_segmentation.png" in said
    splits = pd.read_csv(out / "splits.csv")
    assert splits["dx"].unique().tolist() == ["a", "b"]
    assert sorted(splits["image_id"]) == ["a0", "a1", "a2", "b0", "b1", "b2"]
    assert "unpack the file" in prepare_data(parts / "images.ZIP", tmp_path / "new", check=2)


def test_a_test_set_with_a_class_for_unknown_diagnoses(source: Path, tmp_path: Path) -> None:
    """As ISIC 2019's: one-hot, with a column UNK, here also with a row that marks nothing."""
    marks = {"t1": "mel", "t2": "unk", "t3": "unk", "t4": "scc", "t5": ""}
    folder = class_folders(tmp_path / "test", *(f"{name}.png" for name in marks))
    labels = ["mel", "nv", "scc", "unk"]
    rows = [f"{name}," + ",".join(str(float(label == mark)) for label in labels) for name, mark in marks.items()]
    header = "image," + ",".join(labels).upper()
    (folder / "GT.CSV").write_text("\n".join([f"{header},score_weight", *(f"{row},0.5" for row in rows)]) + "\n")
    test = ("--extra_test", f"isic2019={folder}:GT.CSV")
    error = prepare_data(source, tmp_path / "out", *test, check=2)
    assert "dx is empty" in error and "t2: unk" in error and "--on_other_diagnosis skip" in error
    prepare_data(source, tmp_path / "out", *test, "--on_other_diagnosis", "skip")
    audit = json.loads((tmp_path / "out" / "audit.json").read_text())
    assert audit["extra_tests"]["isic2019"]["n_images"] == 1
    assert audit["sources"]["isic2019"]["left_out"]["diagnoses"] == {"unk": 2, "scc": 1, "none stated": 1}


def test_explore_writes_figures_and_a_page_that_stands_alone(source: Path, tmp_path: Path) -> None:
    prepare_data(source, tmp_path / "out", "--explore")
    folder = tmp_path / "out" / "explore"
    figures = {path.name for path in folder.glob("*.png")}
    assert {"classes.png", "ages.png", "sizes.png", "missing.png", "colors.png", "examples.png"} <= figures
    page = (folder / "index.html").read_text()
    assert page.count("data:image/png;base64,") == len(figures) and "http" not in page.replace("http-equiv", "")
    card = (tmp_path / "out" / "README.md").read_text()
    assert all(f"explore/{name}" in card for name in figures)
    # Sentences come from the numbers: seven diagnoses of ten images each.
    assert "makes up 14 % of the images, about as many as" in card and "All images have 40 x 30 pixels" in card
    assert "a balanced accuracy of 0.14." in card and "accuracy alone" not in card
    assert "lesions were photographed more than once" in card
    assert load_dataset(str(tmp_path / "out"))["train"].num_rows == 42


def test_the_card_claims_of_other_data_only_what_their_table_says(source: Path, tmp_path: Path) -> None:
    table = pd.read_csv(source / "HAM10000_metadata.csv", dtype=str)
    table[table["dx"].isin(["nv", "mel"])][["image_id", "dx"]].to_csv(source / "other.csv", index=False)
    prepare_data(source, tmp_path / "out", "--metadata", source / "other.csv", "--explore")
    card = (tmp_path / "out" / "README.md").read_text()
    assert "dermatoscop" not in card and "more than once" not in card and "accuracy alone" not in card
    assert "No two images have one lesion id." in card


def test_text_from_the_table_is_text_in_every_page(source: Path, tmp_path: Path) -> None:
    text = "</code><img src=x onerror=alert(1)> `a` | b [l](http://e)"
    table = pd.read_csv(source / "HAM10000_metadata.csv", dtype=str)
    table["dx"] = table["dx"].replace("mel", text)
    table["localization"] = table["dx"].replace("nv", "y" * 3000)
    table.to_csv(source / "other.csv", index=False)
    prepare_data(source, tmp_path / "out", "--metadata", source / "other.csv", "--explore")
    markdown = ("`a`", "](http://e)")
    for name, codes in {"README.md": markdown, "explore/README.md": markdown, "explore/index.html": ()}.items():
        page = (tmp_path / "out" / name).read_text()
        assert "img src=x" in page and not any(code in page for code in ("<img src=x", *codes))
        assert "y" * 41 not in page
    with Image.open(tmp_path / "out" / "explore" / "localization.png") as figure:
        assert figure.width < 2500

    table["dx"] = table["dx"].replace("nv", "\x1b[31mred")
    table.to_csv(source / "other.csv", index=False)
    options = ["--metadata", source / "other.csv", "--audit", "off"]
    shown = command("data_prep.py", "--source", source, "--output", tmp_path / "a b", *options).stdout
    assert "\x1b" not in shown and f"--dataset '{tmp_path / 'a b'}'" in shown

    table["dx"] = table["dx"].replace("\x1b[31mred", "z" * 101)
    table.to_csv(source / "other.csv", index=False)
    error = prepare_data(source, tmp_path / "out", "--metadata", source / "other.csv", check=2)
    assert "dx of over 100 characters (is that its column?), in line (10)" in error


def test_killed_at_any_moment_it_leaves_a_whole_data_set_or_none(source: Path, tmp_path: Path) -> None:
    output, whole = tmp_path / "out", {}
    for seed in (1, 2):
        prepare_data(source, tmp_path / f"seed {seed}", "--seed", seed)
        whole[contents(tmp_path / f"seed {seed}")] = seed
    started = time.monotonic()
    prepare_data(source, output, "--seed", 1)
    full = time.monotonic() - started
    killed = 0
    for number in range(8):
        options = ["--source", source, "--output", output, "--audit", "off", "--seed", 2, "--num_proc", 1]
        run = [sys.executable, "data_prep.py", *map(str, options)]
        process = subprocess.Popen(
            run, cwd=ROOT, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL, start_new_session=True
        )
        try:
            process.wait(full * (0.45 + 0.09 * number))
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            killed += 1
        assert not output.exists() or contents(output) in whole
    assert killed
    prepare_data(source, output, "--seed", 2)
    assert whole[contents(output)] == 2
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]


def contents(folder: Path) -> str:
    """A digest of all files but the card, which names the folder."""
    digest = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        if path.is_file() and path.name != "README.md":
            digest.update(str(path.relative_to(folder)).encode() + path.read_bytes())
    return digest.hexdigest()


def test_push_to_hub_publishes_the_data_set_and_its_card(
    source: Path, hub: HubServer, hub_environment: dict[str, str], tmp_path: Path
) -> None:
    options = ["--source", source, "--output", tmp_path / "out", "--audit", "off", "--explore"]
    options += ["--push_to_hub", "--hub_dataset_id", "you/skin", "--private"]
    command("data_prep.py", *options, **hub_environment)
    repository = hub.repositories["you/skin"]
    assert repository.private and 'load_dataset("you/skin")' in repository.files["README.md"].decode()
    published = {
        path.relative_to(tmp_path / "out").as_posix() for path in (tmp_path / "out").rglob("*") if path.is_file()
    }
    assert set(repository.files) == published
    for name, content in repository.files.items():
        assert content == (tmp_path / "out" / name).read_bytes()
    commits = list(repository.commits)
    command("data_prep.py", *options, **hub_environment)
    assert repository.commits == commits  # pushing the same files adds no commit
    # Of an earlier data set there: its images would lie in several splits.
    old = ("data/train-00001-of-00002.parquet", "data/milk10k-00000-of-00001.parquet", "explore/skin.png")
    repository.files |= dict.fromkeys((*old, "LICENSE"), b"earlier")
    command("data_prep.py", *options, **hub_environment)
    assert set(repository.files) == {*published, "LICENSE"}
    error = command("data_prep.py", *options, check=2, **hub_environment | {"HF_TOKEN": "hf_wrong"}).stderr
    assert "the Hub rejected your token" in error and "nothing was done yet" in error


def test_the_real_data_set(real_data: Path, tmp_path: Path) -> None:
    output = tmp_path / "ham10000"
    command("data_prep.py", "--source", real_data, "--output", output)
    audit = json.loads((output / "audit.json").read_text())
    assert (audit["n_images"], audit["n_lesions"], audit["missing_ages"], audit["unknown_sex"]) == (10015, 7470, 57, 57)
    for shares in audit["split"]["classes"].values():
        of_images = [split["share_of_images"] for split in shares.values()]
        assert max(of_images) - min(of_images) < 0.01
