"""HAM10000 to a data set of which no lesion id lies in two splits.

    python data_prep.py --source sample --output data/sample
    python data_prep.py --source /path/to/ham10000 --output data/ham10000

The output is a folder in the Hub's own layout: `datasets.load_dataset("data/ham10000")` reads it as it is.
Nothing is written before every row and every picture has been checked; all faults are reported at once.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

import pandas as pd
from tqdm import tqdm

from lesions import images, splits
from lesions.dataset_card import render_dataset_card
from lesions.faults import Faults, InputError, exits_cleanly
from lesions.files import whole_folder, write_json, write_text
from lesions.merges import describe_merges, group_lesions, known_pairs
from lesions.metadata import find_metadata, read_metadata
from lesions.sources import SAMPLE, describe_source, open_source


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--source",
        required=True,
        help=f"a folder with HAM10000_metadata.csv and the pictures anywhere below it, or `{SAMPLE}` (drawn, not real)",
    )
    parser.add_argument("--output", type=Path, required=True, help="the folder to write; an older data set is replaced")
    parser.add_argument("--seed", type=int, default=42, help="another seed gives another split (default: 42)")
    parser.add_argument(
        "--image_size",
        type=int,
        default=256,
        help="pixels of the shorter side; smaller pictures are never enlarged (default: 256)",
    )
    parser.add_argument(
        "--on_bad_image",
        choices=["error", "skip"],
        default="error",
        help="`skip` leaves pictures that can't be decoded out and lists them in audit.json (default: error)",
    )
    parser.add_argument(
        "--audit",
        choices=["report", "merge", "off"],
        default="report",
        help="pictures of HAM10000 that show one lesion under two ids (lesions/ham10000_duplicates.csv): report lists "
        "them in audit.json, merge also keeps such lesions together in one split (default: report)",
    )
    parser.add_argument(
        "--num_proc",
        type=int,
        default=len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1,
        help="processes that decode pictures (default: one a core)",
    )
    arguments = parser.parse_args()
    for option in ("image_size", "num_proc"):
        if getattr(arguments, option) < 1:
            parser.error(f"--{option} must be at least 1")
    return arguments


@exits_cleanly
def main() -> None:
    arguments = parse_arguments()
    check_output(arguments.output)
    with open_source(arguments.source) as folder:
        faults = Faults()
        table = read_metadata(find_metadata(folder), faults)
        pictures = images.find_pictures(folder, faults, wanted=set(table["image_id"]))
        faults.add("picture missing", *(name for name in table["image_id"] if name and name not in pictures))

        with whole_folder(arguments.output) as partial_output:
            spool = PictureSpool(partial_output / "pictures.spool")
            bad = spool.fill(pictures, arguments.image_size, arguments.num_proc)
            if arguments.on_bad_image == "error":
                faults.add("picture unreadable", *(f"{pictures[name]}: {why}" for name, why in bad.items()))
            faults.raise_if_any("nothing was written; mend these, or see --on_bad_image for unreadable pictures")

            table = table[~table["image_id"].isin(bad)].reset_index(drop=True)
            pairs = known_pairs(table)
            if arguments.audit == "off":
                pairs = pairs.head(0)
            merged = arguments.audit == "merge"
            table["group_id"] = group_lesions(table, pairs) if merged else table["lesion_id"]
            table["split"] = splits.split_by_group(table, arguments.seed)
            audit = describe(table, bad, arguments) | {"duplicates": describe_merges(table, pairs, merged)}
            write_dataset(partial_output, table, spool, audit, arguments.output)
    report(audit, arguments.output)


def check_output(output: Path) -> None:
    """Refuses to replace anything but an older data set. Raises InputError."""
    if output.exists() and not (output / "audit.json").is_file() and (not output.is_dir() or any(output.iterdir())):
        raise InputError(f"{output} exists and is no data set of this program; give another --output or remove it")


class PictureSpool:
    """The prepared pictures on disk, one after the other, until the split says in which file each belongs."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.places: dict[str, tuple[int, int]] = {}

    def fill(self, pictures: dict[str, Path], shorter_side: int, processes: int) -> dict[str, str]:
        """Decodes and prepares every picture; returns those that can't be: `{image_id: why}`."""
        bad: dict[str, str] = {}
        names = sorted(pictures)
        progress = partial(tqdm, total=len(names), desc="preparing pictures", unit="picture")
        with self.path.open("wb") as file, ProcessPoolExecutor(processes) as pool:
            prepared = pool.map(_try_prepare, [(pictures[name], shorter_side) for name in names], chunksize=32)
            for name, result in progress(zip(names, prepared, strict=True)):
                if isinstance(result, str):
                    bad[name] = result
                else:
                    self.places[name] = (file.tell(), len(result))
                    file.write(result)
        return bad

    def read(self, file: BinaryIO, name: str) -> bytes:
        """The bytes of one picture."""
        offset, length = self.places[name]
        file.seek(offset)
        return file.read(length)


def _try_prepare(task: tuple[Path, int]) -> bytes | str:
    try:
        return images.prepare(*task)
    except (images.BadPicture, OSError) as error:
        return str(error)


def describe(table: pd.DataFrame, bad: dict[str, str], arguments: argparse.Namespace) -> dict[str, Any]:
    """The content of audit.json."""
    return {
        "source": describe_source(arguments.source),
        "n_images": len(table),
        "n_lesions": int(table["lesion_id"].nunique()),
        "n_groups": int(table["group_id"].nunique()),
        "image_size": arguments.image_size,
        "missing_ages": int(table["age"].isna().sum()),
        "unknown_sex": int((table["sex"] == "unknown").sum()),
        "skipped_images": [{"image_id": name, "reason": why} for name, why in bad.items()],
        "split": {"seed": arguments.seed, "shares": splits.SHARES, "classes": splits.share_table(table)},
        "fingerprint": splits.fingerprint(table),
    }


def write_dataset(folder: Path, table: pd.DataFrame, spool: PictureSpool, audit: dict[str, Any], output: Path) -> None:
    """Writes Parquet, splits.csv, audit.json and the card into `folder`, and removes the spool."""
    from lesions.parquet import write_split  # pulls in `datasets`: not for --help

    (folder / "data").mkdir()
    with spool.path.open("rb") as file:
        for split in tqdm(splits.SHARES, desc="writing splits", unit="split"):
            rows = table[table["split"] == split]
            write_split(folder / "data", split, rows, partial(spool.read, file))
    spool.path.unlink()
    columns = ["image_id", "lesion_id", "group_id", "dx", "split"]
    write_text(folder / "splits.csv", table[columns].to_csv(index=False, lineterminator="\n"))
    write_json(folder / "audit.json", audit)
    write_text(folder / "README.md", render_dataset_card(audit, output))


def report(audit: dict[str, Any], output: Path) -> None:
    """Prints what was made and the next command."""
    print("\n".join(_report_lines(audit)))
    print(f"\n{output} is ready. Next:")
    print(f"  accelerate launch train.py recipes/deit-tiny.yaml --dataset {output} --output_dir runs/deit-tiny")


def _report_lines(audit: dict[str, Any]) -> Iterator[str]:
    names = list(audit["split"]["shares"])
    yield f"\n{audit['n_images']} pictures of {audit['n_lesions']} lesions; pictures (lesions) by split:"
    yield "        " + "".join(f"{name:>16}" for name in names)
    for dx, row in audit["split"]["classes"].items():
        yield f"{dx:<8}" + "".join(f"{row[name]['images']:>8} {'({lesions})'.format(**row[name]):>7}" for name in names)
    duplicates = audit["duplicates"]
    if duplicates["pairs_across_splits"]:
        yield f"{duplicates['pairs_across_splits']} pairs of pictures of one lesion lie in two splits; see --audit"
    if audit["skipped_images"]:
        yield f"{len(audit['skipped_images'])} unreadable pictures left out, see audit.json"
    yield f"fingerprint {audit['fingerprint']}"


if __name__ == "__main__":
    main()
