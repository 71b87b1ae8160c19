"""HAM10000 from the Harvard Dataverse, the authors' own release."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlencode

from lesions.data.sources.archives import check_space, unpack
from lesions.data.sources.downloads import cache_folder, download, expected_form, get_json, open_session
from lesions.data.table_files import METADATA
from lesions.faults import InputError
from lesions.output.places import plain_name

DATAVERSE = "https://dataverse.harvard.edu"
DATAVERSE_DOI = "doi:10.7910/DVN/DBW86T"


class DataverseFile(NamedTuple):
    """A file as its authors uploaded it: the Dataverse converts tables, but its checksum is that of the upload."""

    url: str
    size: int  # bytes
    md5: str | None


def from_dataverse(cache: Path) -> Path:
    """The authors' own release on the Harvard Dataverse, checksums verified. Raises InputError."""
    server, what = os.environ.get("DATAVERSE_URL", DATAVERSE), f"the Dataverse's {DATAVERSE_DOI}"
    folder = cache_folder(cache, "dataverse", server, DATAVERSE_DOI)
    if (folder / METADATA).is_file():
        return folder
    with open_session() as session:
        query = urlencode({"persistentId": DATAVERSE_DOI})
        answer = get_json(session, f"{server}/api/datasets/:persistentId/?{query}", what)
        with expected_form(what):
            entries = [entry["dataFile"] for entry in answer["data"]["latestVersion"]["files"]]
            files = {entry["filename"]: _dataverse_file(server, entry) for entry in entries}
            tables = [name for name in files if name.split(".")[0] == METADATA.split(".")[0]]
            archives = sorted(name for name in files if name.startswith("HAM10000_images") and name.endswith(".zip"))
        if not tables or not archives:
            raise InputError(f"{what} lacks {METADATA} or the images; it has {', '.join(files)}. Use --source kaggle")
        archives = [plain_name(name, f"a file of {what}") for name in archives]
        archives = [name for name in archives if not (folder / Path(name).stem).is_dir()]
        check_space(folder, 2 * sum(files[name].size for name in archives))  # packed and unpacked
        for name in archives:
            url, size, md5 = files[name]
            download(session, url, folder / name, size, md5, show=True)
            unpack(folder / name, folder / Path(name).stem)
            (folder / name).unlink()
        url, size, md5 = files[tables[0]]
        download(session, url, folder / METADATA, size, md5, show=True)
    return folder


def _dataverse_file(server: str, entry: dict[str, Any]) -> DataverseFile:
    original = "originalFileFormat" in entry
    url = f"{server}/api/access/datafile/{entry['id']}{'?format=original' if original else ''}"
    return DataverseFile(url, int(entry["originalFileSize" if original else "filesize"]), entry.get("md5"))
