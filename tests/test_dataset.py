"""A data set that comes from somewhere: rows that nobody can learn from or measure on are refused, by id."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from datasets import load_dataset
from in_process import in_process
from PIL import Image
from pyarrow import parquet

from lesions.dataset import JPEG, dataset_fingerprint, load_splits
from lesions.evaluation.limits.fitting import store_limits
from lesions.faults import InputError
from lesions.model.inputs import LesionImages
from lesions.model.loading import load_processor
from lesions.training.saved.record import describe_dataset


def changed(sample: Path, folder: Path, split: str, **values: Any) -> Path:
    """The sample in `folder`, with these values in the third row of `split`."""
    shutil.copytree(sample, folder)
    (path,) = folder.rglob(f"{split}-*.parquet")
    table = parquet.read_table(path)
    for name, value in values.items():
        column = table.column(name).to_pylist()
        column[2] = value
        array = pa.array(column, type=table.schema.field(name).type)
        table = table.set_column(table.schema.get_field_index(name), table.schema.field(name), array)
    parquet.write_table(table, path)
    return folder


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({"label": -1}, r"row without a label \(none, -1, or beyond.*\), in split test \(1\):\n  DRAWN_"),
        ({"label": None}, "row without a label"),
        ({"label": 7}, "row without a label"),
        ({"image": None}, r"row without the bytes of a JPEG image, in split test \(1\):\n  DRAWN_"),
        ({"image": {"bytes": None, "path": "/etc/hostname"}}, "row without the bytes of a JPEG image"),
        ({"image": {"bytes": b"%!PS-Adobe-3.0 EPSF-3.0", "path": None}}, "row without the bytes of a JPEG image"),
        ({"lesion_id": None}, r"row without lesion_id, in split test \(1\):\n  DRAWN_"),
        ({"image_id": None}, r"row without image_id, in split test \(1\):\n  row 2"),
    ],
)
def test_rows_that_can_not_be_used_are_named(values: dict, reason: str, sample: Path, tmp_path: Path) -> None:
    folder = changed(sample, tmp_path / "data", "test", **values)
    with pytest.raises(InputError, match=reason):
        load_splits(str(folder), "train", "test")
    splits = load_splits(str(folder), "train", "validation")  # a split that is not asked for may be anything
    assert len(splits["train"]) > 100
    if "label" in values or "lesion_id" in values:
        fingerprints = {dataset_fingerprint(splits), dataset_fingerprint(load_splits(str(sample), "test"))}
        assert len(fingerprints) == 2


def rewritten(path: Path, change: Callable[[pa.Table], pa.Table]) -> None:
    parquet.write_table(change(parquet.read_table(path)), path, compression="zstd")


def with_column(name: str, change: Callable[[Any], Any]) -> Callable[[pa.Table], pa.Table]:
    """Gives a column other values, and takes away what the file says of its columns' types."""

    def apply(table: pa.Table) -> pa.Table:
        values = pa.array([change(value) for value in table.column(name).to_pylist()])
        about = json.loads(table.schema.metadata[b"huggingface"])
        del about["info"]["features"][name]
        table = table.set_column(table.schema.get_field_index(name), name, values)
        return table.replace_schema_metadata({b"huggingface": json.dumps(about).encode()})

    return apply


def with_labels(change: Callable[[list[str]], list[Any]]) -> Callable[[pa.Table], pa.Table]:
    def apply(table: pa.Table) -> pa.Table:
        about = json.loads(table.schema.metadata[b"huggingface"])
        label = about["info"]["features"]["label"]
        label["names"] = change(label["names"])
        return table.replace_schema_metadata({b"huggingface": json.dumps(about).encode()})

    return apply


def of_many_rows(table: pa.Table) -> pa.Table:
    """A million times the first row, without its image: a few kilobytes."""
    table = table.set_column(0, table.schema.field(0), pa.nulls(len(table), table.schema.field(0).type))
    return table.take(pa.array([0] * 10**6))


def of_much_air(table: pa.Table) -> pa.Table:
    images = [{"bytes": JPEG + b"%d" % row + b"\0" * 10**5, "path": None} for row in range(len(table))]
    return table.set_column(0, table.schema.field(0), pa.array(images, table.schema.field(0).type))


def of_one_image(table: pa.Table) -> pa.Table:
    """400 rows of one image, which Parquet stores once: half a megabyte for 200."""
    image = pa.array([{"bytes": JPEG + os.urandom(500_000), "path": None}], table.schema.field(0).type)
    return table.slice(0, 1).set_column(0, table.schema.field(0), image).take(pa.array([0] * 400))


def of_many_columns(table: pa.Table) -> pa.Table:
    for number in range(1000):
        table = table.append_column(f"more {number}", pa.nulls(len(table), pa.int8()))
    return table


WRONG_FILES: dict[str, tuple[Callable[[pa.Table], pa.Table], str]] = {
    "ids that are numbers": (with_column("image_id", len), r"image_id is not text \(3\):\n  split train: Value.*int64"),
    "ids in lists": (with_column("lesion_id", lambda name: [name]), r"lesion_id is not text .*\n  split train: List"),
    "ids with parts": (with_column("lesion_id", lambda name: {"a": name}), "lesion_id is not text"),
    "sexes that are numbers": (with_column("sex", len), "sex is not text"),
    "ages that are text": (with_column("age", str), "age is not a number of years"),
    "labels that are text": (with_column("label", str), "label is not of the type ClassLabel"),
    "images that are text": (with_column("image", lambda image: "/etc/hostname"), "image is not of the type Image"),
    "label without a name": (
        with_labels(lambda names: ["", *names[1:]]),
        r"name of a label that is empty \(1\):\n  ''",
    ),
    "label without end": (with_labels(lambda names: ["a" * 101, *names[1:]]), "name of a label of over 100 characters"),
    "label that is a number": (with_labels(lambda names: [1, *names[1:]]), "name of a label that is not text"),
    "label that is named twice": (with_labels(lambda names: ["nv", *names[1:]]), "label names are duplicated"),
    "labels without end": (with_labels(lambda names: [*map(str, range(100_001))]), "name of a label beyond the first"),
    "no row": (lambda table: table.slice(0, 0), r"file without a row \(3\)"),
    "rows without end": (of_many_rows, r"file that would fill the memory .*\n.*1000000 rows"),
    "bytes without end": (of_much_air, r"file that would fill the memory .*\n.* 0\..* GB unpacked"),
    "one image in every row": (of_one_image, r"file that would fill the memory .*\n.* 400 rows"),
    "columns without end": (of_many_columns, "file of more than 1000 columns"),
}


@pytest.mark.parametrize("kind", WRONG_FILES)
def test_files_of_another_form_are_one_clear_error(kind: str, sample: Path, tmp_path: Path) -> None:
    change, reason = WRONG_FILES[kind]
    folder = shutil.copytree(sample, tmp_path / "data")
    for path in folder.rglob("*.parquet"):
        rewritten(path, change)
    with pytest.raises(InputError, match=reason):
        load_splits(str(folder), "train", "test")


def test_splits_that_count_their_labels_otherwise_are_named(sample: Path, tmp_path: Path) -> None:
    """datasets would take the numbers of one for the names of the other."""
    folder = shutil.copytree(sample, tmp_path / "data")
    rewritten(next(folder.rglob("test-*.parquet")), with_labels(lambda names: names[::-1]))
    with pytest.raises(InputError, match=r"or other labels, than in split train \(1\):\n  split test: label"):
        load_splits(str(folder), "train")


def test_ids_that_a_file_stores_as_numbers_of_a_dictionary_are_read(sample: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(sample, tmp_path / "data")
    number = parquet.read_schema(next(folder.rglob("test-*.parquet"))).get_field_index("lesion_id")
    rewritten(
        next(folder.rglob("test-*.parquet")),
        lambda table: table.set_column(number, "lesion_id", table.column("lesion_id").dictionary_encode()),
    )
    found, expected = (dataset_fingerprint(load_splits(str(place), "test")) for place in (folder, sample))
    assert found == expected


def test_a_pipe_in_place_of_a_file_is_refused(sample: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(sample, tmp_path / "data")
    path = next(folder.rglob("test-*.parquet"))
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(InputError, match="is a folder, a pipe or a device"):
        load_splits(str(folder), "train")


def test_a_file_that_is_replaced_with_its_old_time_is_read_again(sample: Path, tmp_path: Path) -> None:
    """As rsync, tar and the layers of a container image do."""
    folder = shutil.copytree(sample, tmp_path / "data")
    (path,) = folder.rglob("test-*.parquet")
    time, before = path.stat().st_mtime_ns, dataset_fingerprint(load_splits(str(folder), "test"))
    name = load_splits(str(folder), "test")["test"]["lesion_id"][2]
    shutil.copy(next(changed(sample, tmp_path / "other", "test", lesion_id="x" * len(name)).rglob("test-*")), path)
    os.utime(path, ns=(time, time))
    after = load_splits(str(folder), "test")
    assert after["test"]["lesion_id"][2] == "x" * len(name) and dataset_fingerprint(after) != before


def test_every_command_refuses_an_unlabeled_row(copy: Path, sample: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    for split in ("test", "validation"):
        data = changed(sample, tmp_path / split, split, label=-1)
        error = in_process("evaluate_model.py", "--model", copy, "--dataset", data, "--split", split, "--output", out,
                           check=2).stderr  # fmt: skip
        assert f"in split {split} (1)" in error and not out.exists()
        train = ("train.py", "recipes/demo.yaml", "--dataset", data, "--output_dir", out)
        assert f"in split {split} (1)" in in_process(*train, check=2).stderr and not out.exists()
    before = (copy / "training.json").read_bytes()
    with pytest.raises(InputError, match="row without a label"):
        store_limits(copy, str(data))
    assert (copy / "training.json").read_bytes() == before


def test_a_file_that_is_not_parquet_is_one_clear_error(sample: Path, tmp_path: Path) -> None:
    for number, content in enumerate((b"", b"PAR1 and so on", b"<html>log in</html>")):
        folder = shutil.copytree(sample, tmp_path / str(number))
        (path,) = folder.rglob("test-*.parquet")
        path.write_bytes(content)
        with pytest.raises(InputError, match=r"the Parquet files of .* can't be read"):
            load_splits(str(folder), "test")


def test_an_image_that_breaks_while_it_is_read_is_named(run: Path, sample: Path, tmp_path: Path) -> None:
    whole = load_dataset(str(sample), split="test")[2]
    file = BytesIO()
    whole["image"].save(file, "JPEG")
    for number, content in enumerate((JPEG + b"no image", file.getvalue()[:500])):
        image = {"bytes": content, "path": None}
        data = changed(sample, tmp_path / str(number), "test", image=image)
        images = LesionImages(load_splits(str(data), "test")["test"], load_processor(run))
        assert images[1]["pixel_values"].shape[0] == 3
        with pytest.raises(InputError, match=rf"the image {whole['image_id']} can't be read"):
            images[2]


@pytest.mark.parametrize(
    "content",
    ["[]", '{"source": "HAM10000"}', '{"source": {"title": "HAM10000"}}', '{"source": {"title": 3, "drawn": false}}',
     '{"sources": {"a": {}}}', '{"duplicates": {"lesions_merged": "many"}}', '{"source": ', "NaN"],
)  # fmt: skip
def test_a_broken_audit_is_one_clear_error(content: str, sample: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(sample, tmp_path / "data")
    splits = load_splits(str(folder), "train", "test")
    (folder / "audit.json").write_text(content)
    with pytest.raises(InputError, match=r"audit\.json is not"):
        describe_dataset(str(folder), splits)


def test_an_audit_of_another_version_that_says_less_is_taken(sample: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(sample, tmp_path / "data")
    splits = load_splits(str(folder), "train", "test")
    (folder / "audit.json").write_text(json.dumps({"source": {"title": "Mine", "drawn": False}}))
    about = describe_dataset(str(folder), splits)
    assert (about["title"], about["lesions_merged"], about["no_lesion_id"], about["sources"]) == (
        "Mine",
        None,
        None,
        {},
    )
    (folder / "audit.json").unlink()
    assert describe_dataset(str(folder), splits)["title"] == "data"


def test_several_data_sets_in_one_folder_are_never_taken_for_one(sample: Path, tmp_path: Path) -> None:
    for name in ("a", "b"):
        shutil.copytree(sample, tmp_path / "all" / name)
    with pytest.raises(InputError, match="holds no Parquet file"):
        load_splits(str(tmp_path / "all"), "train")


def test_files_of_two_data_sets_in_one_folder_are_named(sample: Path, tmp_path: Path) -> None:
    shutil.copytree(sample, tmp_path / "data")
    files = tmp_path / "data" / "data"
    (file,) = files.glob("test-*")
    shutil.copy(file, files / "test-00000-of-00002.parquet")
    with pytest.raises(InputError, match="image_id of two rows, in split test"):
        load_splits(str(tmp_path / "data"), "test")
    file.replace(files / "validation-00000-of-00002.parquet")
    with pytest.raises(InputError, match="lesion of split test that is in another one too"):
        load_splits(str(tmp_path / "data"), "validation", "test")
    (files / "._test-00000-of-00002.parquet").write_bytes(b"what a Mac puts beside files")
    load_splits(str(tmp_path / "data"), "test")


def test_a_folder_that_is_called_as_a_home_folder_is_read(
    sample: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(sample, tmp_path / "~" / "data")
    monkeypatch.chdir(tmp_path)
    assert load_splits("~/data", "test")["test"].num_rows


def test_a_record_says_whether_all_training_images_have_one_size(sample: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(sample, tmp_path / "data")
    assert describe_dataset(str(folder), load_splits(str(folder), "train"))["one_size"]
    (path,) = folder.glob("data/train-*.parquet")
    table = parquet.read_table(path)
    images, small = table["image"].to_pylist(), BytesIO()
    Image.new("RGB", (9, 7)).save(small, "JPEG")
    images[5] = {**images[5], "bytes": small.getvalue()}
    at = table.schema.get_field_index("image")
    parquet.write_table(
        table.set_column(at, table.schema.field(at), pa.array(images, table.schema.field(at).type)), path
    )
    assert not describe_dataset(str(folder), load_splits(str(folder), "train"))["one_size"]
