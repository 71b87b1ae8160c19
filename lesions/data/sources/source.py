"""Where the images and their metadata come from: a folder, an archive on the network, or the synthetic sample."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from lesions.data.left_out import LeftOut
from lesions.data.options import ARCHIVES, HUB, SAMPLE
from lesions.data.sources import sample
from lesions.data.table_files import METADATA, Columns, find_metadata, is_archive_table
from lesions.diagnoses import CODES
from lesions.faults import InputError
from lesions.hub import public_name
from lesions.output.places import check_writable

SYNTHETIC = "Synthetic lesions (not real)"


@dataclass(frozen=True)
class Source:
    """A folder of images, the tables that describe them, and how to read these."""

    folder: Path
    tables: list[Path]
    columns: Columns
    classes: Sequence[str] | None  # the diagnoses that may occur; None: any
    title: str
    synthetic: bool = False
    mixed: bool = False  # the table may hold other image types and diagnoses, which are left out and counted
    left_out: Sequence[LeftOut] = ()  # what the tables lack already
    files: Mapping[str, Path] | None = None  # of the images by id, where their names are not the ids

    def describe(self) -> dict[str, Any]:
        """What audit.json and the cards say of it."""
        return {"title": self.title, "drawn": self.synthetic}


@contextmanager
def open_source(
    name: str,
    cache: Path,
    metadata: Sequence[Path] = (),
    image_column: str | None = None,
    label_column: str | None = None,
    group_column: str | None = None,
    config: str | None = None,
) -> Iterator[Source]:
    """Yields the source called `name`: a folder, `sample`, `kaggle`, `isic`, `dataverse` or `hub:REPO`.

    With `metadata` or from the Hub it may be any data set, with its own diagnoses; otherwise it is HAM10000.
    `config` names the configuration of a data set of the Hub. Downloads are kept in `cache`; the synthetic sample, and
    what is made of a data set of the Hub, are removed afterwards. Raises InputError.
    """
    columns = Columns(image_column or Columns.image, label_column or Columns.label, group_column or Columns.group)
    if name == SAMPLE:
        with TemporaryDirectory(prefix="synthetic-lesions-") as name:
            folder = Path(name)
            sample.draw_sample(folder)
            yield Source(folder, [find_metadata(folder)], Columns(), CODES, SYNTHETIC, synthetic=True)
        return
    if name.startswith(HUB):
        from lesions.data.sources.hub_dataset import from_hub

        repo = name.removeprefix(HUB)
        check_writable(cache)
        hub_columns = Columns(image_column or "image", columns.label, columns.group)
        with from_hub(repo, hub_columns, cache, config) as made:
            tables, title = [find_metadata(made.folder)], public_name(repo)
            yield Source(
                made.folder,
                tables,
                Columns(group=columns.group),
                None,
                title,
                left_out=made.left_out,
                files=made.files,
            )
        return
    folder = _archive(name, cache) if name in ARCHIVES else Path(name)
    if not folder.is_dir():
        missing = f"unpack the file {folder}" if folder.is_file() else f"the folder {folder} does not exist"
        raise InputError(
            f"{missing}: --source takes a folder with "
            "HAM10000_metadata.csv, or the ISIC Archive's metadata.csv, and the images anywhere below it, or with a "
            f"folder of images for each diagnosis; {', '.join(ARCHIVES)}; {HUB}REPO; or `{SAMPLE}` for the built-in "
            "synthetic lesions"
        )
    title = public_name(str(folder))
    if metadata:
        yield Source(folder, list(metadata), columns, None, title)
        return
    table = find_metadata(folder)
    if table == folder:
        yield Source(folder, [table], columns, None, title)
    elif is_archive_table(table):
        yield Source(folder, [table], columns, CODES, title, mixed=True)
    else:
        # Others take over its columns for data of their own, which are not under its license.
        ham10000 = table.name.lower().startswith(Path(METADATA).stem.lower())
        yield Source(folder, [table], columns, CODES, "HAM10000" if ham10000 else title)


def _archive(name: str, cache: Path) -> Path:
    from lesions.data.sources.dataverse import from_dataverse
    from lesions.data.sources.isic import from_isic
    from lesions.data.sources.kaggle import from_kaggle

    if name == "kaggle":
        return from_kaggle()
    check_writable(cache)
    return from_isic(cache) if name == "isic" else from_dataverse(cache)
