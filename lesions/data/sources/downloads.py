"""Downloads that show progress, resume where they stopped, wait when asked to, and appear whole or not at all."""

from __future__ import annotations

import hashlib
import shutil
import time
import zipfile
from collections.abc import Callable, Collection
from pathlib import Path, PurePosixPath
from typing import Any, TypeVar

import requests
from requests.adapters import HTTPAdapter
from tqdm import tqdm
from urllib3.exceptions import NewConnectionError
from urllib3.util import Retry

from lesions.faults import InputError
from lesions.output.files import whole_folder

ATTEMPTS = 6  # to get one answer, and to complete one file, each time from where the last one stopped
PAUSE = 1.0  # seconds before the second attempt; doubled before each further one
TIMEOUT = (10, 60)  # seconds to connect, and between two pieces of an answer
THREADS = 8  # downloads at a time, if there are many small ones
CHUNK = 1 << 16  # bytes; what an interruption loses at most
BUSY = (429, 500, 502, 503, 504)

Result = TypeVar("Result")


def open_session() -> requests.Session:
    """A session that repeats a request while the server is busy, after a pause or after as long as it asks for."""
    retry = Retry(
        ATTEMPTS - 1,
        connect=1,
        status_forcelist=BUSY,
        backoff_factor=PAUSE,
        respect_retry_after_header=True,
        raise_on_status=False,  # the last answer says why
    )
    session = requests.Session()
    for scheme in ("http://", "https://"):
        session.mount(scheme, HTTPAdapter(max_retries=retry))
    return session


def until_complete(what: str, attempt: Callable[[], Result], login: str = "", busy: Collection[int] = ()) -> Result:
    """Calls `attempt`, which resumes where it was interrupted, at most ATTEMPTS times, with growing pauses.

    `busy` are the HTTP statuses after which it is worth repeating; `login` says what to do if access needs one.
    Raises InputError if the network or the server fails.
    """
    for number in range(ATTEMPTS):
        try:
            return attempt()
        except requests.RequestException as error:
            status = error.response.status_code if error.response is not None else None
            unreachable = isinstance(getattr(error.args[0] if error.args else None, "reason", None), NewConnectionError)
            hopeless = unreachable if status is None else status not in busy
            if hopeless or number == ATTEMPTS - 1:
                raise InputError(_explain(what, error, status, login)) from error
        time.sleep(PAUSE * 2**number)
    raise AssertionError("not reached")


def _explain(what: str, error: Exception, status: int | None, login: str) -> str:
    failed = f"{what} could not be downloaded"
    if status is None:
        return f"{failed}: {error}. Check the connection and run the same command again; it resumes where it stopped"
    meaning = {
        401: f"it wants a login. {login}",
        403: f"it refuses access. {login}",
        404: "it knows no such thing; it may have moved",
        429: "it is busy; run the same command again later",
    }.get(status, "run the same command again later")
    return f"{failed}: the server answered {status}: {meaning}".strip()


def get_json(session: requests.Session, url: str, what: str) -> Any:
    """The JSON that `url` answers with."""

    def attempt() -> Any:
        answer = session.get(url, timeout=TIMEOUT)
        answer.raise_for_status()
        return answer.json()

    return until_complete(what, attempt)


def download(
    session: requests.Session, url: str, path: Path, size: int | None = None, md5: str | None = None, show: bool = False
) -> None:
    """Fetches `url` to `path`, unless it is there already; resumes what an earlier run left of it.

    A file takes its place once it has `size` bytes and the checksum `md5`, if these are known. `show` draws a
    progress bar. Raises InputError.
    """
    if path.is_file() and size in (None, path.stat().st_size):
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f"{path.name}.partial")
    until_complete(path.name, lambda: _fetch(session, url, partial, size, show))
    wrong = None
    if size is not None and partial.stat().st_size != size:
        wrong = f"has {partial.stat().st_size} bytes and should have {size}"
    elif md5 and _md5(partial) != md5:
        wrong = f"has not the MD5 checksum {md5}"
    if wrong:
        partial.unlink()
        raise InputError(f"{path.name} arrived damaged: it {wrong}. It was deleted; run the same command again")
    partial.replace(path)


def _fetch(session: requests.Session, url: str, partial: Path, size: int | None, show: bool) -> None:
    have = partial.stat().st_size if partial.is_file() else 0
    if size is not None and have >= size:
        return
    # Without compression, so that the announced length is that of the file.
    headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={have}-"} if have else {})
    with session.get(url, headers=headers, stream=True, timeout=TIMEOUT) as answer:
        if answer.status_code == 416:  # the part is complete already, or of another file
            partial.unlink()
            raise requests.ConnectionError("the part that an earlier run left does not fit")
        answer.raise_for_status()
        have = have if answer.status_code == 206 else 0
        label = partial.stem
        bar = tqdm(total=size, initial=have, desc=label, unit="B", unit_scale=True, disable=not show)
        with partial.open("ab" if have else "wb") as file, bar:
            for chunk in answer.iter_content(CHUNK):
                file.write(chunk)
                bar.update(len(chunk))
    announced = answer.headers.get("Content-Length")
    arrived = partial.stat().st_size - have
    if announced is not None and arrived != int(announced):
        raise requests.ConnectionError(f"the connection ended after {arrived} of {announced} bytes")


def _md5(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "md5").hexdigest()


def check_space(folder: Path, size: int) -> None:
    """Raises InputError if the disk of `folder` has no room for `size` more bytes."""
    folder.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(folder).free
    if free < size:
        raise InputError(
            f"{folder} has {free / 1e9:.1f} GB free, and the download needs {size / 1e9:.1f} GB; "
            "make room, or give another --cache_dir"
        )


def unpack(archive: Path, folder: Path) -> None:
    """Unpacks a ZIP file to the new folder `folder`, whole or not at all. Raises InputError for one that is damaged
    or has a member that is a link or would land outside `folder`."""
    try:
        with zipfile.ZipFile(archive) as opened, whole_folder(folder) as partial:
            for member in tqdm(opened.infolist(), desc=f"unpacking {archive.name}", unit="file"):
                path = PurePosixPath(member.filename.replace("\\", "/"))
                is_link = (member.external_attr >> 16) & 0o170000 == 0o120000
                if path.is_absolute() or ".." in path.parts or ":" in member.filename or is_link:
                    raise InputError(f"{archive} holds {member.filename!r}, which would land outside; nothing was kept")
                opened.extract(member, partial)
    except (zipfile.BadZipFile, EOFError) as error:
        raise InputError(f"{archive} is damaged ({error}); delete it and run the same command again") from error
