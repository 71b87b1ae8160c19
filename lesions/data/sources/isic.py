"""HAM10000 from the ISIC Archive, image by image."""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import urlencode, urlsplit

import pandas as pd
import requests
from tqdm import tqdm

from lesions.data.isic_archive import LEVELS, class_of
from lesions.data.metadata import finish_metadata
from lesions.data.sources.downloads import THREADS, check_space, download, get_json, open_session
from lesions.data.table_files import METADATA
from lesions.faults import Faults, InputError

ISIC_API = "https://api.isic-archive.com/api/v2/"
ISIC_COLLECTION = "HAM10000"


def from_isic(cache: Path) -> Path:
    """The ISIC Archive's collection HAM10000, image by image. Raises InputError."""
    folder, what = cache / "isic", f"the ISIC Archive's collection {ISIC_COLLECTION}"
    if (folder / METADATA).is_file():
        return folder
    api = os.environ.get("ISIC_API_URL", ISIC_API)
    with open_session() as session:
        collections = _isic_pages(session, f"{api}collections/?{urlencode({'limit': 100})}", "ISIC's collections")
        number = next((found["id"] for found in collections if found["name"] == ISIC_COLLECTION), None)
        if number is None:
            raise InputError(f"{api} lists no collection {ISIC_COLLECTION}; take --source kaggle or dataverse")
        query = urlencode({"collections": number, "limit": 100})
        images = list(tqdm(_isic_pages(session, f"{api}images/search/?{query}", what), desc="listing", unit="image"))
        faults = Faults()
        table = pd.DataFrame([_isic_row(image, faults) for image in images])
        faults.raise_if_any("HAM10000 has no diagnosis for these; use --source kaggle or dataverse")

        wanted = {image["isic_id"]: image["files"]["full"] for image in images}
        paths = {name: folder / f"{name}{_suffix(file['url'])}" for name, file in wanted.items()}
        check_space(folder, sum(file["size"] for name, file in wanted.items() if not paths[name].is_file()))

        def fetch(name: str) -> None:
            download(session, wanted[name]["url"], paths[name], wanted[name]["size"])

        with ThreadPoolExecutor(THREADS) as pool:  # after a failure, map drops those that have not begun
            list(tqdm(pool.map(fetch, wanted), total=len(wanted), desc="downloading", unit="image"))
    return finish_metadata(folder, table)


def _isic_pages(session: requests.Session, url: str | None, what: str) -> Iterator[dict[str, Any]]:
    while url:
        page = get_json(session, url, what)
        yield from page["results"]
        url = page["next"]


def _suffix(url: str) -> str:
    return PurePosixPath(urlsplit(url).path).suffix or ".jpg"


def _isic_row(image: dict[str, Any], faults: Faults) -> dict[str, Any]:
    clinical = image["metadata"]["clinical"]
    names = [clinical[level] for level in LEVELS if clinical.get(level)]
    code = class_of(names)
    if code is None:
        faults.add("diagnosis unknown to HAM10000", f"{image['isic_id']}: {names[0] if names else 'none'}")
    return {
        "lesion_id": clinical.get("lesion_id"),
        "image_id": image["isic_id"],
        "dx": code,
        "dx_type": clinical.get("diagnosis_confirm_type"),
        "age": clinical.get("age_approx"),
        "sex": clinical.get("sex"),
        "localization": clinical.get("anatom_site_general"),
    }
