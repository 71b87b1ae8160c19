"""HAM10000 from where it is published: Kaggle, the ISIC Archive, the Harvard Dataverse; and any set from the Hub.

Each function returns a folder with a metadata table and the pictures. The table is written last, so where it lies
everything does, and nothing is asked of the network again.
"""

from __future__ import annotations

import os
import zipfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import urlencode, urlsplit

import pandas as pd
import requests
from tqdm import tqdm

from lesions.data.metadata import FILE_NAMES, Columns
from lesions.data.sources.downloads import THREADS, again_where_cut, check_space, download, get_json, unpack
from lesions.faults import Faults, InputError
from lesions.files import whole_file

METADATA = FILE_NAMES[0]
# With its version: kagglehub then asks Kaggle nothing once it has the files.
KAGGLE_DATASET = "kmader/skin-cancer-mnist-ham10000/versions/2"
KAGGLE_LOGIN = (
    "Create a token on kaggle.com/settings, and put kaggle.json into ~/.kaggle or the token into KAGGLE_API_TOKEN"
)
ISIC_API = "https://api.isic-archive.com/api/v2/"
ISIC_COLLECTION = "HAM10000"
DATAVERSE = "https://dataverse.harvard.edu"
DATAVERSE_DOI = "doi:10.7910/DVN/DBW86T"

# The ISIC Archive's names, of any level of its tree of diagnoses, for those of HAM10000.
ISIC_DIAGNOSES = {
    "Nevus": "nv",
    "Malignant melanocytic proliferations (Melanoma)": "mel",
    "Basal cell carcinoma": "bcc",
    "Solar or actinic keratosis": "akiec",
    "Squamous cell carcinoma in situ": "akiec",
    "Pigmented benign keratosis": "bkl",
    "Seborrheic keratosis": "bkl",
    "Solar lentigo": "bkl",
    "Lichen planus like keratosis": "bkl",
    "Dermatofibroma": "df",
    "Benign soft tissue proliferations - Vascular": "vasc",
}


def from_kaggle() -> Path:
    """Kaggle's copy, through kagglehub, in kagglehub's own cache. Raises InputError."""
    import kagglehub
    from kagglehub.exceptions import DataCorruptionError

    what = f"Kaggle's {KAGGLE_DATASET}"
    try:
        return Path(again_where_cut(what, lambda: kagglehub.dataset_download(KAGGLE_DATASET), KAGGLE_LOGIN))
    except (DataCorruptionError, zipfile.BadZipFile, ValueError) as error:
        raise InputError(f"{what} arrived damaged ({error}); run the same command again") from error


def from_isic(cache: Path) -> Path:
    """The ISIC Archive's collection HAM10000, picture by picture. Raises InputError."""
    folder, what = cache / "isic", f"the ISIC Archive's collection {ISIC_COLLECTION}"
    if (folder / METADATA).is_file():
        return folder
    api = os.environ.get("ISIC_API_URL", ISIC_API)
    with requests.Session() as session:
        collections = _isic_pages(session, f"{api}collections/?{urlencode({'limit': 100})}", "ISIC's collections")
        number = next((found["id"] for found in collections if found["name"] == ISIC_COLLECTION), None)
        if number is None:
            raise InputError(f"{api} lists no collection {ISIC_COLLECTION}; take --source kaggle or dataverse")
        query = urlencode({"collections": number, "limit": 100})
        images = list(tqdm(_isic_pages(session, f"{api}images/search/?{query}", what), desc="listing", unit="picture"))
        faults = Faults()
        table = pd.DataFrame([_isic_row(image, faults) for image in images])
        faults.raise_if_any("these have no counterpart in HAM10000; take --source kaggle or dataverse")

        wanted = {image["isic_id"]: image["files"]["full"] for image in images}
        paths = {name: folder / f"{name}{_suffix(file['url'])}" for name, file in wanted.items()}
        check_space(folder, sum(file["size"] for name, file in wanted.items() if not paths[name].is_file()))

        def fetch(name: str) -> None:
            download(session, wanted[name]["url"], paths[name], wanted[name]["size"])

        with ThreadPoolExecutor(THREADS) as pool:  # where one fails, map drops those that have not begun
            list(tqdm(pool.map(fetch, wanted), total=len(wanted), desc="downloading", unit="picture"))
    return _finish(folder, table)


def _isic_pages(session: requests.Session, url: str | None, what: str) -> Iterator[dict[str, Any]]:
    while url:
        page = get_json(session, url, what)
        yield from page["results"]
        url = page["next"]


def _suffix(url: str) -> str:
    return PurePosixPath(urlsplit(url).path).suffix or ".jpg"


def _isic_row(image: dict[str, Any], faults: Faults) -> dict[str, Any]:
    clinical = image["metadata"]["clinical"]
    diagnoses = [clinical.get(f"diagnosis_{level}") for level in (5, 4, 3, 2, 1)]
    code = next((ISIC_DIAGNOSES[name] for name in diagnoses if name in ISIC_DIAGNOSES), None)
    if code is None:
        faults.add("diagnosis unknown to HAM10000", f"{image['isic_id']}: {next(filter(None, diagnoses), 'none')}")
    return {
        "lesion_id": clinical.get("lesion_id"),
        "image_id": image["isic_id"],
        "dx": code,
        "dx_type": clinical.get("diagnosis_confirm_type"),
        "age": clinical.get("age_approx"),
        "sex": clinical.get("sex"),
        "localization": clinical.get("anatom_site_general"),
    }


def from_dataverse(cache: Path) -> Path:
    """The authors' own release on the Harvard Dataverse, checksums verified. Raises InputError."""
    folder, what = cache / "dataverse", f"the Dataverse's {DATAVERSE_DOI}"
    if (folder / METADATA).is_file():
        return folder
    server = os.environ.get("DATAVERSE_URL", DATAVERSE)
    with requests.Session() as session:
        query = urlencode({"persistentId": DATAVERSE_DOI})
        answer = get_json(session, f"{server}/api/datasets/:persistentId/?{query}", what)
        files = {entry["dataFile"]["filename"]: entry["dataFile"] for entry in answer["data"]["latestVersion"]["files"]}
        tables = [name for name in files if name.split(".")[0] == METADATA.split(".")[0]]
        archives = sorted(name for name in files if name.startswith("HAM10000_images") and name.endswith(".zip"))
        if not tables or not archives:
            raise InputError(f"{what} holds no {METADATA} or no pictures: {', '.join(files)}; take --source kaggle")
        archives = [name for name in archives if not (folder / Path(name).stem).is_dir()]
        check_space(folder, 2 * sum(files[name]["filesize"] for name in archives))  # packed and unpacked
        for name in archives:
            _dataverse_file(session, server, files[name], folder / name)
            unpack(folder / name, folder / Path(name).stem)
            (folder / name).unlink()
        _dataverse_file(session, server, files[tables[0]], folder / METADATA)
    return folder


def _dataverse_file(session: requests.Session, server: str, file: dict[str, Any], path: Path) -> None:
    """Downloads one file as its authors uploaded it: the Dataverse turns tables into another form, and its checksum
    is that of the upload."""
    original = "originalFileFormat" in file
    url = f"{server}/api/access/datafile/{file['id']}{'?format=original' if original else ''}"
    size = file.get("originalFileSize") if original else file["filesize"]
    download(session, url, path, size, file.get("md5"), show=True)


def from_hub(repo: str, columns: Columns, cache: Path) -> Path:
    """A data set of the Hub with an image column and a diagnosis, all its splits together. Raises InputError.

    `columns.image` is the image column here; the pictures' ids come from a column `image_id`, else from the rows.
    """
    from datasets import ClassLabel, Image, load_dataset

    from lesions.hub import local_folder

    snapshot = local_folder(repo, "dataset", everything=True)
    folder = cache / "hub" / repo.replace("/", "--") / snapshot.name
    if (folder / METADATA).is_file():
        return folder
    rows: list[dict[str, Any]] = []
    faults = Faults()
    for split, part in load_dataset(str(snapshot)).items():
        missing = [name for name in (columns.image, columns.label) if name not in part.features]
        if missing or not isinstance(part.features[columns.image], Image):
            raise InputError(
                f"{repo} has no image column {columns.image} or no column {columns.label}; it has "
                f"{', '.join(part.features)}: name them with --image_column, --label_column and --group_column"
            )
        part = part.cast_column(columns.image, Image(decode=False))
        label = part.features[columns.label]
        for number, row in enumerate(tqdm(part, desc=f"reading {split}", unit="picture")):
            name = str(row.get("image_id") or f"{split}_{number:06d}")
            if PurePosixPath(name).name != name or "\\" in name:
                faults.add("image_id is no plain name", repr(name))
                continue
            picture = row.pop(columns.image)
            content = picture["bytes"] if picture["bytes"] is not None else Path(picture["path"]).read_bytes()
            with whole_file(folder / f"{name}.jpg") as partial:
                partial.write_bytes(content)
            code = row[columns.label]
            dx = label.int2str(code) if isinstance(label, ClassLabel) and code is not None else code
            rows.append({**row, "image_id": name, "dx": dx, "lesion_id": row.get(columns.group)})
    faults.raise_if_any(f"{repo} can't be stored under these names")
    return _finish(folder, pd.DataFrame(rows))


def _finish(folder: Path, table: pd.DataFrame) -> Path:
    with whole_file(folder / METADATA) as partial:
        table.to_csv(partial, index=False, lineterminator="\n")
    return folder
