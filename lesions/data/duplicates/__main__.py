"""The command `python -m lesions.data.duplicates`."""

import argparse
from pathlib import Path

from lesions.faults import exits_cleanly


@exits_cleanly
def main() -> None:
    from lesions.data.duplicates import search
    from lesions.data.duplicates.contact_sheet import save_contact_sheet
    from lesions.data.duplicates.search import find_pairs
    from lesions.data.metadata import add_paths, read_metadata
    from lesions.data.options import CORES
    from lesions.data.table_files import find_metadata
    from lesions.faults import Faults, InputError
    from lesions.images import SUFFIXES
    from lesions.output.files import check_regular, write_csv
    from lesions.output.places import check_writable

    parser = argparse.ArgumentParser(description=search.__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", type=Path, help="folder with HAM10000_metadata.csv and the images")
    parser.add_argument("--pairs", type=Path, required=True, help="CSV to write: image_id,other_image_id,score")
    parser.add_argument("--sheet", type=Path, help="PNG to write: all pairs side by side")
    parser.add_argument("--num_proc", type=int, default=CORES, help="processes (default: one per core)")
    arguments = parser.parse_args()
    if arguments.num_proc < 1:
        raise InputError("--num_proc must be at least 1")
    for file in filter(None, (arguments.pairs, arguments.sheet)):  # the search takes minutes
        check_writable(file.parent)
        check_regular(file)
    if arguments.sheet and arguments.sheet.suffix.lower() not in SUFFIXES:
        raise InputError(f"--sheet {arguments.sheet}: give a name that ends in .png")
    faults = Faults()
    table = add_paths(read_metadata(find_metadata(arguments.source), faults), arguments.source, faults)
    faults.raise_if_any("correct these first")

    pairs = find_pairs(table, arguments.num_proc)
    write_csv(arguments.pairs, pairs)
    if arguments.sheet:
        save_contact_sheet(arguments.sheet, pairs, dict(zip(table["image_id"], table["path"], strict=True)))
    print(f"{len(pairs)} pairs in {arguments.pairs}")


if __name__ == "__main__":
    main()
