"""The prepared data set as the later stages see it: splits that hold the needed columns, and their fingerprint."""

from __future__ import annotations

import glob
import hashlib
from typing import TYPE_CHECKING, Any

from lesions.faults import Faults, InputError
from lesions.hub import local_folder, public_name, revision_of
from lesions.output.files import read_json

if TYPE_CHECKING:
    import pandas as pd
    from datasets import DatasetDict

SHARES = {"train": 0.70, "validation": 0.15, "test": 0.15}
NEEDED_COLUMNS = ("image", "label", "image_id", "lesion_id")


def load_splits(name: str, *needed: str) -> DatasetDict:
    """The data set `name` (folder or Hub id) with at least the splits `needed`. Raises InputError."""
    from datasets import ClassLabel, load_dataset

    folder = local_folder(name, "dataset")
    if "::" in str(folder):
        raise InputError(f"{folder}: the datasets library can't open a path with `::`; rename that folder")
    files: dict[str, list[str]] = {split: [] for split in SHARES}  # in this order; others follow
    for file in sorted(folder.rglob("*.parquet")):
        files.setdefault(file.stem.split("-")[0], []).append(glob.escape(str(file)))
    files = {split: paths for split, paths in files.items() if paths}
    if not files:
        raise InputError(f"{folder} holds no Parquet file; make a data set with `python data_prep.py --output {name}`")
    # Not `load_dataset(folder)`: if a card lists its files, datasets 5.2 serves its cached copy of an older data set
    # at the same path. It does look at files that are named one by one.
    dataset = load_dataset("parquet", data_files=files)

    faults = Faults()
    faults.add(f"split missing (there are {', '.join(dataset)})", *(split for split in needed if split not in dataset))
    for split in dataset:
        features = dataset[split].features
        faults.add(f"column missing in split {split}", *(column for column in NEEDED_COLUMNS if column not in features))
        if "label" in features and not isinstance(features["label"], ClassLabel):
            faults.add("label is not a ClassLabel, so its names are unknown", f"split {split}")
    faults.raise_if_any(f"{name} is not a data set that data_prep.py made; see its --help")
    return dataset


def title_of(name: str) -> str:
    """The title of the data set, whatever its folder is called."""
    return str(_audit(name).get("source", {}).get("title", public_name(name)))


def _audit(name: str) -> dict[str, Any]:
    file = local_folder(name, "dataset") / "audit.json"
    return read_json(file) if file.is_file() else {}


def describe_dataset(name: str, dataset: DatasetDict) -> dict[str, Any]:
    """What a record of a training says about its data: name, title, whether it is synthetic, its size by split, the
    (width, height) of its first image in pixels, how many lesions under two ids were kept together, the images and
    terms of each source, and the fingerprint of each split."""
    audit = _audit(name)
    return {
        "name": public_name(name),
        "revision": revision_of(local_folder(name, "dataset")),
        **audit.get("source", {"title": public_name(name), "drawn": False}),
        "n_images": {split: len(part) for split, part in dataset.items()},
        "n_lesions": {split: len(set(part["lesion_id"])) for split, part in dataset.items()},
        "picture_size": list(dataset["train"][0]["image"].size),
        "lesions_merged": audit.get("duplicates", {}).get("lesions_merged"),
        "sources": {
            name: {"n_images": about["n_images"], "terms": about["terms"]}
            for name, about in audit.get("sources", {}).items()
        },
        "fingerprints": split_fingerprints(dataset),
    }


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
    return rows.assign(dx=[names[label] for label in rows["label"]], source=rows.get("source", ""))


def fingerprint(rows: pd.DataFrame) -> str:
    """sha256 of the split: the lines `image_id,lesion_id,dx,split` in the order of image_id.

    It is computed from the rows themselves, so that anyone who loads the data can check that they are the same.
    """
    columns = (rows[name].astype(str) for name in ("image_id", "lesion_id", "dx", "split"))
    digest = hashlib.sha256()
    for line in sorted(map(",".join, zip(*columns, strict=True))):
        digest.update(f"{line}\n".encode())
    return digest.hexdigest()
