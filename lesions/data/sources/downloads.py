"""Downloads that show progress, resume where they stopped, wait when asked to, and appear whole or not at all."""

from __future__ import annotations

import hashlib
import shutil
import sys
import time
import zipfile
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import Any, TypeVar

import requests
from tqdm import tqdm
from urllib3.exceptions import NewConnectionError

from lesions.faults import InputError
from lesions.files import whole_folder

ATTEMPTS = 6  # to get one file; each goes on where the one before stopped
PAUSE = 1.0  # seconds before the second attempt; doubled before each further one
TIMEOUT = (10, 60)  # seconds to connect, and between two pieces of an answer
THREADS = 8  # downloads at a time, where there are many small ones
CHUNK = 1 << 16  # bytes; what a cut loses at most
BUSY = (429, 500, 502, 503, 504)

Result = TypeVar("Result")


def again_where_cut(what: str, attempt: Callable[[], Result], login: str = "") -> Result:
    """Calls `attempt` until it works, at most ATTEMPTS times, after a pause or as long as a busy server asks for.

    Raises InputError where the network or the server fails; `login` says what to do where it refuses access.
    """
    for number in range(ATTEMPTS):
        pause = PAUSE * 2**number
        try:
            return attempt()
        except requests.HTTPError as error:
            status = error.response.status_code if error.response is not None else 0
            if status not in BUSY or number == ATTEMPTS - 1:
                raise InputError(_explain(what, status, login)) from error
            asked = error.response.headers.get("Retry-After", "") if error.response is not None else ""
            pause = float(asked) if asked.isdigit() else pause
            print(f"{what}: the server is busy ({status}); waiting {pause:.0f} seconds", file=sys.stderr)
        except requests.RequestException as error:
            unreachable = isinstance(getattr(error.args[0] if error.args else None, "reason", None), NewConnectionError)
            if unreachable or number == ATTEMPTS - 1:
                raise InputError(
                    f"{what} could not be downloaded: {error}. Check the connection and run the same command again; "
                    "it goes on where it stopped"
                ) from error
        time.sleep(pause)
    raise AssertionError("not reached")


def _explain(what: str, status: int, login: str) -> str:
    meaning = {
        401: f"it wants a login. {login}",
        403: f"it refuses access. {login}",
        404: "it knows no such thing; it may have moved",
        429: "it is busy; run the same command again later",
    }
    default = "run the same command again later"
    return f"{what} could not be downloaded: the server answered {status}: {meaning.get(status, default)}".strip()


def get_json(session: requests.Session, url: str, what: str) -> Any:
    """The JSON that `url` answers with."""

    def attempt() -> Any:
        answer = session.get(url, timeout=TIMEOUT)
        answer.raise_for_status()
        return answer.json()

    return again_where_cut(what, attempt)


def download(
    session: requests.Session, url: str, path: Path, size: int | None = None, md5: str | None = None, show: bool = False
) -> None:
    """Fetches `url` to `path`, unless it is there already; goes on with what an earlier run left of it.

    A file takes its place when it has `size` bytes and the checksum `md5`, where these are known. `show` draws a
    progress bar. Raises InputError.
    """
    if path.is_file() and size in (None, path.stat().st_size):
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f"{path.name}.partial")
    again_where_cut(path.name, lambda: _fetch(session, url, partial, size, show))
    wrong = None
    if size is not None and partial.stat().st_size != size:
        wrong = f"has {partial.stat().st_size} bytes and should have {size}"
    elif md5 and _md5(partial) != md5:
        wrong = f"has not the MD5 checksum {md5}"
    if wrong:
        partial.unlink()
        raise InputError(f"{path.name} arrived damaged: it {wrong}. It is deleted; run the same command again")
    partial.replace(path)


def _fetch(session: requests.Session, url: str, partial: Path, size: int | None, show: bool) -> None:
    have = partial.stat().st_size if partial.is_file() else 0
    if size is not None and have >= size:
        return
    # Not compressed on the way: else the length that is announced would not be that of the file.
    headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={have}-"} if have else {})
    with session.get(url, headers=headers, stream=True, timeout=TIMEOUT) as answer:
        if answer.status_code == 416:  # all of it is here already, or what is here is not of this file
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
    """Raises InputError where the disk of `folder` has no room for `size` more bytes."""
    folder.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(folder).free
    if free < size:
        raise InputError(
            f"{folder} has {free / 1e9:.1f} GB free, and the download needs {size / 1e9:.1f} GB; "
            "make room, or give another --cache_dir"
        )


def unpack(archive: Path, folder: Path) -> None:
    """Unpacks a ZIP file to the new folder `folder`, whole or not at all. Raises InputError for one that is damaged
    or holds a member that would land outside of `folder`, or that is a link."""
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
