"""The archives that hold HAM10000, each spoken to by the real client, on loopback."""

from __future__ import annotations

import hashlib
import io
import signal
import subprocess
import sys
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from archive_server import ArchiveServer
from conftest import ROOT, command
from datasets import ClassLabel, Dataset, Features, Image, Value
from hub_server import HubServer, Repository
from kagglesdk import kaggle_env
from PIL import Image as Pillow

from lesions.data.isic_archive import ISIC_DIAGNOSES
from lesions.data.sources import archives, downloads
from lesions.data.sources.dataverse import from_dataverse
from lesions.data.sources.isic import from_isic
from lesions.data.sources.kaggle import from_kaggle
from lesions.diagnoses import CODES
from lesions.faults import InputError
from lesions.output.files import whole_folder

LESIONS = 5  # of each diagnosis, one image each
NAMES = [f"ISIC_{24306 + number:07d}" for number in range(LESIONS * len(CODES))]
DX = dict(zip(NAMES, np.repeat(CODES, LESIONS), strict=True))
DOI_PATH = "/api/datasets/:persistentId/?persistentId=doi%3A10.7910%2FDVN%2FDBW86T"
KAGGLE_PATH = "/v1/datasets.DatasetApiService/DownloadDataset"


def image(name: str) -> bytes:
    noise = np.random.RandomState(int(name[-4:])).randint(0, 255, (30, 40, 3), dtype=np.uint8)
    content = io.BytesIO()
    Pillow.fromarray(noise).save(content, "JPEG")
    return content.getvalue()


def metadata(separator: str = ",") -> bytes:
    rows = [(f"HAM_{n[-4:]}", n, DX[n], "histo", "50.0", "male", "back", "vidir_modern") for n in NAMES]
    columns = ["lesion_id", "image_id", "dx", "dx_type", "age", "sex", "localization", "dataset"]
    return pd.DataFrame(rows, columns=columns).to_csv(index=False, sep=separator).encode()


def zipped(files: dict[str, bytes]) -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return content.getvalue()


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[ArchiveServer]:
    monkeypatch.setattr(downloads, "PAUSE", 0.01)
    monkeypatch.setattr(downloads, "CHUNK", 256)
    server = ArchiveServer()
    yield server
    server.shutdown()


@pytest.fixture
def kaggle(server: ArchiveServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> ArchiveServer:
    monkeypatch.setitem(kaggle_env._env_to_endpoint, kaggle_env.KaggleEnv.PROD, server.url)
    monkeypatch.setenv("KAGGLEHUB_CACHE", str(tmp_path / "kaggle"))
    monkeypatch.setenv("KAGGLE_CONFIG_DIR", str(tmp_path))
    files = {f"HAM10000_images_part_{1 + number % 2}/{n}.jpg": image(n) for number, n in enumerate(NAMES)}
    server.files[KAGGLE_PATH] = zipped({"HAM10000_metadata.csv": metadata(), **files})
    return server


@pytest.fixture
def isic(server: ArchiveServer, monkeypatch: pytest.MonkeyPatch) -> ArchiveServer:
    api = f"{server.url}/api/v2/"
    monkeypatch.setenv("ISIC_API_URL", api)
    server.answers["/api/v2/collections/?limit=100"] = {
        "next": f"{api}collections/?cursor=2",
        "results": [{"id": 1, "name": "Challenge 2020: Training"}],
    }
    server.answers["/api/v2/collections/?cursor=2"] = {"next": None, "results": [{"id": 212, "name": "HAM10000"}]}
    tree = {code: name for name, code in ISIC_DIAGNOSES.items()}
    images = []
    for name in NAMES:
        server.files[f"/s3/{name}.jpg?signature=x"] = image(name)
        clinical = {"lesion_id": f"IL_{name[-4:]}", "age_approx": 50, "sex": "male", "anatom_site_general": None}
        clinical |= {"diagnosis_1": "Benign", "diagnosis_3": tree[DX[name]], "diagnosis_confirm_type": "histopathology"}
        full = {"url": f"{server.url}/s3/{name}.jpg?signature=x", "size": len(image(name))}
        images.append({"isic_id": name, "files": {"full": full}, "metadata": {"clinical": clinical, "acquisition": {}}})
    first = "/api/v2/images/search/?collections=212&limit=100"
    server.answers[first] = {"next": f"{api}images/search/?cursor=2", "results": images[:20]}
    server.answers["/api/v2/images/search/?cursor=2"] = {"next": None, "results": images[20:]}
    return server


@pytest.fixture
def dataverse(server: ArchiveServer, monkeypatch: pytest.MonkeyPatch) -> ArchiveServer:
    monkeypatch.setenv("DATAVERSE_URL", server.url)
    parts = [zipped({f"{n}.jpg": image(n) for n in NAMES[start::2]}) for start in (0, 1)]
    contents = {f"HAM10000_images_part_{number}.zip": part for number, part in enumerate(parts, 1)}
    contents |= {"HAM10000_metadata.tab": metadata(), "ISIC2018_Task3_Test_Images.zip": b"not wanted"}
    files = []
    for number, (name, content) in enumerate(contents.items()):
        file = {"id": number, "filename": name, "filesize": len(content), "md5": hashlib.md5(content).hexdigest()}
        if name.endswith(".tab"):  # what the Dataverse makes of an uploaded table
            file |= {"originalFileFormat": "text/csv", "originalFileSize": len(content), "filesize": 1}
        server.redirects[f"/api/access/datafile/{number}{'?format=original' * name.endswith('.tab')}"] = f"/s3/{name}"
        server.files[f"/s3/{name}"] = content
        files.append({"label": name, "dataFile": file})
    server.answers[DOI_PATH] = {"status": "OK", "data": {"latestVersion": {"files": files}}}
    return server


def check_folder(folder: Path) -> None:
    found = {path.stem: path.read_bytes() for path in folder.rglob("*.jpg")}
    assert found == {name: image(name) for name in NAMES}
    assert not list(folder.rglob("*.partial*")) and not list(folder.rglob("*.zip"))


FETCH = {
    "kaggle": lambda cache: from_kaggle(),
    "isic": from_isic,
    "dataverse": from_dataverse,
}
CUT = {
    "kaggle": KAGGLE_PATH,
    "isic": f"/s3/{NAMES[7]}.jpg?signature=x",
    "dataverse": "/s3/HAM10000_images_part_1.zip",
}


@pytest.mark.parametrize("archive", FETCH)
def test_downloads_once_waits_when_asked_and_goes_on_where_it_was_cut(
    archive: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    server: ArchiveServer = request.getfixturevalue(archive)
    server.busy[CUT[archive]] = 2
    server.cuts[CUT[archive]] = 2
    folder = FETCH[archive](tmp_path / "cache")
    check_folder(folder)
    assert any("bytes=" in line for line in server.requests)  # it went on, and did not begin again
    before = len(server.requests)
    assert FETCH[archive](tmp_path / "cache") == folder
    assert len(server.requests) == before


@pytest.mark.parametrize("archive", FETCH)
def test_a_run_that_was_broken_off_is_continued(archive: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    server: ArchiveServer = request.getfixturevalue(archive)
    server.cuts[CUT[archive]] = 1000
    with pytest.raises(InputError, match="run the same command again"):
        FETCH[archive](tmp_path / "cache")
    server.cuts.clear()
    server.requests.clear()
    check_folder(FETCH[archive](tmp_path / "cache"))
    assert any("bytes=" in line for line in server.requests)


@pytest.mark.parametrize("archive", FETCH)
@pytest.mark.parametrize(
    ("status", "expected"), [(404, "does not know this address"), (429, "it is busy"), (403, "refuses access")]
)
def test_what_the_server_refuses(
    archive: str, status: int, expected: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    server: ArchiveServer = request.getfixturevalue(archive)
    server.refused[CUT[archive]] = status
    with pytest.raises(InputError, match=expected):
        FETCH[archive](tmp_path / "cache")
    server.refused.clear()
    check_folder(FETCH[archive](tmp_path / "cache"))


def test_kaggle_says_how_to_log_in(kaggle: ArchiveServer) -> None:
    kaggle.refused[KAGGLE_PATH] = 401
    with pytest.raises(InputError, match=r"wants a login\. Create a token"):
        from_kaggle()


@pytest.mark.parametrize("archive", FETCH)
def test_no_network(archive: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    server: ArchiveServer = request.getfixturevalue(archive)
    server.shutdown()
    server.server_close()
    with pytest.raises(InputError, match="Check the connection"):
        FETCH[archive](tmp_path / "cache")


def test_a_wrong_checksum_is_never_taken_for_the_file(dataverse: ArchiveServer, tmp_path: Path) -> None:
    good = dataverse.files["/s3/HAM10000_images_part_1.zip"]
    dataverse.files["/s3/HAM10000_images_part_1.zip"] = good[:-1] + b"x"
    with pytest.raises(InputError, match="has not the MD5 checksum"):
        from_dataverse(tmp_path)
    dataverse.files["/s3/HAM10000_images_part_1.zip"] = good
    check_folder(from_dataverse(tmp_path))


def test_a_file_of_the_wrong_size_is_never_taken_for_whole(isic: ArchiveServer, tmp_path: Path) -> None:
    path = f"/s3/{NAMES[3]}.jpg?signature=x"
    isic.files[path] = isic.files[path][:-9]
    with pytest.raises(InputError, match="arrived damaged"):
        from_isic(tmp_path)
    assert not (next(tmp_path.glob("isic-*")) / "HAM10000_metadata.csv").exists()
    assert not (next(tmp_path.glob("isic-*")) / f"{NAMES[3]}.jpg").exists()


def test_diagnoses_that_ham10000_lacks_are_named(isic: ArchiveServer, tmp_path: Path) -> None:
    page = isic.answers["/api/v2/images/search/?cursor=2"]["results"]
    page[0]["metadata"]["clinical"]["diagnosis_3"] = "Scar"
    page[1]["metadata"]["clinical"] = {}
    with pytest.raises(InputError, match=r"(?s)unknown to HAM10000 \(2\).*: Scar.*: none"):
        from_isic(tmp_path)


def test_a_server_that_sends_a_byte_at_a_time_ends(
    isic: ArchiveServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(downloads, "TIMEOUT", (5, 1))
    monkeypatch.setattr(downloads, "ATTEMPTS", 2)
    for path in ("/api/v2/collections/?limit=100", CUT["isic"]):
        isic.dripping = {path}
        with pytest.raises(InputError, match=r"bytes arrived in \d+ seconds\. Check the connection"):
            from_isic(tmp_path)


@pytest.mark.parametrize(
    ("asked", "waits"), [("7", 7), ("100000", downloads.LONGEST_PAUSE), ("Wed, 01 Jan 2120 00:00:00 GMT", 600)]
)
def test_it_waits_as_long_as_a_server_asks_for_and_not_for_ever(
    asked: str, waits: int, server: ArchiveServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    pauses: list[float] = []
    monkeypatch.setattr(time, "sleep", pauses.append)
    server.answers["/list"], server.busy["/list"], server.retry_after = {"found": 1}, 2, asked
    with downloads.open_session() as session:
        assert downloads.get_json(session, f"{server.url}/list", "a list") == {"found": 1}
    assert pauses == [waits, waits]


INTERRUPTED = """
import signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)  # a background job inherits that it is ignored
from pathlib import Path
from lesions.data.sources.isic import from_isic
from lesions.faults import exits_cleanly
exits_cleanly(lambda: from_isic(Path(sys.argv[1])))()
"""


def test_an_interruption_ends_all_downloads_at_once(isic: ArchiveServer, tmp_path: Path) -> None:
    isic.stalled = set(isic.files)
    words = [sys.executable, "-c", INTERRUPTED, tmp_path]
    process = subprocess.Popen(words, cwd=ROOT, text=True, stderr=subprocess.PIPE)  # with the address from isic
    while sum("/s3/" in line for line in isic.requests) < downloads.THREADS:
        assert process.poll() is None, process.communicate()[1]
        time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    error = process.communicate(timeout=downloads.TIMEOUT[1])[1]  # before any of them would end by itself
    assert process.returncode == 130 and "Traceback" not in error
    assert "interrupted; run the same command again to continue" in error
    isic.stalled.clear()
    check_folder(from_isic(tmp_path))


def test_an_image_that_is_listed_twice_is_one(isic: ArchiveServer, tmp_path: Path) -> None:
    first, second = (isic.answers[f"/api/v2/images/search/?{query}"]["results"]
                     for query in ("collections=212&limit=100", "cursor=2"))  # fmt: skip
    second.append(first[0])
    folder = from_isic(tmp_path)
    check_folder(folder)
    assert pd.read_csv(folder / "HAM10000_metadata.csv")["image_id"].is_unique


def test_a_collection_that_is_gone(isic: ArchiveServer, tmp_path: Path) -> None:
    isic.answers["/api/v2/collections/?cursor=2"]["results"] = []
    with pytest.raises(InputError, match="no collection HAM10000; take --source kaggle"):
        from_isic(tmp_path)


@pytest.mark.parametrize("member", ["../escaped.jpg", "/etc/escaped.jpg", "a/../../escaped.jpg", "c:\\escaped.jpg"])
def test_an_archive_that_reaches_outside_is_refused(member: str, tmp_path: Path) -> None:
    (tmp_path / "bad.zip").write_bytes(zipped({"good.jpg": b"x", member: b"x"}))
    with pytest.raises(InputError, match="would land outside"):
        archives.unpack(tmp_path / "bad.zip", tmp_path / "folder" / "unpacked")
    assert [path.name for path in tmp_path.rglob("*")] == ["bad.zip"]


def test_a_damaged_archive(tmp_path: Path) -> None:
    content = zipped({"a.jpg": b"0123456789" * 100})
    (tmp_path / "bad.zip").write_bytes(content[:300] + b"#" + content[301:])
    with pytest.raises(InputError, match="is damaged"):
        archives.unpack(tmp_path / "bad.zip", tmp_path / "unpacked")
    assert not (tmp_path / "unpacked").exists()


def test_a_full_disk(monkeypatch: pytest.MonkeyPatch, isic: ArchiveServer, tmp_path: Path) -> None:
    usage = type("usage", (), {"free": 1000})
    monkeypatch.setattr(archives.shutil, "disk_usage", lambda folder: usage)
    with pytest.raises(InputError, match="make room, or give another --cache_dir"):
        from_isic(tmp_path)


def test_the_whole_way_from_an_archive(isic: ArchiveServer, tmp_path: Path) -> None:
    options = ("--source", "isic", "--cache_dir", tmp_path / "cache", "--output", tmp_path / "data")
    command("data_prep.py", *options, ISIC_API_URL=f"{isic.url}/api/v2/")
    splits = pd.read_csv(tmp_path / "data" / "splits.csv")
    assert dict(zip(splits["image_id"], splits["dx"], strict=True)) == DX


def test_a_disk_that_fills_up_while_writing(isic: ArchiveServer, tmp_path: Path) -> None:
    # The limit on the size of a file makes the system's own write fail, as a full disk does.
    options = ("--source", "isic", "--cache_dir", tmp_path / "cache", "--output", tmp_path / "data")
    program = "import resource, runpy, sys; resource.setrlimit(resource.RLIMIT_FSIZE, (20000, 20000)); "
    program += "sys.argv = sys.argv[1:]; runpy.run_path(sys.argv[0], run_name='__main__')"
    error = command("-c", program, "data_prep.py", *options, check=2, ISIC_API_URL=f"{isic.url}/api/v2/").stderr
    assert "could not be written" in error and not (tmp_path / "data").exists()


def hub_dataset(folder: Path, label: str, group: str) -> None:
    rows = {"image": [{"bytes": image(n), "path": None} for n in NAMES], label: [CODES.index(DX[n]) for n in NAMES]}
    rows |= {group: [f"patient {n}" for n in NAMES], "age": [50.0] * len(NAMES)}
    features = {
        "image": Image(),
        label: ClassLabel(names=list(CODES)),
        group: Value("string"),
        "age": Value("float32"),
    }
    whole = Dataset.from_dict(rows, features=Features(features))
    with whole_folder(folder) as partial:
        (partial / "data").mkdir()
        whole.select(range(20)).to_parquet(partial / "data" / "train-00000-of-00001.parquet")
        whole.select(range(20, len(whole))).to_parquet(partial / "data" / "test-00000-of-00001.parquet")


def test_a_data_set_of_the_hub(hub: HubServer, hub_environment: dict[str, str], tmp_path: Path) -> None:
    hub_dataset(tmp_path / "repo", "diagnosis", "patient")
    files = {
        path.relative_to(tmp_path / "repo").as_posix(): path.read_bytes()
        for path in (tmp_path / "repo").rglob("*.parquet")
    }
    hub.repositories["them/skin"] = Repository(files)
    options = [
        "--source",
        "hub:them/skin",
        "--cache_dir",
        tmp_path / "cache",
        "--output",
        tmp_path / "data",
        "--audit",
        "off",
    ]
    error = command("data_prep.py", *options, check=2, **hub_environment).stderr
    assert "name them with --image_column" in error and "image, diagnosis, patient, age" in error
    options += ["--image_column", "image", "--label_column", "diagnosis", "--group_column", "patient"]
    command("data_prep.py", *options, **hub_environment)
    splits = pd.read_csv(tmp_path / "data" / "splits.csv")
    assert sorted(splits["dx"]) == sorted(DX.values()) and splits["lesion_id"].str.startswith("patient").all()
    requests = len(hub.requests)
    command("data_prep.py", *options, **hub_environment)
    assert not any("/resolve/" in line and "GET" in line for line in hub.requests[requests:])
