"""Recall and false alarms of the leak audit on HAM10000, on pairs of which the truth is known.

    python -m benchmarks.leaks /path/to/ham10000

Recall: pairs of images with one lesion_id; and images that are turned, cropped, rescaled and recompressed here,
searched for among all others. False alarms: random pairs of images of different lesions, and pairs of different
diagnoses among those that the whole search finds.
"""

from __future__ import annotations

import argparse
import itertools
import time
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pandas as pd
from PIL import Image, ImageEnhance, ImageOps

from lesions.data.duplicates.keypoints import find_keypoints
from lesions.data.duplicates.search import find_pairs
from lesions.data.duplicates.verification import score_pairs
from lesions.data.metadata import add_paths, read_metadata
from lesions.data.options import CORES
from lesions.data.table_files import find_metadata
from lesions.faults import Faults
from lesions.images import decode

RANDOM_PAIRS = 100_000
ALTERED = 40  # images in each of the WAYS
WAYS = {
    "turned by 90 degrees": lambda image: image.rotate(90, expand=True),
    "turned by 35 degrees": lambda image: image.rotate(35, resample=Image.Resampling.BICUBIC),
    "mirrored": lambda image: image.transpose(Image.Transpose.FLIP_LEFT_RIGHT),
    "cropped to 60 % of the side": lambda image: image.crop(_middle(image, 0.6)).resize(image.size),
    "shrunk to 40 % of the side": lambda image: image.resize((int(image.width * 0.4), int(image.height * 0.4))),
    "recompressed at quality 20": lambda image: decode(_jpeg(image, 20)),
    "stretched by 4:3, paler": lambda image: _paler(image.resize((image.width * 4 // 3, image.height))),
    "cropped, turned, stretched by 4:3": lambda image: (
        image.crop(_middle(image, 0.7)).rotate(90, expand=True).resize((image.width * 4 // 3, image.height))
    ),
    "all: turned, cropped, quality 40": lambda image: decode(
        _jpeg(image.rotate(20, resample=Image.Resampling.BICUBIC).crop(_middle(image, 0.7)), 40)
    ),
}


def _middle(image: Image.Image, share: float) -> tuple[int, int, int, int]:
    across, down = (int(side * (1 - share) / 2) for side in image.size)
    return across, down, image.width - across, image.height - down


def _paler(image: Image.Image) -> Image.Image:
    gray = ImageOps.grayscale(image).convert("RGB")
    return ImageEnhance.Brightness(Image.blend(image, gray, 0.4)).enhance(1.1)


def _jpeg(image: Image.Image, quality: int) -> bytes:
    content = BytesIO()
    image.save(content, "JPEG", quality=quality)
    return content.getvalue()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", type=Path, help="folder with HAM10000_metadata.csv and the images")
    source = parser.parse_args().source
    table = read_metadata(find_metadata(source), Faults())
    table = add_paths(table, source, Faults())
    print(f"{'pairs':<40}{'n':>8}{'found':>8}{'share':>10}")
    known_pairs(table)
    altered_images(table)


def known_pairs(table: pd.DataFrame) -> None:
    """Verification alone, on pairs that are given."""
    keypoints = find_keypoints(list(table["path"]), CORES)
    lesions = table["lesion_id"].to_numpy()
    one_lesion = [
        pair for rows in table.groupby("lesion_id").indices.values() for pair in itertools.combinations(sorted(rows), 2)
    ]
    drawn = np.random.RandomState(0).randint(0, len(table), (RANDOM_PAIRS, 2))
    different = drawn[lesions[drawn[:, 0]] != lesions[drawn[:, 1]]]
    for name, pairs in (("one lesion_id", np.array(one_lesion)), ("different lesions, at random", different)):
        _report(name, len(pairs), int((score_pairs(keypoints, pairs, CORES) > 0).sum()))


def altered_images(table: pd.DataFrame) -> None:
    """The whole search, for images made here from others: candidates and verification."""
    chosen = np.random.RandomState(1).permutation(len(table))[: ALTERED * len(WAYS)].reshape(len(WAYS), ALTERED)
    with TemporaryDirectory() as folder:
        paths, expected = list(table["path"]), {}
        for (way, change), rows in zip(WAYS.items(), chosen, strict=True):
            for row in rows:
                expected[len(paths)] = (way, row)
                paths.append(Path(folder, f"{len(paths)}.jpg"))
                change(decode(paths[row])).save(paths[-1], quality=90)
        lesions = [*table["lesion_id"], *(f"altered {number}" for number in expected)]
        everything = pd.DataFrame({"image_id": range(len(paths)), "lesion_id": lesions, "dx": "", "path": paths})
        started = time.monotonic()
        found = find_pairs(everything, CORES)
        seconds = time.monotonic() - started
    partners = set(zip(found["image_id"], found["other_image_id"], strict=True))
    for way in WAYS:
        numbers = [number for number, (name, _) in expected.items() if name == way]
        _report(way, len(numbers), sum((expected[number][1], number) in partners for number in numbers))
    own = found[found["other_image_id"] < len(table)]
    dx = table["dx"].to_numpy()
    crossing = int((dx[list(own["image_id"])] != dx[list(own["other_image_id"])]).sum())
    _report("found in HAM10000, two diagnoses", len(own), crossing)
    print(f"the search among {len(paths)} images took {seconds:.0f} seconds")


def _report(name: str, count: int, found: int) -> None:
    print(f"{name:<40}{count:>8}{found:>8}{found / max(1, count):>10.5f}", flush=True)


if __name__ == "__main__":
    main()
