"""Downloads that show progress, resume where they stopped, wait when asked to, and end: whole, or with an error."""

from __future__ import annotations

import hashlib
import itertools
import json
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

import requests
from requests.adapters import HTTPAdapter
from tqdm import tqdm
from urllib3.exceptions import HTTPError, NewConnectionError
from urllib3.util import Retry

from lesions.faults import InputError

ATTEMPTS = 6  # to get one answer, and to complete one file, each time from where the last one stopped
SILENT_ATTEMPTS = 2  # if no answer comes at all
PAUSE = 1.0  # seconds before the second attempt; doubled before each further one
LONGEST_PAUSE = 600  # seconds, if the server asks for a longer one
TIMEOUT = (10, 60)  # seconds to connect, and between two pieces of an answer
SLOWEST = 1000  # bytes per second, on average after the first minute
THREADS = 8  # downloads at a time, if there are many small ones
CHUNK = 1 << 16  # bytes; what an interruption loses at most
LARGEST_ANSWER = 64 << 20  # bytes of JSON
BUSY = (429, 500, 502, 503, 504)

Result = TypeVar("Result")


def cache_folder(cache: Path, name: str, *sources: str) -> Path:
    """The folder in `cache` of what is downloaded from these `sources`: a server, and what it is asked for."""
    return cache / f"{name}-{hashlib.sha256(json.dumps(sources).encode()).hexdigest()[:8]}"


def open_session() -> requests.Session:
    """A session that repeats a request while the server is busy, after a pause or after as long as it asks for."""
    retry = Retry(
        ATTEMPTS - 1,
        connect=1,
        read=False,  # `until_complete` repeats these
        status_forcelist=BUSY,
        backoff_factor=PAUSE,
        respect_retry_after_header=True,
        retry_after_max=LONGEST_PAUSE,
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
            wrong_address = isinstance(error, ValueError)
            hopeless = unreachable or wrong_address if status is None else status not in busy
            silent = isinstance(error, requests.Timeout) and number == SILENT_ATTEMPTS - 1
            if hopeless or silent or number == ATTEMPTS - 1:
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
        404: "it does not know this address; the file may have moved",
        429: "it is busy; run the same command again later",
    }.get(status, "run the same command again later")
    return f"{failed}: the server answered {status}: {meaning}".strip()


def get_json(session: requests.Session, url: str, what: str) -> Any:
    """The JSON that `url` answers with. Raises InputError, which calls it `what`."""

    def attempt() -> bytes:
        with session.get(url, stream=True, timeout=TIMEOUT) as answer:
            return b"".join(_pieces(answer, what, LARGEST_ANSWER))

    content = until_complete(what, attempt)
    try:
        return json.loads(content)
    except ValueError as error:
        raise InputError(f"{what}: {_host(url)} answered with something else than JSON: {content[:80]!r}") from error


@contextmanager
def expected_form(what: str) -> Iterator[None]:
    """Turns what an answer raises that lacks what it should hold into an InputError, which calls it `what`."""
    try:
        yield
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        reason = f"{type(error).__name__}: {error}"
        raise InputError(
            f"{what} is described in another form than this program knows ({reason}); take another --source"
        ) from error


def _pieces(answer: requests.Response, what: str, largest: int) -> Iterator[bytes]:
    """The body of an answer as it arrives. Raises RequestException if it stops early or is too slow, and InputError if
    it is a web page or has more than `largest` bytes: then it is not what was asked for."""
    answer.raise_for_status()
    if answer.headers.get("Content-Type", "").startswith("text/html"):
        raise InputError(
            f"{what} could not be downloaded: {_host(answer.url)} answered with a web page. Open it in a browser: "
            "your network may want a login. Then run the same command again"
        )
    started, arrived = time.monotonic(), 0
    try:
        while piece := answer.raw.read1(CHUNK, decode_content=True):
            arrived += len(piece)
            if arrived > largest:
                raise InputError(
                    f"{what} arrived damaged: it has more than {largest} bytes; run the same command again"
                )
            yield piece
            if time.monotonic() - started > TIMEOUT[1] + arrived / SLOWEST:
                raise requests.ConnectionError(f"{arrived} bytes arrived in {time.monotonic() - started:.0f} seconds")
    except HTTPError as error:
        raise requests.ConnectionError(f"the connection ended after {arrived} bytes: {error}") from error


def _host(url: str) -> str:
    return urlsplit(url).netloc


def download(
    session: requests.Session, url: str, path: Path, size: int, md5: str | None = None, show: bool = False
) -> None:
    """Fetches `url` to `path`, unless it is there already; resumes what an earlier run left of it.

    A file takes its place once it has `size` bytes and the checksum `md5`, if that is known. `show` draws a
    progress bar. Raises InputError.
    """
    if path.is_file() and path.stat().st_size == size:
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f"{path.name}.partial")
    until_complete(path.name, lambda: _fetch(session, url, partial, size, show))
    wrong = None
    if partial.stat().st_size != size:
        wrong = f"has {partial.stat().st_size} bytes and should have {size}"
    elif md5 and _md5(partial) != md5:
        wrong = f"has not the MD5 checksum {md5}"
    if wrong:
        partial.unlink()
        raise InputError(f"{path.name} arrived damaged: it {wrong}. It was deleted; run the same command again")
    partial.replace(path)


def _fetch(session: requests.Session, url: str, partial: Path, size: int, show: bool) -> None:
    have = partial.stat().st_size if partial.is_file() else 0
    if have >= size and partial.is_file():
        return
    # Without compression, so that the announced length is that of the file.
    headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={have}-"} if have else {})
    with session.get(url, headers=headers, stream=True, timeout=TIMEOUT) as answer:
        if answer.status_code == 416:  # the part is complete already, or of another file
            partial.unlink()
            raise requests.ConnectionError("the part that an earlier run left does not fit")
        have = have if answer.status_code == 206 else 0
        pieces = _pieces(answer, partial.stem, size - have)
        first = next(pieces, b"")  # before an answer that is something else takes the place of what is here
        bar = tqdm(total=size, initial=have, desc=partial.stem, unit="B", unit_scale=True, disable=not show)
        with partial.open("ab" if have else "wb") as file, bar:
            for piece in itertools.chain([first], pieces):
                file.write(piece)
                bar.update(len(piece))


def _md5(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "md5").hexdigest()
