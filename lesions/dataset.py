"""The prepared data set as the later stages see it: splits that hold the needed columns, and their fingerprint."""

from __future__ import annotations

import glob
import hashlib
import re
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import accumulate
from pathlib import Path
from typing import TYPE_CHECKING, Any, NotRequired

import psutil
from typing_extensions import TypedDict

from lesions.diagnoses import unusable_names
from lesions.faults import Faults, InputError, refused_file
from lesions.hub import local_folder, public_name
from lesions.output.files import check_regular, read_json, sha256_of

if TYPE_CHECKING:
    import pandas as pd
    from datasets import Dataset, DatasetDict

SHARES = {"train": 0.70, "validation": 0.15, "test": 0.15}
JPEG = b"\xff\xd8\xff"  # how such a file begins
NEEDED_COLUMNS = ("image", "label", "image_id", "lesion_id")
TEXTS = ("image_id", "lesion_id", "source", "sex", "localization", "skin_tone", "dx_type")
LEAST_BYTES = 20  # of a row in a Parquet file: an image and its ids take more, a billion copies of one row less
MOST_UNPACKED, MOST_COLUMNS = 100, 1000  # times the size of a file: JPEG hardly shrinks any more


def load_splits(name: str, *needed: str) -> DatasetDict:
    """The data set `name` (folder or Hub id) with at least the splits `needed`. Raises InputError."""
    from datasets import load_dataset

    folder = local_folder(name, "dataset").resolve()  # fsspec would take `~` for the home folder
    if "::" in str(folder):
        raise InputError(f"{folder}: the datasets library can't open a path with `::`; rename that folder")
    files: dict[str, list[str]] = {split: [] for split in SHARES}  # in this order; others follow
    # Not deeper: a folder may hold several data sets, and those of two would be one, with lesions in several splits.
    for file in sorted([*folder.glob("[!.]*.parquet"), *folder.glob("data/[!.]*.parquet")]):
        files.setdefault(file.stem.split("-")[0], []).append(str(file))
    files = {split: paths for split, paths in files.items() if paths}
    if not files:
        raise InputError(f"{folder} holds no Parquet file; make a data set with `python data_prep.py --output {name}`")
    advice, faults = f"{name} is not a data set that data_prep.py made; see its --help", Faults()
    faults.add(f"split missing (there are {', '.join(files)})", *(split for split in needed if split not in files))
    _check_files(name, files, faults)
    faults.raise_if_any(advice)
    # datasets 5.2 recognizes a cached copy by the paths of the files, which a card may list, or by their times, which
    # rsync and tar restore. So the content names the copy.
    content = sha256_of([Path(path) for paths in files.values() for path in paths])
    with _readable(name):
        named = {split: [glob.escape(path) for path in paths] for split, paths in files.items()}
        dataset = load_dataset("parquet", name=content, data_files=named)
    for split in needed:
        for kind, rows in _unusable_rows(dataset[split]).items():
            faults.add(f"{kind}, in split {split}", *rows)
    _check_unique({split: dataset[split] for split in needed}, faults)
    faults.raise_if_any(advice)
    return dataset


@contextmanager
def _readable(name: str) -> Iterator[None]:
    """Turns what a library raises on broken Parquet files into an InputError."""
    try:
        yield
    except Exception as error:
        if isinstance(error, InputError) or refused_file(error):
            raise
        reason = str(error.__cause__ or error).splitlines()[0]
        raise InputError(f"the Parquet files of {name} can't be read ({reason}); make the data set again") from error


def _check_files(name: str, files: dict[str, list[str]], faults: Faults) -> None:
    """Notes what is wrong with the columns of the Parquet files, by split, and with their size, which may grow a
    thousandfold when they are unpacked."""
    from datasets import ClassLabel, Features, Image
    from pyarrow import parquet

    memory, first = psutil.virtual_memory().total, None
    for split, path in ((split, path) for split, paths in files.items() for path in paths):
        check_regular(Path(path))
        size = Path(path).stat().st_size
        with _readable(name), parquet.ParquetFile(path) as file:
            groups = [file.metadata.row_group(number).total_byte_size for number in range(file.num_row_groups)]
            rows, schema = file.metadata.num_rows, file.schema_arrow
            if len(schema) > MOST_COLUMNS:
                faults.add(f"file of more than {MOST_COLUMNS} columns", f"{path}: {len(schema)}")
                continue
            features, unpacked = Features.from_arrow_schema(schema), sum(groups)
            if not (endless := rows * LEAST_BYTES > size or max(groups, default=0) > memory):
                # A group counts a value once, and unpacks it for every row that has it: 16 at a time, and no further.
                parts = accumulate(batch.nbytes for batch in file.iter_batches(batch_size=16))
                unpacked = next((total for total in parts if total > MOST_UNPACKED * size), 0)
        if not rows:
            faults.add("file without a row", path)
        elif endless or unpacked:
            faults.add("file that would fill the memory", f"{path}: {rows} rows, {unpacked / 1e9:.1f} GB unpacked")
        faults.add(f"column missing in split {split}", *(column for column in NEEDED_COLUMNS if column not in features))
        for column, kind in (("label", ClassLabel), ("image", Image)):
            if column in features and not isinstance(features[column], kind):
                faults.add(f"{column} is not of the type {kind.__name__}", f"split {split}")
        for column in {*TEXTS} & {*features}:
            if getattr(features[column], "dtype", None) not in ("string", "large_string"):
                faults.add(f"{column} is not text", f"split {split}: {features[column]}")
        if "age" in features and not re.match("u?int|float", getattr(features["age"], "dtype", "")):
            faults.add("age is not a number of years", f"split {split}: {features['age']}")
        first = first or features
        if features != first:
            names = sorted(one for one in {*first, *features} if first.get(one) != features.get(one))
            what = f"columns of another type, or other labels, than in split {next(iter(files))}"
            faults.add(what, f"split {split}: {', '.join(names)}")
    labels = (first or {}).get("label")
    for what, found in unusable_names(labels.names if isinstance(labels, ClassLabel) else []).items():
        faults.add(f"name of a label {what}", *found)


def _check_unique(parts: dict[str, Dataset], faults: Faults) -> None:
    """Notes every image that has two rows, and every lesion in two of the training, validation and test split: files
    of two data sets in one folder."""
    split_of: dict[str, str] = {}
    for split, part in parts.items():
        images = Counter(part.data.column("image_id").to_pylist())
        twice = (str(name) for name, times in images.items() if times > 1)
        faults.add(f"image_id of two rows, in split {split}", *twice)
        if split in SHARES:
            lesions = set(part.data.column("lesion_id").to_pylist())
            leaks = (str(name) for name in lesions if split_of.setdefault(name, split) != split)
            faults.add(f"lesion of split {split} that is in another one too", *sorted(leaks))


def _unusable_rows(part: Dataset) -> dict[str, list[str]]:
    """The ids of the rows, by kind of fault, that can't be learned from or measured on. The Hub gives unlabeled images
    the label -1, and an image without bytes may name any file of this machine."""
    from pyarrow import compute

    columns = {name: part.data.column(name) for name in NEEDED_COLUMNS}
    count = part.features["label"].num_classes
    texts = {name: columns[name].to_pylist() for name in ("image_id", "lesion_id")}
    # data_prep.py stores JPEG. Pillow would open anything, and hand some formats to other programs.
    jpeg = compute.starts_with(compute.struct_field(columns["image"], "bytes"), JPEG).to_pylist()
    labeled = [label is not None and 0 <= label < count for label in columns["label"].to_pylist()]
    faults = {
        "row without a label (none, -1, or beyond the names of the labels)": [not known for known in labeled],
        "row without the bytes of a JPEG image": [not found for found in jpeg],
        **{f"row without {name}": [not isinstance(text, str) for text in texts[name]] for name in texts},
    }
    names = [name or f"row {number}" for number, name in enumerate(texts["image_id"])]
    return {kind: [str(name) for name, bad in zip(names, found, strict=True) if bad] for kind, found in faults.items()}


def title_of(name: str) -> str:
    """The title of the data set, whatever its folder is called."""
    return str(audit_of(name).get("source", {}).get("title", public_name(name)))


class Origin(TypedDict):
    title: str
    drawn: bool


class Part(TypedDict):
    n_images: dict[str, int]
    terms: str | None


class Duplicates(TypedDict):
    audit: NotRequired[str]
    lesions_merged: NotRequired[int | None]


class Audit(TypedDict):
    """What a training relies on of audit.json."""

    source: NotRequired[Origin]
    sources: NotRequired[dict[str, Part]]
    duplicates: NotRequired[Duplicates]
    no_lesion_id: NotRequired[int]


def audit_of(name: str) -> dict[str, Any]:
    """The content of the audit.json of the data set `name`; empty if it has none. Raises InputError if it is broken."""
    file = local_folder(name, "dataset") / "audit.json"
    what = "what data_prep.py writes; make the data set again, or remove it"
    return read_json(file, Audit, what) if file.is_file() else {}


def label_names(dataset: DatasetDict) -> list[str]:
    """The diagnoses in the order of their label numbers."""
    return list(next(iter(dataset.values())).features["label"].names)


def dataset_fingerprint(dataset: DatasetDict, split: str = "test") -> str:
    """The fingerprint of the source's training, validation and test split together or, for an external split, of that
    split alone. It is computed from the rows that were loaded; see `fingerprint`.

    Images of extra training sets don't count: data sets that differ in these alone have the same validation and test
    split, and none of their training images shows a lesion of these.
    """
    import pandas as pd

    own = [name for name in SHARES if name in dataset] if split in SHARES else [split]
    rows = pd.concat([_identity(dataset, name) for name in own])
    sources = set(rows.loc[rows["split"] != "train", "source"])
    return fingerprint(rows[rows["source"].isin(sources)] if sources else rows)


def split_fingerprints(dataset: DatasetDict) -> dict[str, str]:
    """The fingerprint of each split alone, extra training images included."""
    return {split: fingerprint(_identity(dataset, split)) for split in sorted(dataset)}


def _identity(dataset: DatasetDict, split: str) -> pd.DataFrame:
    """What a fingerprint is computed from, and the source of each row of `split`."""
    names, part = label_names(dataset), dataset[split]
    columns = [name for name in ("image_id", "lesion_id", "label", "source") if name in part.features]
    rows = part.select_columns(columns).to_pandas().assign(split=split)
    dx = [names[int(label)] if 0 <= label < len(names) else "" for label in rows["label"]]  # a split may be unlabeled
    return rows.assign(dx=dx, source=rows.get("source", ""))


def fingerprint(rows: pd.DataFrame) -> str:
    """sha256 of the split: the lines `image_id,lesion_id,dx,split` in the order of image_id.

    It is computed from the rows themselves, so that anyone who loads the data can check that they are the same.
    """
    columns = (rows[name].fillna("").astype(str) for name in ("image_id", "lesion_id", "dx", "split"))
    digest = hashlib.sha256()
    for line in sorted(map(",".join, zip(*columns, strict=True))):
        digest.update(f"{line}\n".encode())
    return digest.hexdigest()
