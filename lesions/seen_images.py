"""The images that a model has learned from, so that it is not measured on them by mistake.

A run stores hashes of them. A hash of the bytes recognizes an image under any name; a hash of the id recognizes it
in another size or quality.
"""

from __future__ import annotations

import hashlib
from base64 import b64decode, b64encode
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lesions.dataset import SHARES
from lesions.faults import Faults, InputError
from lesions.output.files import read_json, write_json
from lesions.run_folder import check_split, record_of

if TYPE_CHECKING:
    from datasets import Dataset, DatasetDict

SEEN = "training_images.json"
SIZE = 6  # bytes of a hash: a test split of 1,500 images hits one of 10,000 by chance once in 19 million times


@dataclass(frozen=True)
class SeenImages:
    """Hashes of images: of their bytes, of their ids, and of their ids with lesion and diagnosis."""

    contents: frozenset[bytes]
    ids: frozenset[bytes]
    cases: frozenset[bytes]

    def __or__(self, other: SeenImages) -> SeenImages:
        return SeenImages(*(getattr(self, kind.name) | getattr(other, kind.name) for kind in fields(self)))

    def among(self, rows: Dataset) -> list[str]:
        """The ids of those `rows` that hold one of these images.

        Ids alone may agree by chance, such as 1.jpg: they count if every one that is shared has the same lesion and
        diagnosis too.
        """
        names, contents, ids, cases = rows["image_id"], *_hashes(rows)
        by_id = [number for number, hashed in enumerate(ids) if hashed in self.ids]
        same = set(by_id) if all(cases[number] in self.cases for number in by_id) else set()
        return [names[number] for number in range(len(names)) if number in same or contents[number] in self.contents]


def seen_images(rows: Dataset, models: Iterable[Path] = ()) -> SeenImages:
    """The images of `rows`, and those that the `models` have learned from."""
    seen = SeenImages(*map(frozenset, _hashes(rows)))
    for folder in models:
        seen |= read_seen(folder) or SeenImages(frozenset(), frozenset(), frozenset())
    return seen


def write_seen(folder: Path, seen: SeenImages) -> None:
    """Writes the hashes beside the model."""
    content = {kind.name: b64encode(b"".join(sorted(getattr(seen, kind.name)))).decode() for kind in fields(seen)}
    write_json(folder / SEEN, {"bytes_per_image": SIZE, **content})


def read_seen(folder: Path) -> SeenImages | None:
    """The images that the model in `folder` has learned from; None if it says nothing of them. Raises InputError."""
    path = folder / SEEN
    if not path.is_file():
        return None
    content = read_json(path)
    try:
        parts = [b64decode(content[kind.name], validate=True) for kind in fields(SeenImages)]
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
                faults.add(f"image of {split} that the model {name} was trained on", *seen.among(splits[split]))
    faults.raise_if_any("use the data set that the model was trained on, or train it again on this one")


def _hashes(rows: Dataset) -> tuple[list[bytes], list[bytes], list[bytes]]:
    """The hashes of each row's bytes, of its id, and of its id with lesion and diagnosis."""
    labels = rows.features["label"].names
    columns = [rows[name] for name in ("image_id", "lesion_id", "label")]
    cases = [f"{image},{lesion},{labels[label]}" for image, lesion, label in zip(*columns, strict=True)]
    return (
        [_hash(content) for content in _contents(rows)],
        [_hash(image.encode()) for image in columns[0]],
        [_hash(case.encode()) for case in cases],
    )


def _contents(rows: Dataset) -> Iterator[Any]:
    for batch in rows.select_columns(["image"]).with_format("arrow").iter(256):
        yield from (image["bytes"].as_buffer() for image in batch["image"])


def _hash(content: Any) -> bytes:
    return hashlib.sha256(content).digest()[:SIZE]
