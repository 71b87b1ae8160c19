"""Predictions and ground truth as CSV: what the program writes it reads back, whatever labels and images are called."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from datasets import ClassLabel, Features, load_dataset
from in_process import in_process

from lesions.diagnoses import CODES
from lesions.faults import InputError
from lesions.ground_truth import read_ground_truth, read_predictions, write_ground_truth, write_predictions
from lesions.output.files import read_json, write_json

LABELS = {
    "codes": list(CODES),
    "codes in capitals": ["MEL", "NV", "SCC"],
    "names": ["Melanoma", "nevus", "Basal cell carcinoma"],
    "equal but for case": ["mel", "MEL", "Mel", "ﬀ", "straße", "STRASSE"],
    "taken for missing by CSV readers": ["NA", "None", "nan", "null", "N/A", "", "<NA>", "-1"],
    "names of columns": ["image", "image_id", "lesion_id", "dx"],
    "what CSV and spreadsheets read as something else": ["a,b", 'c"d', "e\nf", "=1+1", "'=x", " blank ", "a|b", "1.0"],
}
IMAGES = ["NA", "007", "1e5", "a,b", "=cmd()", "null", "c d", "l\\udce9sion", "a.b"]


@pytest.mark.parametrize("kind", LABELS)
def test_any_labels_and_images_are_read_back(kind: str, tmp_path: Path) -> None:
    labels, random = LABELS[kind], np.random.default_rng(0)
    probabilities = random.dirichlet(np.ones(len(labels)), len(IMAGES))
    dx = [labels[number % len(labels)] for number in range(len(IMAGES))]
    write_predictions(tmp_path / "predictions.csv", IMAGES, probabilities, labels)
    found, images = read_predictions(tmp_path / "predictions.csv", labels)
    assert (found == probabilities).all()  # to the last digit
    rows = pd.DataFrame({"image": IMAGES, "lesion_id": ["NA", *IMAGES[1:]]})
    write_ground_truth(tmp_path / "truth.csv", rows, dx)
    for names in (IMAGES, images):
        truth = read_ground_truth(tmp_path / "truth.csv", labels, names)
        assert list(truth["dx"]) == dx and list(truth["image"]) == names and truth["lesion_id"][0] == "NA"


def read(path: Path, text: str, labels: list[str], images: list[str]) -> list[str]:
    path.write_text(text)
    return list(read_ground_truth(path, labels, images)["dx"])


def test_ground_truth_may_spell_labels_and_images_otherwise(tmp_path: Path) -> None:
    path, codes = tmp_path / "truth.csv", ["mel", "nv"]
    assert read(path, "image_id,dx\n./a.JPG,MEL\n b ,Nv \n", codes, ["a", "b"]) == codes
    assert read(path, "\ufeffimage,MEL,NV,AGE,\na.jpeg,1,0,50,\nb,0,1.0,,\n", codes, ["a", "b"]) == codes
    assert read(path, "image,mel,Nv\na,1,0\nb,0,1\n", codes, ["a", "b"]) == codes
    assert read(path, "image,Melanoma,NEVUS\na,1,0\nb,0,1\n", ["melanoma", "Nevus"], ["a", "b"]) == [
        "melanoma",
        "Nevus",
    ]
    assert read(path, "image_id,dx\na,mel\nb,MEL\n", ["MEL", "mel"], ["a", "b"]) == ["mel", "MEL"]
    for text in ("image_id,dx\na,Mel\n", "image,MEL,Mel\na,1,0\n"):  # which of the two?
        with pytest.raises(InputError):
            read(path, text, ["MEL", "mel"], ["a"])


def test_a_ground_truth_that_excel_wrote_is_read(tmp_path: Path) -> None:
    path, codes = tmp_path / "truth.csv", ["mel", "nv"]
    assert read(path, "\ufeffNV;note;image;MEL\r\n0;a, b;a;1\r\n1;;b.JPG;0\r\n;;;\r\n", codes, ["a", "b"]) == codes


def test_what_a_row_says_instead_of_a_diagnosis_is_told(tmp_path: Path) -> None:
    for text, said in (
        ("image;MEL;NV\na;0,9;0,1\nb;1;1\nc;0;0\n", "a: MEL '0,9', NV '0,1'\n  b: MEL '1', NV '1'\n  c: no 1\n"),
        ("image_id,dx\na,scc\nb,\nc,nv\n", "a: 'scc'\n  b: ''\n"),
    ):
        with pytest.raises(InputError) as caught:
            read(tmp_path / "truth.csv", text, ["mel", "nv"], ["a", "b", "c"])
        assert f"):\n  {said}correct" in str(caught.value)


def test_an_image_of_unknown_lesion_is_a_lesion_of_its_own(tmp_path: Path) -> None:
    (tmp_path / "truth.csv").write_text("image_id,lesion_id,dx\na,L,mel\nb,,mel\nc,L,mel\nd,,mel\n")
    truth = read_ground_truth(tmp_path / "truth.csv", ["mel", "nv"], ["a", "b", "c", "d"])
    assert list(truth["lesion_id"]) == ["L", "b", "L", "d"]


def test_what_is_known_of_an_image_is_read_as_in_data_prep(tmp_path: Path) -> None:
    path, codes = tmp_path / "truth.csv", ["mel", "nv"]
    path.write_text(
        "lesion_id,image_id,dx,dx_type,Age,sex,localization\n7.0,a,mel,histo,55.0,F,back\n"
        "7,b,mel,NA,,female,#N/A\n#N/A,c,nv,histo,0.0,Male,unknown\n8,other,nv,histo,old,m,back\n"
    )
    truth = read_ground_truth(path, codes, ["a", "b", "c"])
    assert list(truth["lesion_id"]) == ["7", "7", "c"]
    assert list(truth["sex"]) == ["female", "female", "male"]
    assert list(truth["localization"]) == ["back", "", ""]
    assert truth["age"].fillna(-1).tolist() == [55, -1, 0]
    with pytest.raises(InputError, match=r"age is not a number of years .*\n  other: 'old'"):
        read_ground_truth(path, codes, ["a", "other"])


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "is empty"),
        ("image,mel\na,1\n", "column missing .*\n  nv"),
        ("name,mel,nv\na,1,0\n", "needs image, MEL, NV, each of them once"),
        ("image,image_id,mel,nv\na,a,1,0\n", "needs image, MEL, NV, each of them once"),
        ("image,mel,nv\na,.5,.5\na,.5,.5\n", "image with two rows .*\n  a"),
        *((f"image,mel,nv\na,{row}\n", "not probabilities .*\n  a") for row in ("x,0", ",1", "nan,1", "inf,0", "2,-1")),
        ("image,mel,nv\na,1,0\n\nb,1\n", r"not 3 cells, as its header has, in line \(1\):\n  4: 2\n"),
        ("image,mel,nv\na,0.5,0.2\n", "not probabilities .*\n  a"),
        ('image,mel,nv\n"a",1,0,3\n', r"not 3 cells, as its header has, in line \(1\):\n  2: 4\n"),
        ('image,mel,nv\n"a,1,0\n', "begins in line 2 has a quote too few or too many"),
    ],
)
def test_broken_predictions_are_one_clear_error(text: str, reason: str, tmp_path: Path) -> None:
    (tmp_path / "predictions.csv").write_text(text)
    with pytest.raises(InputError, match=reason) as error:
        read_predictions(tmp_path / "predictions.csv", ["mel", "nv"])
    assert "predictions.csv" in str(error.value)


def test_a_model_of_other_labels_is_measured_compared_and_measured_on_what_was_written(
    copy: Path, sample: Path, tmp_path: Path
) -> None:
    """The run and its data, with labels that differ in case only, that CSV readers drop, or with odd characters."""
    labels = ["akiec", "BCC", "bcc", "NA", "Melanoma, any", "=nv", "a|b\n"]
    for name in ("training.json", "training_images.json"):
        (copy / name).unlink()
    shutil.rmtree(copy / "evaluation")  # of other labels
    config = read_json(copy / "config.json")
    numbered = {"id2label": dict(enumerate(labels)), "label2id": {label: n for n, label in enumerate(labels)}}
    write_json(copy / "config.json", config | numbered)
    rows = load_dataset(str(sample), split="test")
    rows = rows.cast(Features({**rows.features, "label": ClassLabel(names=labels)}))
    rows.to_parquet(tmp_path / "data" / "test-00000-of-00001.parquet")

    in_process("evaluate_model.py", "--model", copy, "--dataset", tmp_path / "data")
    before = read_json(copy / "evaluation" / "metrics.json")
    in_process("evaluate_model.py", "--compare", copy, copy / "evaluation", "--output", tmp_path / "compared")
    compared = read_json(tmp_path / "compared" / "comparison.json")["first"]["metrics"]
    for name, metric in before["metrics"].items():
        assert compared[name]["value"] == pytest.approx(metric["value"], abs=1e-12), name
    for row in rows:
        row["image"].save(tmp_path / "data" / f"{row['image_id']}.png")
    images = ("--images", tmp_path / "data", "--ground_truth", copy / "evaluation" / "ground_truth.csv")
    in_process("evaluate_model.py", "--model", copy, *images, "--output", tmp_path / "again")
    again = read_json(tmp_path / "again" / "metrics.json")
    assert again["confusion_matrix"] == before["confusion_matrix"] and again["n_lesions"] == before["n_lesions"]
    in_process("-m", "model_card", copy)
