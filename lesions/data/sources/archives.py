"""ZIP files from outside: looked through before anything is unpacked, then unpacked whole or not at all."""

from __future__ import annotations

import shutil
import stat
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

from tqdm import tqdm

from lesions.faults import Faults, InputError
from lesions.output.files import whole_folder
from lesions.output.places import is_plain

METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA)  # that Python unpacks
BOMB = 100  # times the size of the archive: images hardly shrink when they are packed, and tables to a tenth
MEMBERS = 500_000  # files, at most: each takes room on the disk, also an empty one
SMALL = 1 << 28  # bytes, up to which an archive may unpack to more than that


def check_space(folder: Path, size: int) -> None:
    """Raises InputError if the disk of `folder` has no room for `size` more bytes."""
    folder.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(folder).free
    if free < size:
        raise InputError(
            f"{folder} has {free / 1e9:.1f} GB free and needs {size / 1e9:.1f} GB; make room, or give another "
            "--cache_dir"
        )


def check_archive(archive: Path, folder: Path) -> None:
    """Raises InputError for a ZIP file that is damaged, that holds what can't be unpacked, what is not a plain file or
    what would land outside, or that would not fit on the disk of `folder`."""
    faults, seen = Faults(), set[PurePosixPath]()
    with _opened(archive) as opened:
        members = opened.infolist()
    if len(members) > MEMBERS:
        raise InputError(f"{archive} holds {len(members)} files, more than any data set of images; nothing was kept")
    for member in members:
        name, path = repr(member.filename), PurePosixPath(member.filename.replace("\\", "/"))
        kind = stat.S_IFMT(member.external_attr >> 16)
        if not path.parts or not all(map(is_plain, path.parts)):
            faults.add("would land outside, or under a name that is not a plain file name", name)
        if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
            faults.add("a link, a pipe or a device", name)
        if path in seen:
            faults.add("appears twice", name)
        seen.add(path)
        if member.flag_bits & 1:
            faults.add("encrypted: unpack it yourself", name)
        elif member.compress_type not in METHODS:
            faults.add(f"packed by the method {member.compress_type}, which Python lacks: unpack it yourself", name)
    faults.raise_if_any(f"{archive} can't be unpacked; nothing was kept")
    size, packed = sum(member.file_size for member in members), archive.stat().st_size
    if size > max(SMALL, BOMB * packed) or sum(member.compress_size for member in members) > packed:
        raise InputError(
            f"{archive} would fill the disk: it has {packed} bytes and would unpack to {size}; nothing was kept"
        )
    check_space(folder, size)


def unpack(archive: Path, folder: Path) -> None:
    """Unpacks a ZIP file to the new folder `folder`, whole or not at all. Raises InputError as `check_archive` does."""
    check_archive(archive, folder.parent)
    with _opened(archive) as opened, whole_folder(folder) as partial:
        for member in tqdm(opened.infolist(), desc=f"unpacking {archive.name}", unit="file"):
            opened.extract(member, partial)


@contextmanager
def _opened(archive: Path) -> Iterator[zipfile.ZipFile]:
    """The archive. A damaged one breaks its decoders in ways of every type; errors of the system stay what they are."""
    try:
        with zipfile.ZipFile(archive) as opened:
            yield opened
    except InputError:
        raise
    except Exception as error:
        if isinstance(error, OSError) and error.errno:
            raise
        raise InputError(f"{archive} is damaged ({error}); delete it and run the same command again") from error
