"""Worker processes that read images, and end with the process that started them, however that one ends."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from threading import Thread
from typing import TypeVar

import psutil
from tqdm import tqdm

from lesions.images import BadImage, decode

INTERVAL = 1.0  # seconds between two looks at the parent

Result = TypeVar("Result")


def end_with(parent: int) -> None:
    """Lets this process end soon after the process `parent` has: as the initializer of a pool, with `os.getpid()`.

    A killed parent can't tell its workers, and a worker that waits for its next task would wait for ever and keep
    stdout open. Looking at the parent, rather than at a pipe, works for every start method and system.
    """
    Thread(target=_watch, args=(parent,), daemon=True).start()


def _watch(parent: int) -> None:
    try:
        process = psutil.Process(parent)
        while process.is_running() and process.status() != psutil.STATUS_ZOMBIE:
            time.sleep(INTERVAL)
    except psutil.NoSuchProcess:
        pass
    os._exit(1)


def each_image(
    task: Callable[[Path], Result], paths: Sequence[Path], processes: int, what: str
) -> Iterator[Result | BadImage]:
    """Yields `task(path)` for each of `paths` in order, computed in `processes`; a BadImage for one that can't be
    read. `what` names the progress bar."""
    with ProcessPoolExecutor(processes, initializer=end_with, initargs=(os.getpid(),)) as pool:
        results = pool.map(partial(_attempt, task), paths, chunksize=32)
        yield from tqdm(results, total=len(paths), desc=what, unit="image")


def find_unreadable(paths: Sequence[Path], processes: int) -> dict[Path, str]:
    """Those of `paths` that can't be decoded completely, each with the reason."""
    results = zip(paths, each_image(_check, paths, processes, "checking images"), strict=True)
    return {path: str(result) for path, result in results if result}


def _check(path: Path) -> None:
    decode(path)


def _attempt(task: Callable[[Path], Result], path: Path) -> Result | BadImage:
    try:
        return task(path)
    except (BadImage, OSError) as error:
        return BadImage(str(error))
