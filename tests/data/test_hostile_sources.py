"""What archives and data sets of the Hub may answer, and no well-meant one does."""

from __future__ import annotations

import gzip
import io
import json
import os
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from archive_server import ArchiveServer
from datasets import ClassLabel, Features, Image
from test_sources import DOI_PATH, NAMES, dataverse, image, isic, server, zipped

from lesions.data.metadata import METADATA, Columns, add_paths, read_metadata
from lesions.data.sources import archives
from lesions.data.sources.archives import BOMB, SMALL, check_archive, unpack
from lesions.data.sources.dataverse import from_dataverse
from lesions.data.sources.hub_dataset import from_hub
from lesions.data.sources.isic import from_isic
from lesions.data.sources.source import open_source
from lesions.faults import Faults, InputError

__all__ = ["dataverse", "isic", "server"]  # fixtures
CLASSES = ["mel", "nv"]
FEATURES = Features({"image": Image(), "dx": ClassLabel(names=CLASSES)})
IMAGES = pa.struct({"bytes": pa.binary(), "path": pa.string()})


def write(folder: Path, images: Any, labels: Any, features: Features | None = FEATURES, file: str = "train") -> Path:
    (folder / file).parent.mkdir(parents=True, exist_ok=True)
    table = pa.table({"image": images, "dx": labels})
    if features:
        stated = json.dumps({"info": {"features": features.to_dict()}})
        table = table.replace_schema_metadata({"huggingface": stated})
    pq.write_table(table, folder / f"{file}.parquet")
    return folder


def stored(*contents: bytes | None) -> pa.Array:
    return pa.array(
        [None if content is None else {"bytes": content, "path": None} for content in contents], type=IMAGES
    )


def read(folder: Path, label: str = "dx", **options: Any) -> tuple[list[str], list[tuple[str, str]]]:
    """The labels of the rows, and what was left out, with the reason."""
    columns, cache = Columns("image", label, "lesion_id"), folder.parent / "cache"
    with from_hub(str(folder), columns, cache, **options) as made:
        rows = [line.split(",") for line in (made.folder / METADATA).read_text().splitlines()]
        found = [row[rows[0].index("dx")] for row in rows[1:]]
        assert len(list(made.folder.glob("*.jpg"))) == len(found)
    assert not cache.exists() or not any(cache.iterdir())  # nothing that a later run could be given
    return found, [(out.image_id, out.reason) for out in made.left_out]


ONE, TWO, THREE = (image(name) for name in NAMES[:3])


def test_rows_without_a_label_or_an_image_are_left_out_and_named(tmp_path: Path) -> None:
    images, labels = stored(ONE, TWO, None, b"", THREE, ONE), pa.array([0, -1, 1, 1, None, 1])
    found, left_out = read(write(tmp_path / "set", images, labels))
    assert found == ["mel", "nv"]
    unlabeled, without = "unlabeled", "its row has no image"
    assert [reason for _, reason in left_out] == [unlabeled, without, without, unlabeled]
    with pytest.raises(InputError, match="no row has both an image in image and a label in dx"):
        read(write(tmp_path / "none", stored(ONE), pa.array([-1])))


def test_a_label_outside_the_classes_is_a_fault(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"(?s)label outside the 2 classes \(1\):\n  train, row 1: 17"):
        read(write(tmp_path / "set", stored(ONE, TWO), pa.array([0, 17])))


@pytest.mark.parametrize("form", ["bytes", "struct", "paths"])
def test_images_as_bytes_structs_or_paths(form: str, tmp_path: Path) -> None:
    (tmp_path / "set" / "images" / "deep").mkdir(parents=True)
    (tmp_path / "set" / "images" / "deep" / "2.jpg").write_bytes(TWO)
    images = {"bytes": pa.array([TWO]), "struct": stored(TWO), "paths": pa.array(["images/deep/2.jpg"])}[form]
    assert read(write(tmp_path / "set", images, pa.array(["nv"]), None)) == (["nv"], [])


IDS = {
    "numbers": [0, 1, None],
    "paths": ["x/1.jpg", "y/1.jpg", "2"],
    "no names of files": ["a:1", "../nul.", "x" * 300],
}


@pytest.mark.parametrize("kind", IDS)
def test_image_ids_stay_what_they_are(kind: str, tmp_path: Path) -> None:
    table = pa.table({"image": stored(ONE, TWO, THREE), "dx": CLASSES[:1] * 3, "image_id": IDS[kind]})
    (tmp_path / "set").mkdir()
    pq.write_table(table, tmp_path / "set" / "train.parquet")
    with open_source(f"hub:{tmp_path / 'set'}", tmp_path / "cache") as source:
        table, faults = read_metadata(source.tables, Faults(), source.columns, None), Faults()
        rows = add_paths(table, source.folder, faults, files=source.files)
        found = {row.image_id: row.path.read_bytes() for row in rows.itertuples()}
    names = {"numbers": ["0", "1", "train_000002"], "paths": ["x/1", "y/1", "2"]}.get(kind, ["a:1", "nul.", "x" * 300])
    assert not faults.by_kind and not list(tmp_path.glob("**/nul*"))
    assert found == dict(zip(names, (ONE, TWO, THREE), strict=True))


def test_blank_labels_line_ends_and_whole_numbers_with_gaps(tmp_path: Path) -> None:
    folder = write(tmp_path / "set", stored(ONE, TWO, THREE), pa.array([" ", "a", "b"]), None)
    table = pq.read_table(folder / "train.parquet").append_column("lesion_id", pa.array([1, None, 2**53 + 1]))
    pq.write_table(table.append_column("sex", pa.array(["", "fe\rmale", "x\ny"])), folder / "train.parquet")
    with from_hub(str(folder), Columns("image"), tmp_path / "cache") as made:
        rows = read_metadata(made.folder / METADATA, faults := Faults(), classes=None)
    assert not faults.by_kind and [out.reason for out in made.left_out] == ["unlabeled"]
    assert rows["lesion_id"].tolist() == ["train_000001", "9007199254740993"]
    assert rows["sex"].tolist() == ["fe male", "x y"]


@pytest.mark.parametrize("name", ["train.zip", "train.csv", "train.csv.gz"])
def test_what_is_compressed_is_not_unpacked_whatever_it_is_called(name: str, tmp_path: Path) -> None:
    content = zipped({"mel/a.jpg": ONE, "nv/b.jpg": TWO}) if name == "train.zip" else gzip.compress(b"image,dx\na,b\n")
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / name).write_bytes(content)
    with pytest.raises(InputError, match=rf"compressed: .* unpack this there, and give hub:FOLDER \(1\):\n.*{name}"):
        read(tmp_path / "set")


def test_an_image_folder_with_nested_file_names(tmp_path: Path) -> None:
    place = tmp_path / "set" / "train"
    (place / "a" / "b").mkdir(parents=True)
    (place / "a" / "b" / "1.jpg").write_bytes(ONE)
    (place / "2.jpg").write_bytes(TWO)
    (place / "metadata.csv").write_text("file_name,dx\na/b/1.jpg,mel\n2.jpg,nv\n")
    assert sorted(read(tmp_path / "set")[0]) == ["mel", "nv"]


def test_several_configurations_want_a_choice(tmp_path: Path) -> None:
    for name, label in (("a", 0), ("b", 1)):
        write(tmp_path / "set", stored(ONE), pa.array([label]), file=f"{name}/train")
    configs = "".join(f"- config_name: {name}\n  data_files: {name}/*.parquet\n" for name in "ab")
    (tmp_path / "set" / "README.md").write_text(f"---\nconfigs:\n{configs}---\n")
    with pytest.raises(InputError, match="several configurations: choose one of a, b with --dataset_config"):
        read(tmp_path / "set")
    with pytest.raises(InputError, match="no configuration c: choose one of a, b"):
        read(tmp_path / "set", config="c")
    assert read(tmp_path / "set", config="b")[0] == ["nv"]


def test_another_label_column_and_changed_content_are_never_served_from_before(tmp_path: Path) -> None:
    folder = write(tmp_path / "set", stored(ONE, TWO), pa.array(["x", "y"]), None)
    pq.write_table(pa.table({"image": stored(ONE), "dx": ["x"], "other": ["z"]}), folder / "train.parquet")
    assert (read(folder)[0], read(folder, "other")[0]) == (["x"], ["z"])
    before = (folder / "train.parquet").stat()
    pq.write_table(pa.table({"image": stored(ONE), "dx": ["w"], "other": ["z"]}), folder / "train.parquet")

    os.utime(folder / "train.parquet", ns=(before.st_atime_ns, before.st_mtime_ns))
    assert read(folder)[0] == ["w"]


@pytest.mark.parametrize("path", ["/etc/hostname", "../private.jpg", "link.jpg", "https://example.com/a.jpg"])
def test_an_image_outside_the_data_set_is_never_read(path: str, tmp_path: Path) -> None:
    (tmp_path / "private.jpg").write_bytes(ONE)
    folder = write(tmp_path / "set", pa.array([{"bytes": None, "path": path}], type=IMAGES), pa.array([0]))
    (folder / "link.jpg").symlink_to("../private.jpg")
    with pytest.raises(InputError, match="image that is not a file of the data set"):
        read(folder)


@pytest.mark.parametrize("files", ["../other/*.parquet", "{}/other/*.parquet", "link.parquet"])
def test_a_card_that_names_files_outside_is_refused(files: str, tmp_path: Path) -> None:
    write(tmp_path / "other", stored(ONE), pa.array([0]))
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "link.parquet").symlink_to("../other/train.parquet")
    card = f"---\nconfigs:\n- config_name: default\n  data_files: {files.format(tmp_path)}\n---\n"
    (tmp_path / "set" / "README.md").write_text(card)
    with pytest.raises(InputError, match="not a file of the data set"):
        read(tmp_path / "set")


def test_what_is_not_a_data_set_says_what_it_is(tmp_path: Path) -> None:
    for name, content in (("set.py", "raise SystemExit"), ("train.parquet", "<html>login</html>")):
        (tmp_path / name / "data").mkdir(parents=True)
        (tmp_path / name / "data" / name).write_text(content)
    (tmp_path / "set.py" / "data" / "set.py").rename(tmp_path / "set.py" / "set.py")
    with pytest.raises(InputError, match=r"a program of its own \(set\.py\), which is never run"):
        read(tmp_path / "set.py")
    with pytest.raises(InputError, match=r"can't be read as a data set \(ArrowInvalid"):
        read(tmp_path / "train.parquet")


def test_a_file_as_the_source_says_to_unpack_it(tmp_path: Path) -> None:
    (tmp_path / "ham.zip").write_bytes(zipped({"a.jpg": ONE}))
    with (
        pytest.raises(InputError, match=r"unpack the file .*ham\.zip"),
        open_source(str(tmp_path / "ham.zip"), tmp_path),
    ):
        raise AssertionError("unreachable")


def edited(change: Callable[[zipfile.ZipInfo], None], name: str = "a.jpg", content: bytes = b"x") -> bytes:
    """A ZIP file of one member whose entry says something else."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(name, content)
        change(archive.infolist()[0])
    return out.getvalue()


BAD_MEMBERS: dict[str, tuple[bytes, str]] = {
    "encrypted": (edited(lambda member: setattr(member, "flag_bits", 1)), "encrypted: unpack it yourself"),
    "method": (edited(lambda member: setattr(member, "compress_type", 98)), "method 98, which Python lacks"),
    "pipe": (edited(lambda member: setattr(member, "external_attr", 0o010644 << 16)), "a link, a pipe or a device"),
    "link": (edited(lambda member: setattr(member, "external_attr", 0o120777 << 16)), "a link, a pipe or a device"),
    "long": (zipped({"x" * 250: b"x"}), "not a plain file name"),
    "windows": (zipped({"images/NUL.jpg": b"x"}), "not a plain file name"),
    "bomb": (edited(lambda member: setattr(member, "file_size", SMALL + 1)), "would fill the disk"),
    "overlapping": (edited(lambda member: setattr(member, "compress_size", 10**6)), "would fill the disk"),
    "not a zip": (b"<html>login</html>", "is damaged"),
}


@pytest.mark.parametrize("fault", BAD_MEMBERS)
def test_an_archive_is_looked_through_before_it_is_unpacked(fault: str, tmp_path: Path) -> None:
    content, expected = BAD_MEMBERS[fault]
    (tmp_path / "bad.zip").write_bytes(content)
    with pytest.raises(InputError, match=expected):
        unpack(tmp_path / "bad.zip", tmp_path / "folder")
    assert [path.name for path in tmp_path.iterdir()] == ["bad.zip"]


def test_an_archive_of_more_files_than_any_data_set_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archives, "MEMBERS", 2)
    (tmp_path / "many.zip").write_bytes(zipped(dict.fromkeys("abc", b"")))
    with pytest.raises(InputError, match="holds 3 files, more than any data set"):
        unpack(tmp_path / "many.zip", tmp_path / "folder")


def test_a_table_that_packs_well_is_no_bomb(tmp_path: Path) -> None:
    (tmp_path / "good.zip").write_bytes(edited(lambda member: None, content=b"0" * (BOMB * 10_000)))
    check_archive(tmp_path / "good.zip", tmp_path)


SECOND = "/api/v2/images/search/?cursor=2"


@pytest.mark.parametrize("name", ["../../escaped", "/etc/escaped", "a\\b", "nul", "x" * 300, "\ud800"])
def test_an_id_of_the_archive_is_never_a_path(name: str, isic: ArchiveServer, tmp_path: Path) -> None:
    isic.answers[SECOND]["results"][0]["isic_id"] = name
    with pytest.raises(InputError, match=r"an isic_id is .*, which is not a plain file name"):
        from_isic(tmp_path / "cache")
    assert not list(tmp_path.rglob("*.*"))


def test_a_suffix_of_the_archive_never_makes_the_file_that_marks_a_whole_download(
    isic: ArchiveServer, tmp_path: Path
) -> None:
    entry = isic.answers[SECOND]["results"][0]
    content, address = isic.files[f"/s3/{NAMES[20]}.jpg?signature=x"], "/s3/HAM10000_metadata.csv"
    isic.files[address] = content
    entry["files"]["full"]["url"], entry["isic_id"] = isic.url + address, "HAM10000_metadata"
    folder = from_isic(tmp_path)
    assert (folder / "HAM10000_metadata.jpg").read_bytes() == content
    assert (folder / METADATA).read_text().startswith("lesion_id,image_id,")


@pytest.mark.parametrize("cursor", ["2", "1"])
def test_pages_that_follow_themselves_end(cursor: str, isic: ArchiveServer, tmp_path: Path) -> None:
    isic.answers["/api/v2/images/search/?cursor=1"] = isic.answers[SECOND] | {"next": f"{isic.url}{SECOND}"}
    isic.answers[SECOND]["next"] = f"{isic.url}/api/v2/images/search/?cursor={cursor}"
    with pytest.raises(InputError, match="is a list without end"):
        from_isic(tmp_path)


@pytest.mark.parametrize("answer", [[], {}, {"results": 3}, {"next": None, "results": [{"isic_id": 5}]}, None, "text"])
def test_an_answer_of_another_form(answer: Any, isic: ArchiveServer, tmp_path: Path) -> None:
    isic.answers[SECOND] = answer
    with pytest.raises(InputError, match="described in another form than this program knows"):
        from_isic(tmp_path)


def test_a_login_page_in_place_of_an_answer_or_a_file(
    isic: ArchiveServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    portal = isic.RequestHandlerClass._send

    def answer(handler: Any, status: int, content: bytes, headers: dict[str, str]) -> None:
        if wanted in handler.path:
            status, content, headers = 200, b"<html>login</html>", {"Content-Type": "text/html; charset=utf-8"}
        portal(handler, status, content, headers)

    monkeypatch.setattr(isic.RequestHandlerClass, "_send", answer)
    for wanted in ("/collections/", NAMES[3]):
        isic.requests.clear()
        with pytest.raises(InputError, match=r"answered with a web page\. Open it in a browser"):
            from_isic(tmp_path)
        assert sum(wanted in line for line in isic.requests) == 1  # at once
    monkeypatch.undo()


def test_a_file_of_the_dataverse_is_never_a_path(dataverse: ArchiveServer, tmp_path: Path) -> None:
    files = dataverse.answers[DOI_PATH]["data"]["latestVersion"]["files"]
    files[0]["dataFile"]["filename"] = "HAM10000_images/../../../escaped.zip"
    with pytest.raises(InputError, match="which is not a plain file name"):
        from_dataverse(tmp_path / "cache")
    files[0]["dataFile"] = {"filename": "x"}
    with pytest.raises(InputError, match=r"in another form than this program knows \(KeyError"):
        from_dataverse(tmp_path / "cache")


def test_another_server_is_another_cache(isic: ArchiveServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    first = from_isic(tmp_path)
    monkeypatch.setenv("ISIC_API_URL", f"{isic.url}/another/")
    with pytest.raises(InputError, match="does not know this address"):
        from_isic(tmp_path)
    assert (first / METADATA).is_file()
