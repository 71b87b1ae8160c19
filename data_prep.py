"""Turns HAM10000, or another dermatology data set, into splits that never share a lesion.

    python data_prep.py --source sample --output data/sample
    python data_prep.py --source kaggle --output data/ham10000 --explore
    python data_prep.py --source /path/to/ham10000 --output data/ham10000
    python data_prep.py --source /path/to/ham10000 --output data/ham10000 \\
        --extra_test isic2018=/path/to/ISIC2018_Task3_Test_Input:/path/to/ISIC2018_Task3_Test_GroundTruth.csv
    python data_prep.py --source /path/to/isic2019 --output data/isic2019 --image_column image \\
        --metadata ISIC_2019_Training_GroundTruth.csv ISIC_2019_Training_Metadata.csv

The output is a folder in the Hub's own layout: `datasets.load_dataset("data/ham10000")` reads it.
The folder appears whole or not at all, and one run reports every fault of the tables and of the images.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd

from lesions.data.audit import describe, summary
from lesions.data.dataset_card import render_dataset_card
from lesions.data.duplicates.contact_sheet import save_contact_sheet
from lesions.data.duplicates.groups import describe_merges, find_merges, no_merges
from lesions.data.extra import check_left, leave_out_known, leave_out_leaks, leave_out_of_tests, read_extra
from lesions.data.left_out import UNREADABLE, LeftOut
from lesions.data.metadata import add_paths, read_metadata
from lesions.data.options import Options, parse_options
from lesions.data.sources.source import Source, open_source
from lesions.data.splits import UNDIVIDED, divide
from lesions.faults import Faults, InputError, exits_cleanly
from lesions.files import whole_file, whole_folder, write_json, write_text
from lesions.hub import Destination, check_access, push_folder
from lesions.images import ADVICE, find_unreadable

PUBLISHED = ["README.md", "audit.json", "splits.csv", "data/*.parquet", "explore/*"]


@exits_cleanly
def main() -> None:
    options = parse_options(__doc__)
    check_output(options.output)
    destination = Destination(options.hub_dataset_id, "dataset", options.private) if options.hub_dataset_id else None
    if destination:
        check_access(destination)
    columns = options.image_column, options.label_column, options.group_column
    with open_source(options.source, options.cache_dir, options.metadata, *columns) as source:
        table, classes, left_out = read_tables(source, options)
        paths = dict(zip(table["image_id"], table["path"], strict=True))
        searched = options.audit != "off" and not source.synthetic  # no synthetic lesion is drawn twice
        pairs = find_merges(table.drop_duplicates("image_id"), options.num_proc) if searched else no_merges()
        table = leave_out_of_tests(table, pairs, left_out)
        merged = pairs if options.audit == "merge" else no_merges()
        table = divide(table, merged, options.seed, options.folds, options.fold)
        table = leave_out_leaks(table, pairs, left_out)
        check_left(table, options.extra_train)
        audit = describe(options, source, classes, table, left_out)
        audit["duplicates"] = describe_merges(table, pairs, options.audit if searched else "off")
        with whole_folder(options.output) as folder:
            write_dataset(folder, table, pairs, paths, audit, options)
    print("\n".join(summary(audit)))
    print(f"\n{options.output} is ready. Next:")
    print(f"  accelerate launch train.py recipes/deit-tiny.yaml --dataset {options.output} --output_dir runs/deit-tiny")
    if destination:
        what_next = f"{options.output} is complete; repeat the same command to push it"
        url = push_folder(destination, options.output, PUBLISHED, "Data set and card", what_next=what_next)
        print(f"\npublished at {url}")


def check_output(output: Path) -> None:
    """Refuses to replace anything but an older data set. Raises InputError."""
    if output.exists() and not (output / "audit.json").is_file() and (not output.is_dir() or any(output.iterdir())):
        raise InputError(f"{output} exists and is not a data set of this program; give another --output or remove it")


def read_tables(source: Source, options: Options) -> tuple[pd.DataFrame, list[str], list[LeftOut]]:
    """One table of all images, with the `path` of each and its `split` if it already has one; the diagnoses; and the
    images that are left out. Raises InputError that names every fault."""
    faults, left_out = Faults(), list[LeftOut]()
    mixed = left_out if source.mixed else None
    table = read_metadata(source.tables, faults, source.columns, source.classes, mixed, source.title)
    table = add_paths(table, source.folder, faults).assign(split=UNDIVIDED, source=source.title)
    classes = sorted(source.classes or set(table["dx"]))
    extras = [(test, test.name) for test in options.extra_test] + [(extra, "train") for extra in options.extra_train]
    for extra, split in extras:
        rows = leave_out_known(read_extra(extra, split, classes, faults, left_out), table, left_out)
        table = pd.concat([table, rows], ignore_index=True)
    # The split must not depend on images that are skipped, and one run must report all faults. In any other case an
    # unreadable image turns up when it is stored, and none is decoded only to check it.
    if faults.by_kind or options.on_bad_image == "skip":
        bad = find_unreadable(list(table["path"].dropna()), options.num_proc)
        if options.on_bad_image == "error":
            faults.add("image unreadable", *(f"{path}: {why}" for path, why in bad.items()))
        unreadable = table["path"].isin(bad)
        left_out += [
            LeftOut(row.image_id, row.split, row.source, UNREADABLE, bad[row.path])
            for row in table[unreadable].itertuples()
        ]
        table = table[~unreadable].reset_index(drop=True)
    faults.raise_if_any(ADVICE)
    return table, classes, left_out


def write_dataset(
    folder: Path,
    table: pd.DataFrame,
    pairs: pd.DataFrame,
    paths: dict[str, Path],
    audit: dict[str, Any],
    options: Options,
) -> None:
    """Writes everything that the data set consists of into `folder`; `paths` are the originals of all images, also of
    those that are left out. Raises InputError for images that can't be decoded."""
    from lesions.data.parquet import read_images, write_splits  # pulls in `datasets`: not for --help

    faults = Faults()
    (folder / "data").mkdir()
    pixels = write_splits(folder / "data", table, audit["classes"], options.image_size, options.num_proc, faults)
    faults.raise_if_any(ADVICE)
    with whole_file(folder / "splits.csv") as partial_file:
        columns = ["image_id", "lesion_id", "group_id", "dx", "split"]
        table[columns].to_csv(partial_file, index=False, lineterminator="\n")
    stored = partial(read_images, folder / "data")
    if len(pairs):
        images = stored({*pairs["image_id"], *pairs["other_image_id"]})
        save_contact_sheet(folder / "audit_pairs.png", pairs, {**paths, **images})
    readings = []
    if options.explore:
        from lesions.data.exploration.page import explore  # pulls in Matplotlib

        readings = explore(folder / "explore", table.assign(pixels=pixels), stored, audit["source"]["title"])
    write_json(folder / "audit.json", audit)
    name = options.hub_dataset_id or str(options.output)
    write_text(folder / "README.md", render_dataset_card(audit, name, readings))


if __name__ == "__main__":
    main()
