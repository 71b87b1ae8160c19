"""Recall and false alarms of the leak audit on HAM10000, on pairs of which the truth is known.

    python -m benchmarks.leaks /path/to/ham10000

Recall: pairs of pictures with one lesion_id. False alarms: random pairs of pictures of different lesions.
"""

from __future__ import annotations

import argparse
import itertools
import time
from pathlib import Path

import numpy as np

from lesions.faults import Faults
from lesions.images import find_pictures
from lesions.leaks import MIN_SCORE, find_keypoints, score_pairs
from lesions.metadata import find_metadata, read_metadata

RANDOM_PAIRS = 100_000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", type=Path, help="folder with HAM10000_metadata.csv and the pictures")
    source = parser.parse_args().source
    table = read_metadata(find_metadata(source), Faults())
    pictures = find_pictures(source, Faults(), wanted=set(table["image_id"]))
    started = time.monotonic()
    keypoints = find_keypoints([pictures[name] for name in table["image_id"]], -1)

    lesions = table["lesion_id"].to_numpy()
    one_lesion = [
        pair for rows in table.groupby("lesion_id").indices.values() for pair in itertools.combinations(sorted(rows), 2)
    ]
    drawn = np.random.RandomState(0).randint(0, len(table), (RANDOM_PAIRS, 2))
    different = drawn[lesions[drawn[:, 0]] != lesions[drawn[:, 1]]]
    print(f"{'pairs':<34}{'n':>8}{f'score >= {MIN_SCORE}':>14}{'share':>10}")
    for name, pairs in (("one lesion_id", np.array(one_lesion)), ("different lesions, at random", different)):
        reached = score_pairs(keypoints, pairs, -1) >= MIN_SCORE
        print(f"{name:<34}{len(pairs):>8}{reached.sum():>14}{reached.mean():>10.5f}")
    print(f"{time.monotonic() - started:.0f} seconds in all")


if __name__ == "__main__":
    main()
