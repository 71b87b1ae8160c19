"""Pictures that show one lesion under two lesion ids, found by content.

    python -m lesions.leaks /path/to/ham10000 --pairs pairs.csv --sheet pairs.png

Two round brown spots look alike to any embedding; the same skin has the same fine marks in the same places. So a
pair counts when enough matched keypoints (SIFT) agree on one shift, turn and scale. Candidates come from a
vocabulary of such keypoints (Sivic and Zisserman, "Video Google", ICCV 2003), which needs no pretrained model.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
from joblib import Parallel, delayed, parallel_config
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from scipy.sparse import csr_matrix
from sklearn.cluster import MiniBatchKMeans
from sklearn.preprocessing import normalize
from tqdm import tqdm

from lesions.faults import Faults, exits_cleanly
from lesions.files import whole_file
from lesions.images import decode, find_pictures
from lesions.metadata import find_metadata, read_metadata

SIDE = 224  # pixels of the shorter side on which keypoints are sought
KEYPOINTS = 400  # at most, a picture
DARK = 45  # of 255: darker than this is vignette, not skin
WORDS = 4096
CANDIDATES = 50  # most similar pictures of other lesions that are verified, a picture
MATCH_RATIO = 0.85  # Lowe's test: the best match must be this much nearer than the second
TOLERANCE = 4.0  # pixels by which a match may miss the common transform
SCALES = (1 / 3, 3.0)  # of one picture to the other
MIN_SCORE = 9  # of 100,000 random pairs none reaches it, of pairs with one lesion_id 82 % (benchmarks/leaks.py)
MIN_SPREAD = 0.015  # share of the picture that the agreeing points span: a ruler's marks stay below


@dataclass
class Keypoints:
    """The keypoints of all pictures, one after the other; picture i has those from starts[i] to starts[i + 1]."""

    points: NDArray[np.float32]  # (n, 2), pixels, x and y
    descriptors: NDArray[np.uint8]  # (n, 128), RootSIFT scaled to bytes
    starts: NDArray[np.int64]
    areas: NDArray[np.float64]  # of each picture, square pixels


def find_pairs(paths: Sequence[Path], lesions: Sequence[str], processes: int) -> pd.DataFrame:
    """Pairs of pictures of different lesion ids that show one lesion: columns first, second (row numbers), score.

    The score is the number of places at which matched keypoints agree on one similarity transform.
    """
    keypoints = find_keypoints(paths, processes)
    candidates = _candidates(keypoints, np.asarray(lesions))
    scores = score_pairs(keypoints, candidates, processes)
    table = pd.DataFrame({"first": candidates[:, 0], "second": candidates[:, 1], "score": scores})
    return table[table["score"] >= MIN_SCORE].sort_values("score", ascending=False, ignore_index=True)


def find_keypoints(paths: Sequence[Path], processes: int) -> Keypoints:
    """The keypoints of every picture."""
    tasks = (delayed(_describe)(path) for path in paths)
    with parallel_config(backend="loky", n_jobs=processes, inner_max_num_threads=1):
        running = Parallel(return_as="generator")(tasks)
        points, descriptors, areas = zip(*tqdm(running, total=len(paths), desc="finding keypoints"), strict=True)
    starts = np.cumsum([0, *map(len, points)])
    return Keypoints(np.concatenate(points), np.concatenate(descriptors), starts, np.array(areas))


def score_pairs(keypoints: Keypoints, pairs: NDArray[np.int64], processes: int) -> NDArray[np.int64]:
    """The score of each pair (row numbers, shape (n, 2)), and 0 where it does not count as evidence."""
    chunks = np.array_split(pairs, max(1, len(pairs) // 1000))
    tasks = (delayed(_verify)(chunk, *vars(keypoints).values()) for chunk in chunks)
    with parallel_config(backend="loky", n_jobs=processes, inner_max_num_threads=1):
        running = Parallel(return_as="generator")(tasks)
        return np.concatenate(list(tqdm(running, total=len(chunks), desc="verifying candidates")))


def _describe(path: Path) -> tuple[NDArray[np.float32], NDArray[np.uint8], float]:
    """Points, RootSIFT descriptors (Arandjelovic and Zisserman 2012) and area of one picture's skin."""
    cv2.setNumThreads(1)
    image = decode(path).convert("L")
    scale = SIDE / min(image.size)
    grey = np.asarray(image.resize((round(image.width * scale), round(image.height * scale)), Image.Resampling.BICUBIC))
    skin = (cv2.GaussianBlur(grey, (0, 0), 3) > DARK).astype(np.uint8)
    skin = cv2.erode(skin, np.ones((13, 13), np.uint8), borderType=cv2.BORDER_CONSTANT, borderValue=0)
    detector = cv2.SIFT_create(nfeatures=KEYPOINTS, contrastThreshold=0.015, edgeThreshold=12)
    keypoints, descriptors = detector.detectAndCompute(grey, skin)
    if descriptors is None:
        return np.zeros((0, 2), np.float32), np.zeros((0, 128), np.uint8), float(grey.size)
    root = np.sqrt(descriptors / np.maximum(descriptors.sum(axis=1, keepdims=True), 1e-6))
    points = np.array([keypoint.pt for keypoint in keypoints], np.float32)
    return points, (root * 512).clip(0, 255).astype(np.uint8), float(grey.size)


def _candidates(keypoints: Keypoints, lesions: NDArray) -> NDArray[np.int64]:
    """Pairs (first < second) of pictures of different lesions that share the most rare words, shape (n, 2)."""
    descriptors, starts = keypoints.descriptors, keypoints.starts
    sample = np.random.RandomState(0).permutation(len(descriptors))[:120_000]
    words = min(WORDS, max(2, len(sample) // 20))
    clusters = MiniBatchKMeans(words, batch_size=8192, n_init=1, max_iter=8, random_state=0)
    centres = clusters.fit(descriptors[sample].astype(np.float32)).cluster_centers_
    half_norms = (centres**2).sum(axis=1) / 2
    word = np.concatenate(
        [
            (descriptors[start : start + 8192].astype(np.float32) @ centres.T - half_norms).argmax(axis=1)
            for start in tqdm(range(0, len(descriptors), 8192), desc="looking words up")
        ]
    )
    count = len(starts) - 1
    picture = np.repeat(np.arange(count), np.diff(starts))
    bags = csr_matrix((np.ones(len(word), np.float32), (picture, word)), shape=(count, words))
    bags.sum_duplicates()
    bags.data = np.sqrt(bags.data)
    rarity = np.log(count / np.maximum(1, bags.getnnz(axis=0)))
    bags = normalize(bags.multiply(rarity).tocsr())

    pairs: set[tuple[int, int]] = set()
    for start in range(0, count, 1000):
        similarity = (bags[start : start + 1000] @ bags.T).toarray()
        for offset, row in enumerate(similarity):
            first = start + offset
            row[lesions == lesions[first]] = -1
            best = np.argsort(-row, kind="stable")[:CANDIDATES]
            pairs.update((min(first, second), max(first, second)) for second in best if row[second] > 0)
    return np.array(sorted(pairs), dtype=np.int64).reshape(-1, 2)


def _verify(pairs: NDArray, points: NDArray, descriptors: NDArray, starts: NDArray, areas: NDArray) -> NDArray:
    """The score of each pair: places at which matched keypoints agree on one similarity transform."""
    cv2.setNumThreads(1)
    scores = []
    for first, second in pairs:
        here, there = (slice(starts[picture], starts[picture + 1]) for picture in (first, second))
        matched = _match(descriptors[here], descriptors[there])
        scores.append(_agreement(points[here][matched[:, 0]], points[there][matched[:, 1]], areas[first]))
    return np.array(scores, dtype=np.int64)


def _match(here: NDArray[np.uint8], there: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Indices of mutually nearest descriptors that pass Lowe's ratio test, shape (n, 2)."""
    if len(here) < 2 or len(there) < 2:
        return np.zeros((0, 2), np.int64)
    cosine = _unit(here) @ _unit(there).T
    rows, nearest = np.arange(len(here)), cosine.argmax(axis=1)
    best = cosine[rows, nearest].copy()
    mutual = cosine.argmax(axis=0)[nearest] == rows
    cosine[rows, nearest] = -1
    # Squared distances of unit vectors are 2 - 2 cosine.
    kept = mutual & (1 - best < MATCH_RATIO**2 * (1 - cosine.max(axis=1)))
    return np.stack([rows[kept], nearest[kept]], axis=1)


def _unit(descriptors: NDArray[np.uint8]) -> NDArray[np.float32]:
    vectors = descriptors.astype(np.float32)
    return vectors / np.sqrt(np.einsum("ij,ij->i", vectors, vectors))[:, None]


def _agreement(here: NDArray[np.float32], there: NDArray[np.float32], area: float) -> int:
    if len(here) < MIN_SCORE:
        return 0
    cv2.setRNGSeed(0)
    transform, inliers = cv2.estimateAffinePartial2D(
        here, there, method=cv2.RANSAC, ransacReprojThreshold=TOLERANCE, maxIters=1000, confidence=0.995
    )
    if transform is None or not SCALES[0] < np.hypot(transform[0, 0], transform[1, 0]) < SCALES[1]:
        return 0
    agreeing = here[inliers.ravel().astype(bool)]
    places = len(np.unique(np.round(agreeing / 3), axis=0))  # several keypoints on one mark are one place
    if places < 3 or cv2.contourArea(cv2.convexHull(agreeing)) < MIN_SPREAD * area:
        return 0
    return places


def save_contact_sheet(path: Path, pairs: pd.DataFrame, pictures: dict[str, Path], side: int = 150) -> None:
    """All pairs side by side with their scores, the weakest first, so that a person can judge them."""
    columns, width, height = 5, 2 * side + 12, side + 28
    sheet = Image.new("RGB", (columns * width, -(-len(pairs) // columns) * height), "white")
    draw = ImageDraw.Draw(sheet)
    for number, row in enumerate(pairs.sort_values("score").itertuples()):
        x, y = number % columns * width, number // columns * height
        for offset, name in enumerate((row.image_id, row.other_image_id)):
            sheet.paste(decode(pictures[name]).resize((side, side)), (x + offset * (side + 2), y))
            draw.text((x + offset * (side + 2), y + side + 1), name, fill="black")
        draw.text((x, y + side + 13), f"score {row.score}", fill="black")
    with whole_file(path) as partial:
        sheet.save(partial)


@exits_cleanly
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", type=Path, help="folder with HAM10000_metadata.csv and the pictures")
    parser.add_argument("--pairs", type=Path, required=True, help="CSV to write: image_id,other_image_id,score")
    parser.add_argument("--sheet", type=Path, help="PNG to write: all pairs side by side")
    parser.add_argument("--num_proc", type=int, default=-1, help="processes (default: one a core)")
    arguments = parser.parse_args()
    faults = Faults()
    table = read_metadata(find_metadata(arguments.source), faults)
    pictures = find_pictures(arguments.source, faults, wanted=set(table["image_id"]))
    faults.add("picture missing", *(name for name in table["image_id"] if name not in pictures))
    faults.raise_if_any("mend these first; data_prep.py checks the pictures too")

    found = find_pairs([pictures[name] for name in table["image_id"]], list(table["lesion_id"]), arguments.num_proc)
    names = table["image_id"].to_numpy()
    pairs = pd.DataFrame(
        {"image_id": names[found["first"]], "other_image_id": names[found["second"]], "score": found["score"]}
    )
    with whole_file(arguments.pairs) as partial:
        pairs.to_csv(partial, index=False, lineterminator="\n")
    if arguments.sheet:
        save_contact_sheet(arguments.sheet, pairs, pictures)
    print(f"{len(pairs)} pairs in {arguments.pairs}")


if __name__ == "__main__":
    main()
