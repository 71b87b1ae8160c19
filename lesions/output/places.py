"""Where output goes: the place is tested before the work, and only what this program wrote is ever replaced."""

from __future__ import annotations

import errno
import os
import re
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath

from filelock import FileLock, Timeout

from lesions.faults import Faults, InputError
from lesions.output.plain_text import escaped

LONGEST_NAME = 200  # bytes in UTF-8; file systems take 255, of which a partial file's name needs some
WITHOUT_LOCKS = (errno.ENOLCK, errno.EOPNOTSUPP)  # what a drive that can't lock files answers


@contextmanager
def alone(path: Path) -> Iterator[None]:
    """Lets one process at a time write to `path`, a file or a folder. Raises InputError in any other.

    The lock lies beside `path`, so it holds for every user and machine that can write there. It goes when the block
    ends, and so does a folder that was made for it and is still empty. The system frees that of a killed process, and
    the next one to write there takes its file away.
    """
    path = path.resolve()
    made = not path.parent.exists()
    path.parent.mkdir(parents=True, exist_ok=True)
    place = path.with_name(f".{path.name}.lock")
    lock = FileLock(place, mode=0o666, is_singleton=True)  # so that this process may ask twice
    try:
        lock.acquire(blocking=False)
    except Timeout:
        raise InputError(f"{path}: another process is writing there; wait for it, or give another place") from None
    except OSError as error:
        if error.errno not in WITHOUT_LOCKS:
            raise
        print(f"{path.parent} is on a drive without file locks: let no other process write there until this one ends")
    try:
        yield
    finally:
        if lock.lock_counter <= 1:
            with suppress(OSError):  # Windows removes it once it is released
                place.unlink()
                if made:
                    path.parent.rmdir()  # unless it holds something now
        lock.release()


def check_writable(folder: Path) -> None:
    """Makes sure, before any work, that files can be created in `folder`, or that it can be made. Raises InputError."""
    check_utf8(folder)
    if folder.is_symlink() and not folder.exists():
        raise InputError(f"{folder} is a link to {folder.resolve()}, which does not exist; make that folder first")
    folder = folder.resolve()
    there = next(place for place in (folder, *folder.parents) if place.exists())
    if not there.is_dir():
        raise InputError(f"{there} is a file, not a folder; give another place")
    try:
        with tempfile.TemporaryFile(dir=there) as probe:
            probe.write(b"\0" * 4096)
    except OSError as error:
        raise InputError(f"{there} can't be written to: {error.strerror}; give another place") from error


def check_utf8(path: Path) -> None:
    """Raises InputError for a path in another encoding, which safetensors and Parquet can neither read nor write."""
    if escaped(str(path.resolve())) != str(path.resolve()):
        advice = "rename that folder" if sys.getfilesystemencoding() == "utf-8" else "set PYTHONUTF8=1"
        raise InputError(f"the name of {path.resolve()} is not in UTF-8; {advice}")


def check_folder(path: Path, ours: Sequence[str] | None = None) -> Path:
    """The folder that `path` leads to, made sure, before any work, that a new one can take its place.

    `ours` are the patterns of what this program writes there, as `listed` takes them. Raises InputError if the place
    can't be written to, or holds anything else, or if the folder itself can't be replaced.
    """
    path = path.resolve()  # a link stays, and its target is replaced
    inside = path / path.name
    if os.path.ismount(path):
        raise InputError(f"{path} is a mount point and can't be replaced; give a folder inside it, such as {inside}")
    if path == Path.cwd() or path in Path.cwd().parents:
        raise InputError(f"{path} is the current folder and can't be replaced; give a folder inside it")
    if len(path.name.encode(errors="replace")) > LONGEST_NAME:
        raise InputError(f"the name of {path} is too long; give one of at most {LONGEST_NAME} bytes")
    check_utf8(path)
    check_writable(path.parent)
    if path.exists() and not path.is_dir():
        raise InputError(f"{path} is a file, not a folder; give another place")
    if ours is not None and path.is_dir():
        faults = Faults()
        faults.add(f"{path} holds files that this program did not write", *listed(path, ours)[1])
        faults.raise_if_any("move them, or give another place")
    return path


def listed(folder: Path, patterns: Sequence[str]) -> tuple[list[str], list[str]]:
    """The regular files below `folder` that a pattern names, and all others, as sorted relative paths.

    A pattern is matched part by part: `*.json` names files on top only, `data/*` those directly in `data`. Links are
    never followed, so they are among the others.
    """
    named: list[str] = []
    others: list[str] = []
    for place, folders, names in os.walk(folder):
        for name in (*names, *(one for one in folders if Path(place, one).is_symlink())):
            path = Path(place, name)
            relative = path.relative_to(folder).as_posix()
            matched = is_named(relative, patterns)
            (named if matched and path.is_file() and not path.is_symlink() else others).append(relative)
    return sorted(named), sorted(others)


def is_named(relative: str, patterns: Sequence[str]) -> bool:
    """Whether one of the `patterns`, as `listed` takes them, names the path `relative`."""
    parts, wanted = PurePosixPath(relative).parts, [PurePosixPath(pattern).parts for pattern in patterns]
    return any(len(parts) == len(one) and all(map(fnmatchcase, parts, one)) for one in wanted)


def is_plain(name: str) -> bool:
    """Whether `name` is the name of one file, on any system, and leads nowhere else."""
    reserved = re.match(r"(con|prn|aux|nul|com\d|lpt\d)(\.|$)", name, re.IGNORECASE)  # devices of Windows
    odd = re.search(r"[/\\:\x00-\x1f\x7f\ud800-\udfff]", name)
    return bool(name) and name[-1] not in ". " and not odd and not reserved and len(name.encode()) <= LONGEST_NAME


def plain_name(name: str, what: str) -> str:
    """`name`, made sure that it is the name of one file and leads nowhere else: for names that come from outside.

    Raises InputError, which calls it `what`.
    """
    if not is_plain(name):
        raise InputError(f"{what} is {name!r}, which is not a plain file name; nothing was written there")
    return name
