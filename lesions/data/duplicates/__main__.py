"""The command `python -m lesions.data.duplicates`."""

import argparse
from pathlib import Path

from lesions.data.duplicates import search
from lesions.data.duplicates.contact_sheet import save_contact_sheet
from lesions.data.duplicates.search import find_pairs, name_pairs
from lesions.data.metadata import find_metadata, read_metadata
from lesions.faults import Faults, exits_cleanly
from lesions.files import whole_file
from lesions.images import find_images


@exits_cleanly
def main() -> None:
    parser = argparse.ArgumentParser(description=search.__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", type=Path, help="folder with HAM10000_metadata.csv and the images")
    parser.add_argument("--pairs", type=Path, required=True, help="CSV to write: image_id,other_image_id,score")
    parser.add_argument("--sheet", type=Path, help="PNG to write: all pairs side by side")
    parser.add_argument("--num_proc", type=int, default=-1, help="processes (default: one a core)")
    arguments = parser.parse_args()
    faults = Faults()
    table = read_metadata(find_metadata(arguments.source), faults)
    images = find_images(arguments.source, faults, wanted=set(table["image_id"]))
    faults.add("image missing", *(name for name in table["image_id"] if name not in images))
    faults.raise_if_any("mend these first; data_prep.py checks the images too")

    found = find_pairs([images[name] for name in table["image_id"]], list(table["lesion_id"]), arguments.num_proc)
    pairs = name_pairs(found, table["image_id"])
    with whole_file(arguments.pairs) as partial:
        pairs.to_csv(partial, index=False, lineterminator="\n")
    if arguments.sheet:
        save_contact_sheet(arguments.sheet, pairs, images)
    print(f"{len(pairs)} pairs in {arguments.pairs}")


if __name__ == "__main__":
    main()
