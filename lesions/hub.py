"""The one place that talks to the Hub: fetches models and data sets, pushes folders, and words every failure."""

from __future__ import annotations

import os
import re
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from lesions.faults import INTERRUPTED, INTERRUPTED_CODE, InputError
from lesions.output.places import is_named, listed
from lesions.output.plain_text import escaped

# No pickle is ever fetched: weights come as safetensors or not at all.
WANTED_FILES = {"model": ["*.json", "*.safetensors"], "dataset": ["*.parquet", "*.json", "*.csv", "README.md"]}
ADDRESSES = {"model": "", "dataset": "datasets/", "space": "spaces/"}  # of each kind, below the Hub's own


SILENCE = 60.0  # seconds without a byte from the Hub, after which a request ends


@dataclass(frozen=True)
class Destination:
    """Where on the Hub a folder goes, and how."""

    repo_id: str
    kind: str = "model"  # or "dataset", "space"
    private: bool = False  # never to a public repository; one that is created now is private
    token: str | None = None  # default: the one of `hf auth login`
    revision: str | None = None  # a branch, created if it doesn't exist
    tag: str | None = None  # put on the commit; an existing tag of that name moves
    create_pr: bool = False  # open a pull request instead of committing

    def __post_init__(self) -> None:
        """Raises InputError for a token that can't be one; an HTTP client would print it."""
        if self.token is not None:
            object.__setattr__(self, "token", self.token.strip() or None)
        if self.token and not re.fullmatch(r"[\x21-\x7e]+", self.token):
            raise InputError("the access token holds characters that no token has; copy it again, or `hf auth login`")


def local_folder(name: str, kind: str, everything: bool = False) -> Path:
    """The folder of the `kind` ("model" or "dataset") called `name`: a folder on disk, or a snapshot from the Hub,
    of the files that this project writes or of `everything`.

    Raises InputError if there is neither.
    """
    if Path(name).is_dir():
        return Path(name)

    from huggingface_hub import snapshot_download

    download = f"hf download {'--repo-type dataset ' if kind == 'dataset' else ''}{name} --local-dir FOLDER"
    what_next = (
        f"--{kind} takes an existing folder or the Hub id of a {kind}. Without a connection, copy the {kind} from "
        f"another machine (`{download}`) and give --{kind} FOLDER"
    )
    with _clear_errors(name, kind, what_next, prefix=f"{name} is not a folder, and "):
        return Path(snapshot_download(name, repo_type=kind, allow_patterns=None if everything else WANTED_FILES[kind]))


def public_name(name: str) -> str:
    """`name` as it may be published: a Hub id unchanged, of a folder or file only the last part, never a path."""
    return escaped(Path(name).resolve().name) if Path(name).exists() else name


def address_of(repo_id: str, kind: str) -> str:
    """The address of a repository's page."""
    from huggingface_hub import constants

    endpoint = re.sub("(?<=://)[^/@]*@", "", constants.ENDPOINT)  # a mirror's address may hold a password
    return f"{endpoint}/{ADDRESSES[kind]}{repo_id}"


def revision_of(folder: Path) -> str | None:
    """The commit of the Hub's repository that `folder` is a snapshot of; None for any other folder."""
    return folder.name if folder.parent.name == "snapshots" else None


def check_access(to: Destination, what_next: str = "nothing was done yet; repeat the same command") -> None:
    """Makes sure, before hours of work, that the push at its end can work: creates the repository.

    Raises InputError, which ends with `what_next`.
    """
    from huggingface_hub import HfApi

    with _clear_errors(to.repo_id, to.kind, what_next):
        api = HfApi(token=to.token)
        api.create_repo(
            to.repo_id,
            repo_type=to.kind,
            private=to.private,
            exist_ok=True,
            space_sdk="static" if to.kind == "space" else None,
        )
        api.auth_check(to.repo_id, repo_type=to.kind, write=True)  # create_repo accepts one that others own
        everybody_reads = to.private and api.repo_info(to.repo_id, repo_type=to.kind).private is False
    if everybody_reads:
        raise InputError(
            f"{to.repo_id} exists already and is public, so nothing was sent: make it private in its settings on the "
            "Hub, or leave out --private"
        )


def push_folder(
    to: Destination,
    folder: Path,
    patterns: Sequence[str],
    message: str,
    what_next: str = "",
    ours: Sequence[str] = (),
) -> str:
    """Pushes the files of `folder` that `patterns` name, as `listed` takes them, in one commit to a repository that
    `check_access` has made. Files that the Hub has already are not sent again, and a push that changes nothing makes
    no commit. `ours` are the patterns of what this program may have sent before: the commit deletes those files of the
    repository that are not among the new ones, since they are about other weights, or rows of an earlier split.

    Returns the address of the repository, or of the pull request. Raises InputError, which ends with `what_next`.
    """
    from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi

    names = listed(folder, patterns)[0]
    files = [CommitOperationAdd(name, folder / name) for name in names]
    with _clear_errors(to.repo_id, to.kind, what_next):
        api = HfApi(token=to.token)
        if to.revision and not to.create_pr:
            api.create_branch(to.repo_id, repo_type=to.kind, branch=to.revision, exist_ok=True)
        # The commit is refused if another came in between: files that it leaves as they are could have changed.
        base = api.repo_info(to.repo_id, repo_type=to.kind, revision=to.revision).sha
        there = api.list_repo_files(to.repo_id, repo_type=to.kind, revision=base) if ours else []
        old = [CommitOperationDelete(name) for name in {*there} - {*names, ".gitattributes"} if is_named(name, ours)]
        commit = api.create_commit(
            to.repo_id,
            [*files, *old],
            repo_type=to.kind,
            commit_message=message,
            revision=to.revision,
            create_pr=to.create_pr,
            parent_commit=base,
        )
        if to.tag:
            if to.tag in {ref.name for ref in api.list_repo_refs(to.repo_id, repo_type=to.kind).tags}:
                api.delete_tag(to.repo_id, repo_type=to.kind, tag=to.tag)
            api.create_tag(to.repo_id, repo_type=to.kind, tag=to.tag, revision=commit.oid)
        return commit.pr_url or address_of(to.repo_id, to.kind)


@contextmanager
def _clear_errors(repo_id: str, kind: str, what_next: str, prefix: str = "") -> Iterator[None]:
    """Turns whatever the Hub's client raises into an InputError: `prefix`, the reason, and `what_next`.

    An answer that no Hub would give, of a login page for example, breaks the client in ways of every type. A Hub that
    accepts and never answers ends with an error too: the client itself would wait for ever. Ctrl-C ends the process at
    once: Python would first wait for the answers to the client's threads.
    """
    from huggingface_hub import get_session

    hooks = get_session().event_hooks
    if _limit_waiting not in hooks["request"]:
        get_session().event_hooks = {**hooks, "request": [*hooks["request"], _limit_waiting]}
    before = signal.getsignal(signal.SIGINT)
    # No other thread hears Ctrl-C, and a job in the background ignores it.
    hears = threading.current_thread() is threading.main_thread() and before is signal.default_int_handler
    if hears:
        signal.signal(signal.SIGINT, _leave)
    try:
        yield
    except Exception as error:
        raise InputError(f"{prefix}{_reason(error, repo_id, kind)}; {what_next}") from error
    finally:
        if hears:
            signal.signal(signal.SIGINT, before)


def _leave(*_: object) -> NoReturn:
    sys.stdout.flush()
    print(INTERRUPTED, file=sys.stderr, flush=True)
    os._exit(INTERRUPTED_CODE)


def _limit_waiting(request: Any) -> None:
    """A hook of the HTTP client: the limits of a request that sets none, or none that ends."""
    asked = request.extensions.get("timeout") or {}
    names = ("connect", "read", "write", "pool")
    request.extensions["timeout"] = {name: min(asked.get(name) or SILENCE, SILENCE) for name in names}


def _reason(error: Exception, repo_id: str, kind: str) -> str:
    """What is wrong, and what to do if the cause is known."""
    from httpx2 import HTTPError  # what the client raises if no answer came
    from huggingface_hub import errors

    text = str(error).strip().partition("\n")[0]
    if isinstance(error, errors.HFValidationError):
        return f"{repo_id} is not a Hub id (owner/name): {text}"
    if isinstance(error, errors.LocalTokenNotFoundError):
        return "you are not logged in to the Hub: run `hf auth login` first"
    if isinstance(error, errors.GatedRepoError):
        return f"{repo_id} is gated: accept its terms on its Hub page, then run `hf auth login`"
    if isinstance(error, errors.RepositoryNotFoundError):
        return f"the Hub has no {kind} {repo_id} that you can read (a private one needs `hf auth login`)"
    if isinstance(error, errors.HfHubHTTPError):
        status = error.response.status_code
        known = {
            401: "the Hub rejected your token: run `hf auth login` with a token that has write access",
            403: f"your token may not write to {repo_id}: use a token with write access, or another id",
            412: f"{repo_id} was changed by somebody else during the push, of which nothing was committed",
            429: "the Hub has had too many requests from you: wait some minutes",
        }
        return known.get(status, f"the Hub answered {status}: {text}")
    cause = error.__cause__  # the client wraps what broke off an upload in a RuntimeError
    if isinstance(error, (HTTPError, OSError)) or isinstance(cause, (HTTPError, OSError)):
        return f"the connection to the Hub failed ({text}{f' {cause}' if cause else ''})"
    return f"what the Hub answered about {repo_id} can't be used ({type(error).__name__}: {text})"
