"""Any image data set of the Hub, laid out as a folder of images with a metadata table.

The Hub's own cache keeps the download. What is made of it here depends on its content and on the options, so it is
made for one run and removed afterwards: no later run can be given what an earlier one made.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
from tqdm import tqdm

from lesions.data.left_out import DIAGNOSIS, UNREADABLE, LeftOut
from lesions.data.metadata import finish_metadata
from lesions.data.table_files import Columns
from lesions.faults import DISK_FULL, Faults, InputError, refused_file
from lesions.hub import local_folder, public_name, revision_of
from lesions.images import SUFFIX, image_id, image_ids, is_file_inside
from lesions.output.files import scratch_folder
from lesions.output.plain_text import in_short, one_line

if TYPE_CHECKING:
    from datasets import Dataset, DatasetDict

UNLABELED = -1  # what the Hub's data sets put where a label is not public
STORED = ("binary", "large_binary", "string", "large_string")  # of a column of images: their bytes, or their paths
NOT_COMPRESSED = (None, "tar")  # of the forms that `datasets` tells from the first bytes


@dataclass
class HubFolder:
    """A data set of the Hub as a folder with HAM10000_metadata.csv, the file of each image by its id, and the rows that
    are not in it. The files have names of their own: an id may be no name of a file."""

    folder: Path
    files: dict[str, Path] = field(default_factory=dict)
    left_out: list[LeftOut] = field(default_factory=list)


@contextmanager
def from_hub(repo: str, columns: Columns, cache: Path, config: str | None = None) -> Iterator[HubFolder]:
    """Yields a data set of the Hub, all splits of one configuration together, until the block ends.

    `columns.image` names the image column: images, their bytes, or paths inside the data set. The image ids come from
    a column `image_id`, or else from the row numbers. Rows without an image or a diagnosis are left out.
    Raises InputError.
    """
    snapshot = local_folder(repo, "dataset", everything=True)
    with scratch_folder(cache, "hub") as place:
        made, rows, faults = HubFolder(place / "images"), list[dict[str, Any]](), Faults()
        made.folder.mkdir()
        own = _own_folders(snapshot)
        for split, part in _load(repo, snapshot, config, place / "datasets").items():
            encoded = _only_needed(repo, part, columns)
            for number, row in enumerate(tqdm(encoded, desc=f"reading {split}", unit="image")):
                where = f"{split}, row {number}"
                content = _content(row.pop(columns.image), snapshot, own, where, faults)
                row = {key: _named(encoded.features[key], value, where, faults) for key, value in row.items()}
                stated, dx = row.get("image_id"), row[columns.label]
                name = image_id(f"{split}_{number:06d}" if stated is None else str(stated))
                if content and dx is not None:
                    (made.folder / f"{len(rows):09d}.jpg").write_bytes(content)
                    rows.append({**row, "image_id": name, "dx": dx})
                else:
                    kind, why = (DIAGNOSIS, "unlabeled") if content else (UNREADABLE, "its row has no image")
                    made.left_out.append(LeftOut(name, "", public_name(repo), kind, why))
        faults.raise_if_any(f"{repo} itself has to be corrected; nothing was written")
        if not rows:
            raise InputError(f"{repo}: no row has both an image in {columns.image} and a label in {columns.label}")
        names = image_ids(row["image_id"] for row in rows)
        made.files = {name: made.folder / f"{number:09d}.jpg" for number, name in enumerate(names)}
        finish_metadata(made.folder, pd.DataFrame(rows, dtype=object))  # whole numbers stay whole beside a gap
        yield made


def _own_folders(snapshot: Path) -> list[Path]:
    """The folders in which the data set's own files lie. Those of a snapshot are links to the blobs beside it."""
    return [snapshot, snapshot.parents[1] / "blobs"] if revision_of(snapshot) else [snapshot]


def _load(repo: str, snapshot: Path, config: str | None, cache: Path) -> DatasetDict:
    """The splits of one configuration, read from files of the data set alone. Raises InputError."""
    from datasets import get_dataset_config_names, get_dataset_default_config_name, load_dataset_builder

    path = str(snapshot)
    with _clear_errors(repo, snapshot):
        names = get_dataset_config_names(path)
        default = get_dataset_default_config_name(path) or (names[0] if len(names) == 1 else None)
        if (config or default) not in names:
            raise InputError(
                f"{repo} has {f'no configuration {config}' if config else 'several configurations'}: choose one of "
                f"{in_short(names)} with --dataset_config"
            )
        builder = load_dataset_builder(path, config or default, cache_dir=str(cache))
        files = [Path(file) for files in builder.config.data_files.values() for file in files]
        _check_files(repo, snapshot, files)
        builder.download_and_prepare()
        return builder.as_dataset()


def _check_files(repo: str, snapshot: Path, files: list[Path]) -> None:
    """Raises InputError for files that a card names and that are not the data set's own, and for what is compressed,
    whatever it is called: `datasets` unpacks it unseen, and could fill the disk."""
    from datasets.utils.extract import Extractor

    faults, own = Faults(), _own_folders(snapshot)
    for file in files:
        if not (file.is_relative_to(snapshot.resolve()) and any(is_file_inside(file, folder) for folder in own)):
            faults.add("not a file of the data set", str(file))
        elif not SUFFIX.search(file.name) and Extractor.infer_extractor_format(file) not in NOT_COMPRESSED:
            faults.add("compressed: download the data set, unpack this there, and give hub:FOLDER", str(file))
    faults.raise_if_any(f"{repo} can't be used as it is")


@contextmanager
def _clear_errors(repo: str, snapshot: Path) -> Iterator[None]:
    """Turns whatever `datasets` raises into an InputError: files that are damaged, or not what they say they are,
    break it in ways of every type. Errors of the system, such as a full disk, stay what they are."""
    try:
        yield
    except InputError:
        raise
    except Exception as error:
        if (refused := refused_file(error)) and refused.errno in DISK_FULL:
            raise
        if scripts := sorted(path.name for path in snapshot.glob("*.py")):
            raise InputError(
                f"{repo} is read by a program of its own ({', '.join(scripts)}), which is never run. The Hub may have "
                f"it as Parquet: `hf download --repo-type dataset {repo} --revision refs/convert/parquet --local-dir "
                "FOLDER`, then --source hub:FOLDER"
            ) from error
        text = str(error.__cause__ or error).strip().partition("\n")[0]
        raise InputError(f"{repo} can't be read as a data set ({type(error).__name__}: {text})") from error


def _only_needed(repo: str, part: Dataset, columns: Columns) -> Dataset:
    """The image column, not decoded, and the columns of single values. Raises InputError if these lack what is asked
    for."""
    from datasets import ClassLabel, Image, Value

    single = [name for name, kind in part.features.items() if isinstance(kind, (ClassLabel, Value))]
    kind = part.features.get(columns.image)
    stored = isinstance(kind, Image) or (isinstance(kind, Value) and kind.dtype in STORED)
    if not (stored or (isinstance(kind, dict) and kind.keys() & {"bytes", "path"})) or columns.label not in single:
        raise InputError(
            f"{repo} has no image column {columns.image} or no column {columns.label} of labels; it has "
            f"{in_short(part.features)}: name them with --image_column, --label_column and --group_column"
        )
    part = part.select_columns(list(dict.fromkeys([columns.image, *single])))
    return part.cast_column(columns.image, Image(decode=False))


def _named(feature: Any, value: Any, where: str, faults: Faults) -> Any:
    """`value` with the name of its class for its number; None if it has none."""
    from datasets import ClassLabel

    if isinstance(value, str):
        value = one_line(value).strip()
    if value in (None, "", UNLABELED) or value != value:
        return None
    if not isinstance(feature, ClassLabel):
        return value
    if not 0 <= value < feature.num_classes:
        faults.add(f"label outside the {feature.num_classes} classes", f"{where}: {value}")
        return None
    return feature.names[value]


def _content(
    image: Mapping[str, Any] | None, snapshot: Path, own: list[Path], where: str, faults: Faults
) -> bytes | None:
    """The image's encoded bytes; None if the row has none. A path may lead to files of the data set alone."""
    if image is None:
        return None
    if image["bytes"] or not image["path"]:
        return image["bytes"]
    path = snapshot / image["path"]
    if not any(is_file_inside(path, folder) for folder in own):
        faults.add("image that is not a file of the data set", f"{where}: {image['path']}")
        return None
    return path.read_bytes()
