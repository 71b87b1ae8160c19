"""The images that a model has learned from, so that it is not measured on them by mistake.

A run stores hashes of them. A hash of the bytes recognizes an image under any name; a hash of the id recognizes it
in another size or quality.
"""

from __future__ import annotations

import hashlib
from base64 import b64decode, b64encode
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from lesions.dataset import SHARES
from lesions.faults import Faults, InputError
from lesions.output.files import read_json, sha256_of, write_json
from lesions.run_folder import check_split, record_of

if TYPE_CHECKING:
    import pandas as pd
    from datasets import Dataset, DatasetDict

SEEN = "training_images.json"
SIZE = 6  # bytes of a hash: a test split of 1,500 images hits one of 10,000 by chance once in 19 million times
SAME = 0.99  # of the shared ids, at least, must have the same lesion and diagnosis


@dataclass(frozen=True)
class SeenImages:
    """Hashes of images: of their bytes, of their ids, of their ids with lesion and diagnosis, and of their ids with the
    diagnosis alone, which earlier versions did not store."""

    contents: frozenset[bytes]
    ids: frozenset[bytes]
    cases: frozenset[bytes]
    diagnoses: frozenset[bytes] = frozenset()

    def __or__(self, other: SeenImages) -> SeenImages:
        return SeenImages(*(getattr(self, kind.name) | getattr(other, kind.name) for kind in fields(self)))

    def among(self, images: Sequence[Hashed]) -> list[str]:
        """The ids of those `images` that are among these.

        Ids alone may agree by chance, such as 1.jpg: they count if those that are shared have the same lesion and
        diagnosis too; or, of images whose lesion is not known, the same diagnosis. All but a few, which somebody may
        have corrected since.
        """
        shared = [image for image in images if image.id in self.ids]
        known = [image.case in self.cases if image.case else image.diagnosis in self.diagnoses for image in shared]
        same = {image.id for image in shared} if sum(known) >= SAME * len(shared) else set()
        return [image.name for image in images if image.id in same or image.content in self.contents]


class Hashed(NamedTuple):
    """An image's name, and the hashes of its bytes, its id, its id with lesion and diagnosis, and with the latter."""

    name: str
    content: bytes
    id: bytes
    case: bytes | None  # None where the lesion is not known
    diagnosis: bytes

    @classmethod
    def of(cls, name: str, content: bytes, lesion: str | None, dx: str) -> Hashed:
        case = None if lesion is None else _hash(f"{name},{lesion},{dx}".encode())
        return cls(name, content, _hash(name.encode()), case, _hash(f"{name},{dx}".encode()))


NOTHING = SeenImages(frozenset(), frozenset(), frozenset())


def seen_images(rows: Dataset, models: Iterable[Path] = ()) -> SeenImages:
    """The images of `rows`, and those that the `models` have learned from."""
    images = hashed_rows(rows)
    hashes = ("content", "id", "case", "diagnosis")
    seen = SeenImages(*(frozenset(getattr(image, name) for image in images) for name in hashes))
    for folder in models:
        seen |= read_seen(folder) or NOTHING
    return seen


def write_seen(folder: Path, seen: SeenImages) -> None:
    """Writes the hashes beside the model."""
    content = {kind.name: b64encode(b"".join(sorted(getattr(seen, kind.name)))).decode() for kind in fields(seen)}
    write_json(folder / SEEN, {"bytes_per_image": SIZE, **content})


def read_seen(folder: Path) -> SeenImages | None:
    """The images that the model in `folder` has learned from; None if it says nothing of them. Raises InputError."""
    path = folder / SEEN
    if not path.exists():
        return None
    content = read_json(path)
    try:
        stored = {"diagnoses": "", **content}
        parts = [b64decode(stored[kind.name], validate=True) for kind in fields(SeenImages)]
        if content["bytes_per_image"] != SIZE or any(len(part) % SIZE for part in parts):
            raise ValueError(f"its hashes are not of {SIZE} bytes")
        return SeenImages(*(frozenset(part[at : at + SIZE] for at in range(0, len(part), SIZE)) for part in parts))
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"{path} is not a list of images that train.py wrote; write it again, or remove it") from error


def check_unseen(
    models: dict[str, Path], splits: DatasetDict, held_out: Sequence[str], title: str, fingerprint: str
) -> None:
    """Raises InputError if one of the `models`, by name, has learned from images of the splits `held_out`.

    `title` and `fingerprint` of the data set serve for a run that has not stored its images.
    """
    faults = Faults()
    for name, folder in models.items():
        seen, record = read_seen(folder), record_of(folder)
        if seen is None:
            if set(held_out) & set(SHARES):  # others have a fingerprint of their own
                check_split({name: record}, title, fingerprint)
            continue
        own = record is not None and record["dataset_fingerprint"] == fingerprint
        for split in held_out:
            if not (own and split == "train"):  # a run may be measured on its own training split
                known = seen.among(hashed_rows(splits[split]))
                faults.add(f"image of {split} that the model {name} was trained on", *known)
    faults.raise_if_any("use the data set that the model was trained on, or train it again on this one")


def check_files_unseen(model: str, folder: Path, files: Mapping[str, Path], truth: pd.DataFrame) -> None:
    """Raises InputError if the `model` in `folder` has learned from one of the `files`, by image id, whose `truth` has
    the columns image, dx and maybe lesion_id."""
    if (seen := read_seen(folder)) is None:
        return
    lesions = truth["lesion_id"] if "lesion_id" in truth else truth["image"]
    images = [
        Hashed.of(name, bytes.fromhex(sha256_of([files[name]]))[:SIZE], lesion if lesion != name else None, dx)
        for name, lesion, dx in zip(truth["image"], lesions, truth["dx"], strict=True)
        if files[name].is_file()
    ]
    faults = Faults()
    faults.add(f"image that the model {model} was trained on", *seen.among(images))
    faults.raise_if_any("a model is measured on images that it has not seen: remove these from --images")


def hashed_rows(rows: Dataset) -> list[Hashed]:
    """The images of a data set that data_prep.py made."""
    labels = rows.features["label"].names
    columns = [rows[name] for name in ("image_id", "lesion_id", "label")]
    return [
        Hashed.of(name, _hash(content), lesion, labels[label])
        for content, name, lesion, label in zip(_contents(rows), *columns, strict=True)
    ]


def _contents(rows: Dataset) -> Iterator[Any]:
    for batch in rows.select_columns(["image"]).with_format("arrow").iter(256):
        yield from (image["bytes"].as_buffer() for image in batch["image"])


def _hash(content: Any) -> bytes:
    return hashlib.sha256(content).digest()[:SIZE]
