"""Files and folders that appear complete or not at all."""

from __future__ import annotations

import glob
import hashlib
import json
import shutil
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import cache
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any
from uuid import uuid4

from pydantic import Field, TypeAdapter, ValidationError

from lesions.faults import SHOWN_OF_A_KIND, InputError
from lesions.output.places import alone, check_folder
from lesions.output.plain_text import for_cell

if TYPE_CHECKING:
    from pandas import DataFrame

A_DAY = 24 * 60 * 60
Number = Annotated[float, Field(allow_inf_nan=False)]  # of a form that `read_json` takes


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Yields a temporary path beside `path`, of this process alone; it takes `path`'s place when the block ends
    without error. Remains of killed runs are removed after a day."""
    path.parent.mkdir(parents=True, exist_ok=True)
    for leftover in path.parent.glob(f".{glob.escape(path.name)}.*.partial*"):
        if time.time() - leftover.stat().st_mtime > A_DAY:
            leftover.unlink(missing_ok=True)
    partial = path.with_name(f".{path.name}.{uuid4().hex[:8]}.partial{path.suffix}")
    try:
        yield partial
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


@contextmanager
def whole_folder(path: Path, ours: Sequence[str] | None = None) -> Iterator[Path]:
    """Yields a new folder beside `path`; it takes `path`'s place when the block ends without error.

    The remains of a killed run are removed first. An older folder at `path` stays until the new one is complete.
    Raises InputError as `check_folder` does, and if another process writes to `path`.
    """
    path = check_folder(path, ours)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial, old = path.with_name(f".{path.name}.{uuid4().hex[:8]}.partial"), path.with_name(f".{path.name}.old")
    with alone(path):
        _restore(old, path)
        for leftover in path.parent.glob(f".{glob.escape(path.name)}.{'[0-9a-f]' * 8}.partial"):
            shutil.rmtree(leftover, ignore_errors=True)
        partial.mkdir()
        try:
            yield partial
            if path.exists():
                path.rename(old)
            partial.rename(path)
        finally:
            shutil.rmtree(partial, ignore_errors=True)
            _restore(old, path)


def _restore(old: Path, path: Path) -> None:
    """Puts the older folder back to `path` if nothing came there, or removes it."""
    if old.exists() and not path.exists():  # stopped between the two renames
        old.rename(path)
    shutil.rmtree(old, ignore_errors=True)


@contextmanager
def scratch_folder(parent: Path, name: str) -> Iterator[Path]:
    """Yields a new folder in `parent`, called `name` and a number of its own, which is removed when the block ends;
    so are those that killed runs left there, but not those in use."""
    for leftover in parent.glob(f"{name}-{'[0-9a-f]' * 8}"):
        with suppress(InputError), alone(leftover):
            shutil.rmtree(leftover, ignore_errors=True)
    place = parent / f"{name}-{uuid4().hex[:8]}"
    with alone(place):
        place.mkdir(parents=True)
        try:
            yield place
        finally:
            shutil.rmtree(place, ignore_errors=True)


def check_regular(path: Path) -> None:
    """Raises InputError for a folder, a pipe or a device where a file is expected: the last two may have no end."""
    if path.exists() and not path.is_file():
        raise InputError(f"{path} is a folder, a pipe or a device, not a regular file; remove it, or replace it")


def sha256_of(paths: Iterable[Path]) -> str:
    """The sha256 of the files' contents, one after the other. Raises InputError as `check_regular` does."""
    digest = hashlib.sha256()
    for path in paths:
        check_regular(path)
        with path.open("rb") as file:
            while block := file.read(1 << 20):
                digest.update(block)
    return digest.hexdigest()


def write_text(path: Path, text: str) -> None:
    """Writes UTF-8 `text` with Unix line ends, completely or not at all. What UTF-8 can't hold, of a file name in
    another encoding, is written as an escape, which JSON reads back."""
    with whole_file(path) as partial:
        partial.write_text(text, encoding="utf-8", errors="backslashreplace", newline="\n")


def write_csv(path: Path, table: DataFrame) -> None:
    """Writes `table` without its index, with Unix line ends and all digits, completely or not at all. No text in it can
    be a formula in a spreadsheet; `lesions.output.plain_text.from_cell` gives back what was changed for that."""
    table = table.rename(columns=for_cell)
    for name in table.select_dtypes(exclude="number"):
        table[name] = [for_cell(value) if isinstance(value, str) else value for value in table[name]]
    with whole_file(path) as partial:
        table.to_csv(partial, index=False, lineterminator="\n", errors="backslashreplace")


def write_json(path: Path, content: Any) -> None:
    """Writes `content` as indented JSON, completely or not at all. Raises ValueError for NaN, which is not JSON."""
    write_text(path, json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def read_json(path: Path, form: Any = None, what: str = "") -> Any:
    """The content of a JSON file, of a `form` if one is given: a type that pydantic takes. Other keys than its own are
    allowed.

    Raises InputError if it is not JSON, or with every place where it has another form than `what` the message names.
    """
    check_regular(path)
    try:
        content = json.loads(path.read_bytes(), parse_constant=_refuse, object_pairs_hook=_once_each)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path} is not JSON ({error}); write it again, or remove it") from error
    if form is not None:
        check_form(content, form, f"{path} is not {what}")
    return content


def _refuse(name: str) -> None:
    raise ValueError(f"{name} is not a number in JSON")


def _once_each(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    content = dict(pairs)
    if len(content) < len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"{next(name for name in content if names.count(name) > 1)} is given twice")
    return content


_adapter = cache(TypeAdapter)


def check_form(content: Any, form: Any, fault: str) -> None:
    """Raises InputError, `fault` with every place that differs, unless `content` has the `form`."""
    try:
        _adapter(form).validate_python(content, strict=True)
    except ValidationError as error:
        places = (f"  {'.'.join(map(str, one['loc']))}: {one['msg']}" for one in error.errors(include_url=False))
        raise InputError("\n".join([fault, *islice(places, SHOWN_OF_A_KIND)])) from error
