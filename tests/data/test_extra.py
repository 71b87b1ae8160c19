"""Extra training and test sets, and the ISIC Archive's metadata."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest
from conftest import SHARED, at_hand
from datasets import load_dataset
from PIL import Image, ImageEnhance
from test_duplicates import skin
from test_prepare import prepare_data, source  # noqa: F401

from lesions.data.duplicates.groups import MILK10K_PAIRS, find_merges
from lesions.data.isic_archive import class_of
from lesions.data.metadata import read_metadata
from lesions.data.options import ExtraSet
from lesions.data.table_files import find_metadata
from lesions.dataset import dataset_fingerprint, load_splits, split_fingerprints
from lesions.diagnoses import CODES
from lesions.faults import Faults, InputError

NEVUS, MELANOMA = ("Benign", "", "Nevus", "Blue nevus"), ("Malignant", "", "Melanoma", "")


def archive(folder: Path, rows: list[tuple[str, str, str, tuple[str, ...]]]) -> Path:
    """A folder as the ISIC Archive gives it: rows of isic_id, lesion_id, image_type and diagnoses."""
    folder.mkdir()
    names = ["isic_id", "lesion_id", "image_type", *(f"diagnosis_{level}" for level in range(1, 5))]
    table = pd.DataFrame([(*row[:3], *row[3]) for row in rows], columns=names)
    more = {"age_approx": 45, "sex": "female", "anatom_site_general": "head/neck"}
    terms = {"attribution": "A clinic", "copyright_license": "CC-BY"}
    table.assign(**more, **terms).to_csv(folder / "metadata.csv", index=False)
    for number, row in enumerate(rows):
        if row[2] == "dermoscopic":
            skin(1000 + number).save(folder / f"{row[0]}.jpg", quality=90)
    return folder


@pytest.mark.parametrize(
    ("names", "dx"),
    [
        (["Blue nevus", "Nevus", "Benign melanocytic proliferations", "Benign"], "nv"),
        (["Melanoma metastasis", "Malignant melanocytic proliferations (Melanoma)", "Malignant"], "mel"),
        (["Squamous cell carcinoma in situ, Bowens disease", "Squamous cell carcinoma in situ"], "akiec"),
        (["Squamous cell carcinoma, Invasive", "Malignant epidermal proliferations", "Malignant"], None),
        (["Benign soft tissue proliferations - Vascular", "Benign"], "vasc"),
        (["Benign soft tissue proliferations - Fibro-histiocytic", "Benign"], None),
        (["Indeterminate"], None),
        ([], None),
    ],
)
def test_the_class_of_a_diagnosis_of_the_archive(names: list[str], dx: str | None) -> None:
    assert class_of(names) == dx


def test_the_archives_metadata_leaves_out_and_counts_what_has_no_class(tmp_path: Path) -> None:
    close_up, scar = "clinical: close-up", ("Benign", "", "Scar", "")
    rows = [("a", "L1", "dermoscopic", NEVUS), ("b", "", "dermoscopic", MELANOMA), ("c", "L3", close_up, NEVUS)]
    rows += [("d", "L1", "dermoscopic", scar), ("e", "", "", NEVUS), ("f", "L6", "dermoscopic", ("", " ", "", ""))]
    folder = archive(tmp_path / "archive", rows)
    (folder / "tones.csv").write_text("lesion_id,isic_id,skin_tone_class,site\nL1,other,1,hand\n")
    faults, left_out = Faults(), []
    tables = [folder / "metadata.csv", folder / "tones.csv"]
    table = read_metadata(tables, faults, classes=CODES, left_out=left_out).set_index("image_id")
    faults.raise_if_any("none")
    assert table["dx"].to_dict() == {"a": "nv", "b": "mel", "e": "nv"}
    assert table["lesion_id"].to_dict() == {"a": "L1", "b": "b", "e": "e"}
    assert table["skin_tone"].to_dict() == {"a": "1", "b": "unknown", "e": "unknown"}
    assert table.loc["a", ["age", "localization", "license"]].tolist() == [45, "head/neck", "CC-BY"]
    assert [(row.image_id, row.kind, row.reason) for row in left_out] == [
        ("c", "image type", close_up),
        ("d", "diagnosis", "Scar"),
        ("f", "diagnosis", "none stated"),
    ]
    table = read_metadata(tables, faults, classes=None)  # as --metadata takes it, with any diagnoses
    assert faults.by_kind["dx is empty, in line"] == ["7"] and set(table["dx"]) == {"nv", "mel", "Scar", ""}


def test_the_archive_as_the_source(tmp_path: Path) -> None:
    named = ["Nevus", "Melanoma", "Scar"]
    rows = [(f"i{n}", f"L{n}", "dermoscopic", ("", "", named[n % 3], "")) for n in range(18)]
    prepare_data(archive(tmp_path / "archive", rows), tmp_path / "out")
    audit = json.loads((tmp_path / "out" / "audit.json").read_text())
    assert audit["n_images"] == 12 and audit["sources"]["archive"]["left_out"]["diagnoses"] == {"Scar": 6}
    assert "License and attribution: CC-BY, A clinic." in (tmp_path / "out" / "README.md").read_text()


def test_extra_training_images_never_show_a_lesion_to_evaluate_on(source: Path, tmp_path: Path) -> None:  # noqa: F811
    prepare_data(source, tmp_path / "plain")
    plain = pd.read_csv(tmp_path / "plain" / "splits.csv").set_index("image_id")
    held = plain[plain["split"] != "train"].index[[0, -1]]
    known = plain[(plain["split"] == "train") & (plain["dx"] == "nv")].index[0]
    for seed, name in enumerate([*held, known]):
        skin(seed).save(next(source.rglob(f"{name}.*")), quality=90)
    rows = [("copy", "L0", "dermoscopic", NEVUS), ("same lesion", "L0", "dermoscopic", NEVUS)]
    rows += [("copy of test", "", "dermoscopic", MELANOMA), ("copy of train", "L2", "dermoscopic", NEVUS)]
    rows += [("new", "L3", "dermoscopic", NEVUS), (known, "L9", "dermoscopic", NEVUS)]
    folder = archive(tmp_path / "archive", rows)
    ImageEnhance.Color(skin(0).resize((224, 224))).enhance(0.5).save(folder / "copy.jpg", quality=80)  # squashed
    skin(1).rotate(90, expand=True).save(folder / "copy of test.jpg")
    skin(2).save(folder / "copy of train.jpg", quality=60)

    options = ("--audit", "merge", "--extra_train", f"clinic={folder}")
    prepare_data(source, tmp_path / "out", *options)
    splits = pd.read_csv(tmp_path / "out" / "splits.csv").set_index("image_id")
    evaluated = splits[splits["split"] != "train"]
    assert evaluated.equals(plain[plain["split"] != "train"])
    added = splits[~splits.index.isin(plain.index)]
    assert set(added.index) == {"copy of train", "new"} and set(added["split"]) == {"train"}
    assert added.loc["copy of train", "group_id"] == plain.loc[known, "group_id"]

    audit = json.loads((tmp_path / "out" / "audit.json").read_text())
    left_out = {entry["image_id"]: entry["reason"] for entry in audit["extra_train"]["clinic"]["left_out"]}
    assert set(left_out) == {"copy", "same lesion", "copy of test", known}
    assert f"shows the lesion of {held[0]}" in left_out["same lesion"] and "in the data set" in left_out[known]
    assert audit["sources"]["clinic"]["n_images"] == {"train": 2} and audit["sources"]["clinic"]["terms"] == (
        "CC-BY, A clinic"
    )
    shown = {frozenset((pair["image_id"], pair["other_image_id"])) for pair in audit["duplicates"]["pairs"]}
    assert shown == {
        frozenset(("copy", held[0])),
        frozenset(("copy of test", held[1])),
        frozenset(("copy of train", known)),
    }
    assert Image.open(tmp_path / "out" / "audit_pairs.png").width > 1000

    data = load_splits(str(tmp_path / "out"))
    assert dataset_fingerprint(data) == audit["fingerprint"]
    earlier = split_fingerprints(load_splits(str(tmp_path / "plain")))
    assert {name: print_ == earlier[name] for name, print_ in split_fingerprints(data).items()} == {
        "test": True,
        "train": False,
        "validation": True,
    }
    assert split_fingerprints(data) == audit["fingerprints"]
    sources = dict(zip(data["train"]["image_id"], data["train"]["source"], strict=True))
    assert sources["new"] == "clinic" and sources[known] == "HAM10000"
    card = (tmp_path / "out" / "README.md").read_text()
    assert "| clinic | train 2 | CC-BY, A clinic |" in card and "4 images of clinic are left out" in card


def test_a_share_of_a_set_to_evaluate_on_and_the_rest_to_train_on(source: Path, tmp_path: Path) -> None:  # noqa: F811
    rows = [(f"{lesion}_{view}", f"L{lesion}", "dermoscopic", NEVUS) for lesion in range(20) for view in range(2)]
    folder = archive(tmp_path / "archive", rows)
    clinic = ("--extra_test", f"clinic={folder}:metadata.csv@0.3", "--extra_train", f"clinic={folder}")
    found = []
    for seed in (1, 2):
        prepare_data(source, tmp_path / "out", *clinic, "--seed", seed, "--license", "clinic=CC0, me")
        splits = pd.read_csv(tmp_path / "out" / "splits.csv")
        splits = splits[splits["lesion_id"].str.startswith("L")]
        assert len(splits) == 40 and (splits.groupby("lesion_id")["split"].nunique() == 1).all()
        found.append(set(splits.loc[splits["split"] == "clinic", "lesion_id"]))
    assert found[0] == found[1] and 3 <= len(found[0]) <= 9
    assert load_dataset(str(tmp_path / "out"))["clinic"]["source"][0] == "clinic"
    assert json.loads((tmp_path / "out" / "audit.json").read_text())["sources"]["clinic"]["terms"] == "CC0, me"


def test_faults_of_extra_sets(source: Path, tmp_path: Path) -> None:  # noqa: F811
    output, folder = tmp_path / "out", archive(tmp_path / "archive", [("a", "L1", "dermoscopic", NEVUS)])

    def error(table: str | None, *options: str) -> str:
        if table is not None:
            (folder / "metadata.csv").write_text(table)
        return prepare_data(source, output, "--extra_train", f"clinic={folder}", *options, check=2)

    skin(1).save(folder / "ISIC_0003.jpg")
    assert "no image of clinic is left to train on" in error("image_id,dx\nISIC_0003,akiec\n")
    assert "no dermoscopic image with one of the diagnoses akiec, bcc" in error("image_id,dx\na,Naevus\n")
    assert "lacks the columns dx" in error("image_id,patient\na,7\n")
    assert "lacks the column image_id" in error("patient,type\n7,nv\n")
    assert "image of clinic missing (1):\n  b" in error("image_id,dx\na,nv\nb,nv\n")
    assert "two sets called clinic" in error("image_id,dx\na,nv\n", "--extra_train", f"clinic={folder}")
    assert "--license names klinik" in error(None, "--license", "klinik=CC0")
    assert "is not NAME=DIR" in error(None, "--extra_train", "test=x")
    assert "no lesion is in this share" in error(None, "--extra_test", f"few={folder}@0.01")
    assert "give the set another name" in error(None, "--extra_test", f"HAM10000={folder}")
    assert "the folder nowhere does not exist" in error(None, "--extra_train", "other=nowhere")
    assert not output.exists()


@pytest.mark.parametrize(
    ("text", "folder", "tables", "share"),
    [
        ("milk=some/dir:a.csv:b/c.csv@0.25", "some/dir", ["a.csv", "b/c.csv"], 0.25),
        ("milk=/data/a:/labels/GT.CSV", "/data/a", ["/labels/GT.CSV"], 1),
        ("milk=dir:HAM10000_metadata.tab@.5", "dir", ["HAM10000_metadata.tab"], 0.5),
        ("milk=dir:a.TSV:b.txt", "dir", ["a.TSV", "b.txt"], 1),
        ("milk=C:/data@home", "C:/data@home", [], 1),
        (r"milk=C:\data\Input", r"C:\data\Input", [], 1),
        (r"milk=C:\data\Input@0.2", r"C:\data\Input", [], 0.2),
        (r"milk=C:\data\Input:GT.csv", r"C:\data\Input", ["GT.csv"], 1),
        (r"milk=C:\data\Input:C:\data\GT.csv", r"C:\data\Input", [r"C:\data\GT.csv"], 1),
        (r"milk=C:\in:d:/GT.CSV:E:\more\tones.tab@0.2", r"C:\in", ["d:/GT.CSV", r"E:\more\tones.tab"], 0.2),
        (r"milk=\\server\share\in:\\server\GT.csv", r"\\server\share\in", [r"\\server\GT.csv"], 1),
    ],
)
def test_how_a_set_is_named(text: str, folder: str, tables: list[str], share: float) -> None:
    extra = ExtraSet(text)
    assert (extra.name, extra.folder, extra.share) == ("milk", Path(folder), share)
    assert extra.tables == [Path(table) for table in tables]


@pytest.mark.parametrize("name", ["METADATA.CSV", "metadata.tab", "HAM10000_metadata", "ham10000_metadata.TAB"])
def test_a_table_is_found_under_any_of_its_names(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text("image_id\tdx\n")
    assert find_metadata(tmp_path) == tmp_path / name


def test_the_published_pairs_of_milk10k_need_no_search() -> None:
    published = pd.read_csv(MILK10K_PAIRS)
    best = published.dropna().iloc[0]
    alone = published.loc[published["other_image_id"].isna(), "image_id"].iloc[0]
    names = [best["image_id"], best["other_image_id"], alone]
    table = pd.DataFrame({"image_id": names, "lesion_id": names, "dx": "nv", "path": "nowhere"})
    found = find_merges(table, processes=1)
    assert found[["image_id", "other_image_id", "score"]].to_numpy().tolist() == [best.tolist()]


def test_milk10k_itself(real_data: Path, tmp_path: Path) -> None:
    milk10k = at_hand("MILK10k", "MILK10K_DIR", SHARED / "data" / "milk10k")
    tables = f"milk10k={milk10k}:metadata.csv:MILK10k_Training_Metadata.csv"
    options = ("--audit", "merge", "--extra_test", f"{tables}@0.2", "--extra_train", tables)
    prepare_data(real_data, tmp_path / "out", *options)
    audit = json.loads((tmp_path / "out" / "audit.json").read_text())
    about = audit["sources"]["milk10k"]
    kept, out = about["n_images"], about["left_out"]
    assert kept["train"] + kept["milk10k"] + out["copies"] + sum(out["diagnoses"].values()) == 2744
    assert out["diagnoses"]["Squamous cell carcinoma, Invasive"] == 111 and 150 < out["copies"] < 250
    assert audit["fingerprint"].startswith("5d3e7cc9440f") and set(audit["skin_tones"]) <= set("012345")
    splits = pd.read_csv(tmp_path / "out" / "splits.csv")
    assert (splits.groupby("group_id")["split"].nunique() == 1).all()


def test_a_table_that_cannot_be_joined_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("image_id,lesion_id,dx\na,L1,nv\n")
    (tmp_path / "b.csv").write_text("lesion_id,skin_tone_class\nL2,3\n")
    with pytest.raises(InputError, match="no image and no lesion in common"):
        read_metadata([tmp_path / "a.csv", tmp_path / "b.csv"], Faults(), classes=None)
