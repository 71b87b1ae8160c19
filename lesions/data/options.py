"""The options of data_prep.py."""

from __future__ import annotations

import os
import re
from argparse import ArgumentTypeError
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from lesions.dataset import SHARES
from lesions.options import OptionParser

SAMPLE, HUB = "sample", "hub:"
ARCHIVES = ("kaggle", "isic", "dataverse")
CACHE = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "deit-ham10000"
CORES = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


RESERVED = (*SHARES, "all")  # to `datasets`, "all" is every split together
FORM = "NAME=DIR[:TABLE.csv[:TABLE.csv]][@SHARE]"


@dataclass
class ExtraSet:
    """A set as `--extra_test` and `--extra_train` name it: `NAME=DIR[:TABLE.csv[:TABLE.csv]][@SHARE]`.

    Raises ArgumentTypeError for any other text.
    """

    text: str
    name: str = field(init=False)
    folder: Path = field(init=False)
    tables: list[Path] = field(init=False)
    share: float = field(init=False)  # of its lesions

    def __post_init__(self) -> None:
        table = r":((?:[A-Za-z]:[\\/])?[^:]+\.(?i:csv|tab|tsv|txt))"  # Windows puts a colon after the drive
        found = re.fullmatch(rf"(\w+)=(.+?)((?:{table})*)(?:@(0?\.\d+|1))?", self.text)
        if not found or found[1] in RESERVED:
            raise ArgumentTypeError(f"{self.text!r} is not {FORM}, where NAME is a word and none of {[*RESERVED]}")
        self.name, self.folder = found[1], Path(found[2])
        self.tables = [Path(name) for name in re.findall(table, found[3])]
        self.share = float(found[5] or 1)


@dataclass
class Options:
    """What to read, how to split it, and what to write."""

    source: str = field(
        metadata={
            "help": "a folder with HAM10000_metadata.csv, or the ISIC Archive's metadata.csv, and the images anywhere "
            f"below it; or one that has a folder for each diagnosis; {', '.join(ARCHIVES)}: HAM10000 from there; "
            f"{HUB}REPO: a data set of the Hub; `{SAMPLE}`: synthetic images, made on the spot"
        }
    )
    output: Path = field(metadata={"help": "the folder to write; an older data set there is replaced"})
    cache_dir: Path = field(
        default=CACHE, metadata={"help": "where to keep downloads (default: %(default)s; not for kaggle)"}
    )
    metadata: list[Path] = field(
        default_factory=list,
        metadata={
            "help": "tables of a data set other than HAM10000, joined on the image, lesion or patient. They may hold "
            "any diagnoses, in one column or one-hot. An image without a lesion id counts as a lesion of its own. A "
            "folder stands for a table of its class folders, such as mel/ and nv/",
            "metavar": "FILE",
        },
    )
    image_column: str | None = field(
        default=None,
        metadata={"help": "column of the image ids (default: image_id); for the Hub, of the images (image)"},
    )
    label_column: str | None = field(default=None, metadata={"help": "column of the diagnosis (default: dx)"})
    group_column: str | None = field(
        default=None,
        metadata={
            "help": "column of the patient, or of whatever else is never split (default: lesion_id). A patient may "
            "have several diagnoses; then the shares of the diagnoses in the splits differ more"
        },
    )
    dataset_config: str | None = field(
        default=None,
        metadata={"help": f"which configuration of {HUB}REPO, if it has several and no default", "metavar": "NAME"},
    )
    extra_train: list[ExtraSet] = field(
        default_factory=list,
        metadata={
            "help": "one more set for the training split; the validation and test splits stay the same. TABLE is "
            "HAM10000's metadata, ISIC one-hot, or the ISIC Archive's metadata.csv (also .tab, .tsv, .txt); a second "
            "table adds columns such as the skin tone. Images that are not dermoscopic, have other diagnoses, or show "
            "a lesion to evaluate on are left out and counted. @0.5 takes half of its lesions. Can be repeated",
            "metavar": FORM,
            "action": "extend",
        },
    )
    extra_test: list[ExtraSet] = field(
        default_factory=list,
        metadata={
            "help": "one more split to evaluate on, such as the ISIC 2018 test set. Its images of lesions that are in "
            "the data set are left out. @0.2 takes a fifth of its lesions, always the same ones; --extra_train of the "
            "same set then takes the others. Can be repeated",
            "metavar": FORM,
            "action": "extend",
        },
    )
    license: list[str] = field(
        default_factory=list,
        metadata={
            "help": "license and attribution of an extra set, or of `source`, for the card, if its table does not "
            "state them. Can be repeated",
            "metavar": "NAME=TEXT",
            "action": "extend",
        },
    )
    on_bad_image: Literal["error", "skip"] = field(
        default="error",
        metadata={"help": "`skip` leaves out and lists images that can't be decoded (default: %(default)s)"},
    )
    on_other_diagnosis: Literal["error", "skip"] = field(
        default="error",
        metadata={
            "help": "`skip` leaves out and counts the images of HAM10000 or of an --extra_test that have a diagnosis "
            "outside the classes, such as UNK of ISIC 2019's test set, or none (default: %(default)s)"
        },
    )
    seed: int = field(default=42, metadata={"help": "a different seed gives a different split (default: %(default)s)"})
    audit: Literal["merge", "report", "off"] = field(
        default="merge",
        metadata={
            "help": "what to do about images that show one lesion under two ids. merge: keep these lesions in one "
            "split; report: only list them in audit.json. Those of HAM10000 and MILK10k are known "
            "(lesions/data/duplicates/*.csv). Other data are searched by content, which takes some minutes per ten "
            "thousand images (default: %(default)s)"
        },
    )
    folds: int = field(
        default=0, metadata={"help": "cross-validation: split all but the test split into this many folds"}
    )
    fold: int = field(
        default=0, metadata={"help": "which of the --folds, from 0, is the validation split (default: 0)"}
    )
    image_size: int = field(
        default=256,
        metadata={"help": "pixels of the shorter side; never enlarged (default: %(default)s)", "metavar": "PIXELS"},
    )
    explore: bool = field(
        default=False, metadata={"help": "also write explore/: figures of the data, and a page that reads them"}
    )
    push_to_hub: bool = field(default=False, metadata={"help": "publish the data set; needs --hub_dataset_id"})
    hub_dataset_id: str | None = field(
        default=None, metadata={"help": "where to publish it: you/name", "metavar": "ID"}
    )
    private: bool = field(
        default=False, metadata={"help": "push to a private repository only; one that is created now is made so"}
    )
    num_proc: int = field(
        default=CORES, metadata={"help": "processes that read images (default: one per core)", "metavar": "N"}
    )

    def __post_init__(self) -> None:
        if min(self.image_size, self.num_proc) < 1:
            raise ValueError("--image_size and --num_proc must be at least 1")
        if not 0 <= self.seed < 2**32:
            raise ValueError("--seed must be at least 0 and less than 2**32")
        if self.folds and not (self.folds >= 2 and 0 <= self.fold < self.folds):
            raise ValueError("--folds must be at least 2, and --fold one of 0 to --folds - 1")
        if self.push_to_hub != bool(self.hub_dataset_id):
            raise ValueError("--push_to_hub and --hub_dataset_id go together")
        if self.metadata and self.source in (SAMPLE, *ARCHIVES):
            raise ValueError("--metadata needs a folder as --source")
        if self.dataset_config and not self.source.startswith(HUB):
            raise ValueError(f"--dataset_config needs {HUB}REPO as --source")
        for extras, option in ((self.extra_test, "--extra_test"), (self.extra_train, "--extra_train")):
            names = [extra.name for extra in extras]
            if repeated := {name for name in names if names.count(name) > 1}:
                raise ValueError(f"{option} has two sets called {', '.join(repeated)}")
        sets = {"source", *(extra.name for extra in (*self.extra_train, *self.extra_test))}
        if unknown := set(self.terms) - sets:
            raise ValueError(f"--license names {', '.join(unknown)}; the sets are {', '.join(sorted(sets))}")

    @property
    def terms(self) -> dict[str, str]:
        """License and attribution by the name of the set. Raises ValueError for what is not NAME=TEXT."""
        pairs = [text.partition("=")[::2] for text in self.license]
        if not all(name and text for name, text in pairs):
            raise ValueError("--license takes NAME=TEXT, such as isic2017='CC0 1.0, Codella et al. 2018'")
        return dict(pairs)


def parse_options(description: str | None) -> Options:
    """The command line. Raises InputError for a mistake in it."""
    return OptionParser(Options, description=description).parse()[0]
