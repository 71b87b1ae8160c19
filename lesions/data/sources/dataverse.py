"""HAM10000 from the Harvard Dataverse, the authors' own release."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import requests

from lesions.data.sources.downloads import check_space, download, get_json, open_session, unpack
from lesions.data.table_files import METADATA
from lesions.faults import InputError

DATAVERSE = "https://dataverse.harvard.edu"
DATAVERSE_DOI = "doi:10.7910/DVN/DBW86T"


def from_dataverse(cache: Path) -> Path:
    """The authors' own release on the Harvard Dataverse, checksums verified. Raises InputError."""
    folder, what = cache / "dataverse", f"the Dataverse's {DATAVERSE_DOI}"
    if (folder / METADATA).is_file():
        return folder
    server = os.environ.get("DATAVERSE_URL", DATAVERSE)
    with open_session() as session:
        query = urlencode({"persistentId": DATAVERSE_DOI})
        answer = get_json(session, f"{server}/api/datasets/:persistentId/?{query}", what)
        files = {entry["dataFile"]["filename"]: entry["dataFile"] for entry in answer["data"]["latestVersion"]["files"]}
        tables = [name for name in files if name.split(".")[0] == METADATA.split(".")[0]]
        archives = sorted(name for name in files if name.startswith("HAM10000_images") and name.endswith(".zip"))
        if not tables or not archives:
            raise InputError(f"{what} lacks {METADATA} or the images; it has {', '.join(files)}. Use --source kaggle")
        archives = [name for name in archives if not (folder / Path(name).stem).is_dir()]
        check_space(folder, 2 * sum(files[name]["filesize"] for name in archives))  # packed and unpacked
        for name in archives:
            _dataverse_file(session, server, files[name], folder / name)
            unpack(folder / name, folder / Path(name).stem)
            (folder / name).unlink()
        _dataverse_file(session, server, files[tables[0]], folder / METADATA)
    return folder


def _dataverse_file(session: requests.Session, server: str, file: dict[str, Any], path: Path) -> None:
    """Downloads one file as its authors uploaded it: the Dataverse converts tables, but its checksum is that of the
    upload."""
    original = "originalFileFormat" in file
    url = f"{server}/api/access/datafile/{file['id']}{'?format=original' if original else ''}"
    size = file.get("originalFileSize") if original else file["filesize"]
    download(session, url, path, size, file.get("md5"), show=True)
