"""One table of all images: those of the source, then those of every extra set."""

from __future__ import annotations

import pandas as pd

from lesions.data.extra import leave_out_known, read_extra
from lesions.data.left_out import UNREADABLE, LeftOut
from lesions.data.metadata import add_paths, read_metadata
from lesions.data.options import Options
from lesions.data.sources.source import Source
from lesions.data.splits import UNDIVIDED
from lesions.data.workers import find_unreadable
from lesions.faults import Faults, InputError
from lesions.images import ADVICE


def read_tables(source: Source, options: Options) -> tuple[pd.DataFrame, list[str], list[LeftOut]]:
    """One table of all images, with the `path` of each and its `split` if it already has one; the diagnoses; and the
    images that are left out. Raises InputError that names every fault."""
    faults, left_out = Faults(), [*source.left_out]
    mixed = left_out if source.mixed or options.on_other_diagnosis == "skip" else None
    table = read_metadata(source.tables, faults, source.columns, source.classes, mixed, source.title)
    table = add_paths(table, source.folder, faults, files=source.files).assign(split=UNDIVIDED, source=source.title)
    classes = sorted(source.classes or set(table["dx"]))
    extras = [(test, test.name) for test in options.extra_test] + [(extra, "train") for extra in options.extra_train]
    for extra, split in extras:
        if extra.name == source.title:
            raise InputError(f"{extra.text}: the source itself is called {source.title}; give the set another name")
        rows = leave_out_known(read_extra(extra, split, classes, options, faults, left_out), table, left_out)
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
