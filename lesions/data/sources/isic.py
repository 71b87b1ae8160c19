"""HAM10000 from the ISIC Archive, image by image."""

from __future__ import annotations

import os
from collections.abc import Iterator
from multiprocessing.pool import ThreadPool
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple
from urllib.parse import urlencode, urlsplit

import pandas as pd
import requests
from tqdm import tqdm

from lesions.data.isic_archive import LEVELS, class_of
from lesions.data.metadata import finish_metadata
from lesions.data.sources.archives import check_space
from lesions.data.sources.downloads import THREADS, cache_folder, download, expected_form, get_json, open_session
from lesions.data.table_files import METADATA
from lesions.faults import Faults, InputError
from lesions.images import SUFFIXES
from lesions.output.places import plain_name

ISIC_API = "https://api.isic-archive.com/api/v2/"
ISIC_COLLECTION = "HAM10000"
PAGES = 1000  # of 100 images: ten times HAM10000


class IsicImage(NamedTuple):
    """An image as the Archive describes it."""

    file: str
    url: str
    size: int  # bytes
    row: dict[str, Any]  # of the metadata table


def from_isic(cache: Path) -> Path:
    """The ISIC Archive's collection HAM10000, image by image. Raises InputError."""
    api, what = os.environ.get("ISIC_API_URL", ISIC_API), f"the ISIC Archive's collection {ISIC_COLLECTION}"
    folder = cache_folder(cache, "isic", api, ISIC_COLLECTION)
    if (folder / METADATA).is_file():
        return folder
    with open_session() as session:
        images = _list_images(session, api, what)
        check_space(folder, sum(image.size for image in images if not (folder / image.file).is_file()))

        def fetch(image: IsicImage) -> None:
            download(session, image.url, folder / image.file, image.size)

        # Its threads are daemons: after Ctrl-C, or a failure, nothing waits for the downloads that are under way.
        with ThreadPool(THREADS) as pool:
            list(tqdm(pool.imap(fetch, images), total=len(images), desc="downloading", unit="image"))
    return finish_metadata(folder, pd.DataFrame([image.row for image in images]))


def _list_images(session: requests.Session, api: str, what: str) -> list[IsicImage]:
    faults = Faults()
    with expected_form(what):
        collections = _isic_pages(session, f"{api}collections/?{urlencode({'limit': 100})}", "ISIC's collections")
        number = next((found["id"] for found in collections if found["name"] == ISIC_COLLECTION), None)
        if number is None:
            raise InputError(f"{api} lists no collection {ISIC_COLLECTION}; take --source kaggle or dataverse")
        url = f"{api}images/search/?{urlencode({'collections': number, 'limit': 100})}"
        listed = tqdm(_isic_pages(session, url, what), desc="listing", unit="image")
        images = {one.file: one for one in (_isic_image(image, faults) for image in listed)}  # pages may overlap
    faults.raise_if_any("HAM10000 has no diagnosis for these; use --source kaggle or dataverse")
    return list(images.values())


def _isic_pages(session: requests.Session, url: str | None, what: str) -> Iterator[dict[str, Any]]:
    seen = set[str]()
    while url:
        if url in seen or len(seen) == PAGES:
            raise InputError(f"{what} is a list without end: {url} follows itself, or more than {PAGES} pages")
        seen.add(url)
        page = get_json(session, url, what)
        yield from page["results"]
        url = page["next"]


def _isic_image(image: dict[str, Any], faults: Faults) -> IsicImage:
    clinical, full = image["metadata"]["clinical"], image["files"]["full"]
    names = [clinical[level] for level in LEVELS if clinical.get(level)]
    code = class_of(names)
    if code is None:
        faults.add("diagnosis unknown to HAM10000", f"{image['isic_id']}: {names[0] if names else 'none'}")
    suffix = PurePosixPath(urlsplit(full["url"]).path).suffix.lower()
    row = {
        "lesion_id": clinical.get("lesion_id"),
        "image_id": image["isic_id"],
        "dx": code,
        "dx_type": clinical.get("diagnosis_confirm_type"),
        "age": clinical.get("age_approx"),
        "sex": clinical.get("sex"),
        "localization": clinical.get("anatom_site_general"),
    }
    file = plain_name(image["isic_id"], "an isic_id") + (suffix if suffix in SUFFIXES else ".jpg")
    return IsicImage(file, full["url"], int(full["size"]), row)
