"""The prepared images on disk while a data set is being made."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from tqdm import tqdm

from lesions.images import BadImage, prepare


class ImageSpool:
    """The prepared images on disk, one after the other, until the split says in which file each belongs."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.places: dict[str, tuple[int, int]] = {}

    def fill(self, images: dict[str, Path], shorter_side: int, processes: int) -> dict[str, str]:
        """Decodes and prepares every image; returns those that can't be: `{image_id: why}`."""
        bad: dict[str, str] = {}
        names = sorted(images)
        progress = partial(tqdm, total=len(names), desc="preparing images", unit="image")
        with self.path.open("wb") as file, ProcessPoolExecutor(processes) as pool:
            prepared = pool.map(_try_prepare, [(images[name], shorter_side) for name in names], chunksize=32)
            for name, result in progress(zip(names, prepared, strict=True)):
                if isinstance(result, str):
                    bad[name] = result
                else:
                    self.places[name] = (file.tell(), len(result))
                    file.write(result)
        return bad

    @contextmanager
    def open(self) -> Iterator[Callable[[str], bytes]]:
        """Yields a function that gives the bytes of the image of an id."""
        with self.path.open("rb") as file:

            def read(name: str) -> bytes:
                offset, length = self.places[name]
                file.seek(offset)
                return file.read(length)

            yield read


def _try_prepare(task: tuple[Path, int]) -> bytes | str:
    try:
        return prepare(*task)
    except (BadImage, OSError) as error:
        return str(error)
