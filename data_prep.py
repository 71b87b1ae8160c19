"""HAM10000, or another dermatology data set, to a data set of which no lesion lies in two splits.

    python data_prep.py --source sample --output data/sample
    python data_prep.py --source kaggle --output data/ham10000 --explore
    python data_prep.py --source /path/to/ham10000 --output data/ham10000
    python data_prep.py --source /path/to/ham10000 --output data/ham10000 \\
        --extra_test isic2018=/path/to/ISIC2018_Task3_Test_Input:/path/to/ISIC2018_Task3_Test_GroundTruth.csv
    python data_prep.py --source /path/to/isic2019 --output data/isic2019 --image_column image \\
        --metadata ISIC_2019_Training_GroundTruth.csv ISIC_2019_Training_Metadata.csv

The output is a folder in the Hub's own layout: `datasets.load_dataset("data/ham10000")` reads it as it is.
Nothing is written before every row and every image has been checked; all faults are reported at once.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
from tqdm import tqdm

from lesions.data import external, splits
from lesions.data.dataset_card import render_dataset_card
from lesions.data.duplicates.contact_sheet import save_contact_sheet
from lesions.data.duplicates.groups import describe_merges, find_merges, group_lesions, no_merges
from lesions.data.metadata import read_metadata
from lesions.data.sources.source import ARCHIVES, HUB, SAMPLE, Source, open_source
from lesions.data.spool import ImageSpool
from lesions.dataset import SHARES, fingerprint
from lesions.faults import Faults, InputError, exits_cleanly
from lesions.files import whole_file, whole_folder, write_json, write_text
from lesions.hub import Destination, check_access, push_folder
from lesions.images import find_images

if TYPE_CHECKING:
    from lesions.data.exploration import Reading

UNDIVIDED = ""  # the split of an image that has none yet
PUBLISHED = ["README.md", "audit.json", "splits.csv", "data/*.parquet", "explore/*"]
CACHE = Path(os.environ.get("XDG_CACHE_HOME", "~/.cache")).expanduser() / "deit-ham10000"


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument_group("what to read").add_argument
    add(
        "--source",
        required=True,
        help=f"a folder with HAM10000_metadata.csv and the images anywhere below it; {', '.join(ARCHIVES)}: HAM10000 "
        f"from there; {HUB}REPO: a data set of the Hub; `{SAMPLE}`: drawn, not real",
    )
    add(
        "--cache_dir", type=Path, default=CACHE, help=f"where downloads are kept (default: {CACHE}; Kaggle has its own)"
    )
    add(
        "--metadata",
        type=Path,
        nargs="+",
        default=[],
        help="tables of another data set than HAM10000, joined on their --image_column; any diagnoses may occur in "
        "them, in one column or one-hot, and an image without a lesion id is a lesion of its own",
    )
    add(
        "--image_column",
        help="column of the images' ids (default: image_id); of a Hub data set, of the images (image)",
    )
    add("--label_column", help="column of the diagnosis (default: dx)")
    add("--group_column", help="column of the lesion's or patient's id, never divided (default: lesion_id)")
    add(
        "--extra_test",
        type=external.ExternalTest.parse,
        action="append",
        default=[],
        metavar="NAME=DIR[:GROUND_TRUTH.csv]",
        help="a further split to measure on, such as the ISIC 2018 test set; its images that show a lesion of the "
        "data set are left out. May be given several times",
    )
    add(
        "--on_bad_image",
        choices=["error", "skip"],
        default="error",
        help="`skip` leaves images that can't be decoded out and lists them in audit.json (default: error)",
    )
    add = parser.add_argument_group("how to divide it").add_argument
    add("--seed", type=int, default=42, help="another seed gives another split (default: 42)")
    add(
        "--audit",
        choices=["merge", "report", "off"],
        default="merge",
        help="images that show one lesion under two ids: merge keeps such lesions together in one split, report only "
        "lists them in audit.json. HAM10000's are known (lesions/data/duplicates/ham10000.csv); in other data they "
        "are searched for by content, some minutes for ten thousand images (default: merge)",
    )
    add("--folds", type=int, default=0, help="cross-validation: divide all but the test split into so many folds")
    add("--fold", type=int, default=0, help="which of the --folds, from 0, is the validation split (default: 0)")
    add = parser.add_argument_group("what to write").add_argument
    add("--output", type=Path, required=True, help="the folder to write; an older data set is replaced")
    add("--image_size", type=int, default=256, help="pixels of the shorter side; never enlarged (default: 256)")
    add("--explore", action="store_true", help="also write explore/: figures of the data, and a page that reads them")
    add("--push_to_hub", action="store_true", help="publish the data set; needs --hub_dataset_id")
    add("--hub_dataset_id", help="where to: you/name")
    add("--private", action="store_true", help="make the repository on the Hub a private one")
    add(
        "--num_proc",
        type=int,
        default=len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1,
        help="processes that read images (default: one a core)",
    )
    arguments = parser.parse_args()
    for option in ("image_size", "num_proc"):
        if getattr(arguments, option) < 1:
            parser.error(f"--{option} must be at least 1")
    if arguments.folds and not (arguments.folds >= 2 and 0 <= arguments.fold < arguments.folds):
        parser.error("--folds must be at least 2, and --fold one of 0 to --folds - 1")
    if arguments.push_to_hub != bool(arguments.hub_dataset_id):
        parser.error("--push_to_hub and --hub_dataset_id go together")
    if arguments.metadata and arguments.source in (SAMPLE, *ARCHIVES):
        parser.error("--metadata goes with a folder as --source")
    return arguments


@exits_cleanly
def main() -> None:
    arguments = parse_arguments()
    check_output(arguments.output)
    if arguments.push_to_hub:
        check_access(destination(arguments))
    columns = arguments.image_column, arguments.label_column, arguments.group_column
    with open_source(arguments.source, arguments.cache_dir, arguments.metadata, *columns) as source:
        faults = Faults()
        classes, table, images, left_out = read_tables(source, arguments.extra_test, faults)
        with whole_folder(arguments.output) as folder:
            spool = ImageSpool(folder / "images.spool")
            bad = spool.fill(images, arguments.image_size, arguments.num_proc)
            if arguments.on_bad_image == "error":
                faults.add("image unreadable", *(f"{images[name]}: {why}" for name, why in bad.items()))
            faults.raise_if_any("nothing was written; mend these, or see --on_bad_image for unreadable images")

            table = table[~table["image_id"].isin(bad)].reset_index(drop=True)
            searched = arguments.audit != "off" and not source.drawn  # no drawn lesion is drawn twice
            pairs = find_merges(table, images, arguments.num_proc) if searched else no_merges()
            table, pairs = leave_out_known(table, pairs, left_out)
            divide(table, pairs, arguments)
            audit = describe(source, table, bad, classes, left_out, arguments)
            audit["duplicates"] = describe_merges(table, pairs, arguments.audit if searched else "off")
            if len(pairs):
                save_contact_sheet(folder / "audit_pairs.png", pairs, images)
            with spool.open() as read_image:
                readings = look_at(folder / "explore", table, images, read_image, source) if arguments.explore else []
                write_dataset(folder, table, classes, read_image)
            spool.path.unlink()
            write_json(folder / "audit.json", audit)
            name = arguments.hub_dataset_id or str(arguments.output)
            write_text(folder / "README.md", render_dataset_card(audit, name, readings))
    report(audit, arguments.output)
    if arguments.push_to_hub:
        publish(arguments)


def check_output(output: Path) -> None:
    """Refuses to replace anything but an older data set. Raises InputError."""
    if output.exists() and not (output / "audit.json").is_file() and (not output.is_dir() or any(output.iterdir())):
        raise InputError(f"{output} exists and is no data set of this program; give another --output or remove it")


def read_tables(
    source: Source, extra_tests: list[external.ExternalTest], faults: Faults
) -> tuple[list[str], pd.DataFrame, dict[str, Path], dict[str, dict[str, str]]]:
    """The diagnoses; one table of all images, with their `split` where it is settled; their files; and of each
    external test set the images that were left out, with the reason."""
    table = read_metadata(source.tables, faults, source.columns, source.classes).assign(split=UNDIVIDED)
    images = find_images(source.folder, faults, wanted=set(table["image_id"]))
    faults.add("image missing", *(name for name in table["image_id"] if name and name not in images))
    classes = sorted(source.classes or set(table["dx"]))
    left_out = {}
    for test in extra_tests:
        rows, files = external.read_external_test(test, classes, faults)
        left_out[test.name] = known = external.known_by_id(rows, table)
        rows = rows[~rows["image_id"].isin(known)]
        images |= {name: files[name] for name in rows["image_id"] if name in files}
        table = pd.concat([table, rows], ignore_index=True)
    return classes, table, images, left_out


def leave_out_known(
    table: pd.DataFrame, pairs: pd.DataFrame, left_out: dict[str, dict[str, str]]
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """`table` and `pairs` without the external images that show a lesion of the data set, which go to `left_out`."""
    known = external.known_by_content(table.set_index("image_id")["split"] == UNDIVIDED, pairs)
    for row in table[table["image_id"].isin(known)].itertuples():
        left_out[row.split][row.image_id] = known[row.image_id]
    gone = pairs["image_id"].isin(known) | pairs["other_image_id"].isin(known)
    return table[~table["image_id"].isin(known)].reset_index(drop=True), pairs[~gone].reset_index(drop=True)


def divide(table: pd.DataFrame, pairs: pd.DataFrame, arguments: argparse.Namespace) -> None:
    """Fills `group_id` and `split` of `table`."""
    table["group_id"] = group_lesions(table, pairs if arguments.audit == "merge" else pairs.head(0))
    own = table["split"] == UNDIVIDED
    if arguments.folds:
        table.loc[own, "split"] = splits.split_into_folds(table[own], arguments.seed, arguments.folds, arguments.fold)
    else:
        table.loc[own, "split"] = splits.split_by_group(table[own], arguments.seed)


def describe(
    source: Source,
    table: pd.DataFrame,
    bad: dict[str, str],
    classes: list[str],
    left_out: dict[str, dict[str, str]],
    arguments: argparse.Namespace,
) -> dict[str, Any]:
    """The content of audit.json, but for the duplicates."""
    own = table[table["split"].isin(SHARES)]
    external_rows = {name: table[table["split"] == name] for name in left_out}
    return {
        "source": source.describe(),
        "classes": classes,
        "n_images": len(own),
        "n_lesions": int(own["lesion_id"].nunique()),
        "n_groups": int(own["group_id"].nunique()),
        "image_size": arguments.image_size,
        "missing_ages": int(own["age"].isna().sum()),
        "unknown_sex": int((own["sex"] == "unknown").sum()),
        "no_lesion_id": int((own["lesion_id"] == own["image_id"]).sum()),  # each a lesion of its own
        "skipped_images": [{"image_id": name, "reason": why} for name, why in bad.items()],
        "split": {
            "seed": arguments.seed,
            "shares": SHARES,
            "folds": {"folds": arguments.folds, "fold": arguments.fold} if arguments.folds else None,
            "classes": splits.share_table(own),
        },
        "extra_tests": {
            name: {
                "n_images": len(external_rows[name]),
                "n_lesions": int(external_rows[name]["lesion_id"].nunique()),
                "fingerprint": fingerprint(external_rows[name]),
                "left_out": [{"image_id": image, "reason": why} for image, why in known.items()],
            }
            for name, known in left_out.items()
        },
        "fingerprint": fingerprint(own),
    }


def look_at(
    folder: Path, table: pd.DataFrame, images: dict[str, Path], read_image: Callable[[str], bytes], source: Source
) -> list[Reading]:
    """Writes explore/ and returns what its figures say."""
    from lesions.data.exploration import explore  # pulls in Matplotlib: not for --help

    return explore(folder, table, images, read_image, source.title)


def write_dataset(folder: Path, table: pd.DataFrame, classes: list[str], read_image: Callable[[str], bytes]) -> None:
    """Writes the Parquet files and splits.csv into `folder`."""
    from lesions.data.parquet import write_split  # pulls in `datasets`: not for --help

    (folder / "data").mkdir()
    names = [*SHARES, *sorted(set(table["split"]) - set(SHARES))]
    for split in tqdm(names, desc="writing splits", unit="split"):
        write_split(folder / "data", split, table[table["split"] == split], classes, read_image)
    columns = ["image_id", "lesion_id", "group_id", "dx", "split"]
    with whole_file(folder / "splits.csv") as partial:
        table[columns].to_csv(partial, index=False, lineterminator="\n")


def report(audit: dict[str, Any], output: Path) -> None:
    """Prints what was made and the next command."""
    print("\n".join(_report_lines(audit)))
    print(f"\n{output} is ready. Next:")
    print(f"  accelerate launch train.py recipes/deit-tiny.yaml --dataset {output} --output_dir runs/deit-tiny")


def _report_lines(audit: dict[str, Any]) -> Iterator[str]:
    names = list(audit["split"]["shares"])
    yield f"\n{audit['n_images']} images of {audit['n_lesions']} lesions; images (lesions) by split:"
    yield "        " + "".join(f"{name:>16}" for name in names)
    for dx, row in audit["split"]["classes"].items():
        yield f"{dx:<8}" + "".join(f"{row[name]['images']:>8} {'({lesions})'.format(**row[name]):>7}" for name in names)
    for name, test in audit["extra_tests"].items():
        out = len(test["left_out"])
        yield f"{name}: {test['n_images']} images; {out} left out: their lesions are in the data set"
    if audit["no_lesion_id"]:
        count = audit["no_lesion_id"]
        yield f"{count} images have no lesion id and count as lesions of their own; see --group_column"
    duplicates = audit["duplicates"]
    if duplicates["lesions_merged"]:
        yield f"{len(duplicates['pairs'])} pairs of images show one lesion under two ids; these are kept together"
    if duplicates["pairs_across_splits"]:
        yield f"{duplicates['pairs_across_splits']} pairs of images of one lesion lie in two splits; see audit.json"
    if audit["skipped_images"]:
        yield f"{len(audit['skipped_images'])} unreadable images left out, see audit.json"
    yield f"fingerprint {audit['fingerprint']}"


def destination(arguments: argparse.Namespace) -> Destination:
    return Destination(arguments.hub_dataset_id, "dataset", arguments.private)


def publish(arguments: argparse.Namespace) -> None:
    """Pushes the data set to the Hub."""
    what_next = f"{arguments.output} is complete; repeat the same command to push it"
    url = push_folder(destination(arguments), arguments.output, PUBLISHED, "Data set and card", what_next=what_next)
    print(f"\npublished at {url}")


if __name__ == "__main__":
    main()
