"""A model is not measured on images that it, or a model before it, was trained on, whatever they are called."""

from __future__ import annotations

import json
import shutil
from io import BytesIO
from pathlib import Path

import pytest
from conftest import ROOT
from datasets import ClassLabel, Dataset, Features, Image, Value
from in_process import in_process
from PIL import Image as Picture

from lesions.faults import InputError
from lesions.output.files import read_json, write_json
from lesions.seen_images import SEEN, Hashed, check_unseen, hashed_rows, read_seen, seen_images, write_seen

TEXT = Value("string")
FEATURES = Features(image=Image(), label=ClassLabel(names=["mel", "nv"]), image_id=TEXT, lesion_id=TEXT)


def table(*rows: tuple[int, str, str, str]) -> Dataset:
    """Rows of (gray level of the image, image_id, lesion_id, diagnosis)."""

    def png(level: int) -> bytes:
        file = BytesIO()
        Picture.new("L", (4, 4), level).save(file, "png")
        return file.getvalue()

    return Dataset.from_list(
        [{"image": {"bytes": png(level), "path": None}, "label": FEATURES["label"].str2int(dx), "image_id": image,
          "lesion_id": lesion} for level, image, lesion, dx in rows],
        features=FEATURES,
    )  # fmt: skip


def rows(*described: tuple[int, str, str, str]) -> list[Hashed]:
    return hashed_rows(table(*described))


TRAINED_ON = table((1, "a", "L1", "mel"), (2, "b", "L2", "nv"), (3, "c", "L3", "nv"))


def test_an_image_is_known_by_its_content_or_by_its_id() -> None:
    seen = seen_images(TRAINED_ON)
    assert seen.among(rows((2, "x", "L9", "mel"), (9, "y", "L8", "nv"))) == ["x"]  # the same file by another name
    assert seen.among(rows((8, "b", "L2", "nv"), (9, "y", "L8", "nv"))) == ["b"]  # stored in another quality
    # Names that two data sets share by chance: one of them has another diagnosis or lesion.
    assert seen.among(rows((8, "b", "L2", "nv"), (9, "a", "L1", "nv"))) == []
    assert seen.among(rows((8, "b", "L2", "nv"), (9, "a", "L7", "mel"))) == []
    assert seen.among(rows((3, "b", "L2", "nv"), (9, "a", "L7", "mel"))) == ["b"]  # though one has the content of c


def test_a_corrected_label_hides_no_image() -> None:
    seen = seen_images(table(*((1, f"i{n}", f"L{n}", "nv") for n in range(200))))
    again = [(2, f"i{n}", f"L{n}", "nv") for n in range(100, 199)]  # in another size
    assert len(seen.among(rows(*again, (2, "i199", "L199", "mel")))) == 100
    assert seen.among(rows(*again[:-1], (2, "i198", "L198", "mel"), (2, "i199", "L199", "mel"))) == []


def test_what_is_stored_is_what_was_seen_and_a_student_has_seen_what_its_teachers_saw(tmp_path: Path) -> None:
    seen = seen_images(TRAINED_ON)
    write_seen(tmp_path, seen)
    assert read_seen(tmp_path) == seen and read_seen(tmp_path / "nothing") is None
    student = seen_images(table((7, "x", "L9", "mel")), [tmp_path, tmp_path / "nothing"])
    assert student.among(rows((1, "p", "P", "nv"), (7, "q", "Q", "nv"), (9, "r", "R", "nv"))) == ["p", "q"]
    content = read_json(tmp_path / SEEN)
    write_json(tmp_path / SEEN, {name: content[name] for name in content if name != "diagnoses"})
    assert read_seen(tmp_path).cases == seen.cases  # of an earlier version
    other_size, cut = json.dumps(content | {"bytes_per_image": 8}), json.dumps(content | {"ids": content["ids"][:-4]})
    for broken in (
        "[]",
        "{}",
        "null",
        "3",
        other_size,
        cut,
        '{"contents": 3, "ids": "", "cases": ""}',
        '{"contents": "?", "ids": "", "cases": ""}',
    ):
        (tmp_path / SEEN).write_text(broken)
        with pytest.raises(InputError, match="not a list of images"):
            read_seen(tmp_path)


def test_a_run_may_be_measured_on_its_own_training_split_alone(copy: Path) -> None:
    own = json.loads((copy / "training.json").read_text())["dataset_fingerprint"]
    write_seen(copy, seen_images(TRAINED_ON))
    check_unseen({"run": copy}, {"train": TRAINED_ON}, ["train"], "title", own)
    with pytest.raises(InputError, match=r"image of train that the model run was trained on \(3\)"):
        check_unseen({"run": copy}, {"train": TRAINED_ON}, ["train"], "title", "another")
    with pytest.raises(InputError, match="image of clinic"):
        check_unseen({"run": copy}, {"clinic": TRAINED_ON}, ["clinic"], "title", own)


@pytest.fixture
def turned(sample: Path, tmp_path: Path) -> Path:
    """The sample under another name and title, its training images for testing and its test images for training."""
    folder = tmp_path / "turned"
    shutil.copytree(sample, folder, ignore=shutil.ignore_patterns("audit.json"))
    parts = {split: list(folder.rglob(f"{split}-*.parquet")) for split in ("train", "test")}
    for old, new in (("train", "test"), ("test", "train")):
        for path in parts[old]:
            path.rename(path.with_name(f"turned-{path.name.replace(old, new)}"))
    for path in folder.rglob("turned-*.parquet"):
        path.rename(path.with_name(path.name.removeprefix("turned-")))
    return folder


def test_the_same_images_under_another_title_are_refused(run: Path, turned: Path, tmp_path: Path) -> None:
    output = tmp_path / "output"
    for models in (("--model", run), ("--model", ROOT / "recipes" / "demo-deit", "--from_scratch", "--teacher", run)):
        error = in_process("train.py", *models, "--dataset", turned, "--output_dir", output, check=2).stderr
        assert f"image of test that the model {run} was trained on (" in error and "DRAWN_" in error
    measuring = ("evaluate_model.py", "--model", run, "--dataset", turned, "--output", output)
    assert "image of test that the model" in in_process(*measuring, check=2).stderr
    assert not output.exists()
    in_process(*measuring, "--split", "validation")  # as it was


def test_other_images_under_the_same_title_are_not(copy: Path, sample: Path, tmp_path: Path) -> None:
    record = json.loads((copy / "training.json").read_text())
    assert record["dataset"]["title"] == json.loads((sample / "audit.json").read_text())["source"]["title"]
    (copy / "training.json").write_text(json.dumps(record | {"dataset_fingerprint": "0" * 64}))
    in_process("evaluate_model.py", "--model", copy, "--dataset", sample, "--output", tmp_path / "output")
