"""The options of data_prep.py."""

from __future__ import annotations

import argparse
import os
from dataclasses import dataclass
from pathlib import Path

from lesions.data.extra import FORM, ExtraSet
from lesions.data.sources.source import ARCHIVES, HUB, SAMPLE

CACHE = Path(os.environ.get("XDG_CACHE_HOME", "~/.cache")).expanduser() / "deit-ham10000"
CORES = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@dataclass(frozen=True)
class Options:
    """What the command line of data_prep.py says; `parse_options` has the help and the defaults."""

    source: str
    cache_dir: Path
    metadata: list[Path]
    image_column: str | None
    label_column: str | None
    group_column: str | None
    extra_train: list[ExtraSet]
    extra_test: list[ExtraSet]
    license: list[tuple[str, str]]  # of a source, by name
    on_bad_image: str  # error or skip
    seed: int
    audit: str  # merge, report or off
    folds: int
    fold: int
    output: Path
    image_size: int  # pixels
    explore: bool
    push_to_hub: bool
    hub_dataset_id: str | None
    private: bool
    num_proc: int


def parse_options(description: str | None) -> Options:
    """The command line; a mistake in it ends the program with a message and exit code 2."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    _add_source(parser.add_argument_group("what to read"))
    _add_split(parser.add_argument_group("how to split it"))
    _add_output(parser.add_argument_group("what to write"))
    options = Options(**vars(parser.parse_args()))
    if min(options.image_size, options.num_proc) < 1:
        parser.error("--image_size and --num_proc must be at least 1")
    if options.folds and not (options.folds >= 2 and 0 <= options.fold < options.folds):
        parser.error("--folds must be at least 2, and --fold one of 0 to --folds - 1")
    if options.push_to_hub != bool(options.hub_dataset_id):
        parser.error("--push_to_hub and --hub_dataset_id go together")
    names = {"source", *(extra.name for extra in (*options.extra_train, *options.extra_test))}
    if unknown := [name for name, _ in options.license if name not in names]:
        parser.error(f"--license {unknown[0]}=...: there is no such set; there are {', '.join(sorted(names))}")
    if options.metadata and options.source in (SAMPLE, *ARCHIVES):
        parser.error("--metadata needs a folder as --source")
    return options


def _add_source(group: argparse._ArgumentGroup) -> None:
    add = group.add_argument
    add(
        "--source",
        required=True,
        help=f"a folder with HAM10000_metadata.csv and the images anywhere below it; {', '.join(ARCHIVES)}: HAM10000 "
        f"from there; {HUB}REPO: a data set of the Hub; `{SAMPLE}`: synthetic images, made on the spot",
    )
    add("--cache_dir", type=Path, default=CACHE, help=f"where to keep downloads (default: {CACHE}; not for kaggle)")
    add(
        "--metadata",
        type=Path,
        nargs="+",
        default=[],
        help="tables of a data set other than HAM10000, joined on their --image_column. They may hold any diagnoses, "
        "in one column or one-hot. An image without a lesion id counts as a lesion of its own",
    )
    add("--image_column", help="column of the image ids (default: image_id); for the Hub, of the images (image)")
    add("--label_column", help="column of the diagnosis (default: dx)")
    add("--group_column", help="column of the lesion or patient id, which is never split (default: lesion_id)")
    add(
        "--extra_train",
        type=ExtraSet.parse,
        action="append",
        default=[],
        metavar=FORM,
        help="one more set for the training split; the validation and test splits stay the same. TABLE is HAM10000's "
        "metadata, ISIC one-hot, or the ISIC Archive's metadata.csv; a second table adds columns such as the skin "
        "tone. Images that are not dermoscopic, have other diagnoses, or show a lesion that is evaluated on are left "
        "out and counted. @0.5 takes half of its lesions. Can be repeated",
    )
    add(
        "--extra_test",
        type=ExtraSet.parse,
        action="append",
        default=[],
        metavar=FORM,
        help="one more split to evaluate on, such as the ISIC 2018 test set. Its images of lesions that are in the "
        "data set are left out. @0.2 takes a fifth of its lesions, always the same; --extra_train of the same set "
        "then takes the others. Can be repeated",
    )
    add(
        "--license",
        type=_license,
        action="append",
        default=[],
        metavar="NAME=TEXT",
        help="license and attribution of an extra set, or of `source`, for the card, if its table lacks them. "
        "Can be repeated",
    )
    add(
        "--on_bad_image",
        choices=["error", "skip"],
        default="error",
        help="`skip` leaves out images that can't be decoded, and lists them in audit.json (default: error)",
    )


def _license(text: str) -> tuple[str, str]:
    name, found, license = text.partition("=")
    if not (name and found and license):
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=TEXT, such as isic2017='CC0 1.0, Codella et al. 2018'")
    return name, license


def _add_split(group: argparse._ArgumentGroup) -> None:
    add = group.add_argument
    add("--seed", type=int, default=42, help="a different seed gives a different split (default: 42)")
    add(
        "--audit",
        choices=["merge", "report", "off"],
        default="merge",
        help="what to do about images that show one lesion under two ids. merge: keep these lesions in one split; "
        "report: only list them in audit.json. HAM10000's are known (lesions/data/duplicates/ham10000.csv). Other "
        "data are searched by content, which takes some minutes per ten thousand images (default: merge)",
    )
    add("--folds", type=int, default=0, help="cross-validation: split all but the test split into this many folds")
    add("--fold", type=int, default=0, help="which of the --folds, from 0, is the validation split (default: 0)")


def _add_output(group: argparse._ArgumentGroup) -> None:
    add = group.add_argument
    add("--output", type=Path, required=True, help="the folder to write; an older data set there is replaced")
    add("--image_size", type=int, default=256, help="pixels of the shorter side; never enlarged (default: 256)")
    add("--explore", action="store_true", help="also write explore/: figures of the data, and a page that reads them")
    add("--push_to_hub", action="store_true", help="publish the data set; needs --hub_dataset_id")
    add("--hub_dataset_id", help="where to publish it: you/name")
    add("--private", action="store_true", help="make the repository on the Hub private")
    add("--num_proc", type=int, default=CORES, help="processes that read images (default: one per core)")
