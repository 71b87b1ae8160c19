"""Pictures that show one lesion under two lesion ids, found by content.

    python -m lesions.data.duplicates /path/to/ham10000 --pairs pairs.csv --sheet pairs.png

Two round brown spots look alike to any embedding; the same skin has the same fine marks in the same places. So a
pair counts when enough matched keypoints (SIFT) agree on one shift, turn and scale, and, where they are few, when the
two pictures laid over each other that way are the same picture. Candidates come from votes of keypoints that are each
other's nearest within a word of a vocabulary (after Sivic and Zisserman, "Video Google", ICCV 2003, and Jegou et al.,
"Hamming embedding", ECCV 2008), which needs no pretrained model.
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
from PIL import Image
from scipy.sparse import csr_matrix
from sklearn.cluster import MiniBatchKMeans
from tqdm import tqdm

from lesions.data.duplicates.groups import save_contact_sheet
from lesions.data.metadata import find_metadata, read_metadata
from lesions.faults import Faults, exits_cleanly
from lesions.files import whole_file
from lesions.images import decode, find_pictures

SIDE = 224  # pixels of the shorter side on which keypoints are sought
KEYPOINTS = 400  # at most, a picture
DARK = 45  # of 255: darker than this is vignette, not skin
WORD_SIZE = 600  # keypoints a word of the vocabulary, about: within one, each is compared with each
VOTES = 10  # nearest keypoints of other pictures that a keypoint votes for
CANDIDATES = 20  # most voted pictures of other lesions that are verified, a picture
MATCH_RATIO = 0.85  # Lowe's test: the best match must be this much nearer than the second
TOLERANCE = 4.0  # pixels by which a match may miss the common transform
SCALES = (1 / 4, 4.0)  # of one picture to the other
MIN_SPREAD = 0.015  # share of a picture that the agreeing points span: a ruler's marks stay below
MIN_SCORE = 7  # places that agree; below, chance begins (benchmarks/leaks.py)
CERTAIN_SCORE = 10  # from here on the pictures need not be laid over each other
MIN_CORRELATION = 0.85  # of the two pictures laid over each other


@dataclass
class Keypoints:
    """The keypoints of all pictures, one after the other; picture i has those from starts[i] to starts[i + 1]."""

    points: NDArray[np.float32]  # (n, 2), pixels, x and y
    descriptors: NDArray[np.uint8]  # (n, 128), RootSIFT scaled to bytes
    starts: NDArray[np.int64]
    areas: NDArray[np.float64]  # of each picture, square pixels


def find_pairs(
    paths: Sequence[Path], lesions: Sequence[str], processes: int, asked: NDArray[np.bool_] | None = None
) -> pd.DataFrame:
    """Pairs of pictures of different lesion ids that show one lesion: columns first, second (row numbers), score.

    The score is the number of places at which matched keypoints agree on one similarity transform. With `asked`,
    a mask of the pictures, only pairs that hold at least one of these are sought.
    """
    keypoints = find_keypoints(paths, processes)
    asked = np.ones(len(paths), bool) if asked is None else asked
    candidates = _candidates(keypoints, np.asarray(lesions), asked)
    scores = score_pairs(paths, keypoints, candidates, processes)
    table = pd.DataFrame({"first": candidates[:, 0], "second": candidates[:, 1], "score": scores})
    return table[table["score"] > 0].sort_values("score", ascending=False, kind="stable", ignore_index=True)


def name_pairs(found: pd.DataFrame, names: pd.Series) -> pd.DataFrame:
    """What `find_pairs` gives, by the names of the pictures: columns image_id, other_image_id, score."""
    ids = names.to_numpy()
    return pd.DataFrame(
        {"image_id": ids[found["first"]], "other_image_id": ids[found["second"]], "score": found["score"]}
    )


def find_keypoints(paths: Sequence[Path], processes: int) -> Keypoints:
    """The keypoints of every picture."""
    tasks = (delayed(_describe)(path) for path in paths)
    with parallel_config(backend="loky", n_jobs=processes, inner_max_num_threads=1):
        running = Parallel(return_as="generator")(tasks)
        points, descriptors, areas = zip(*tqdm(running, total=len(paths), desc="finding keypoints"), strict=True)
    starts = np.cumsum([0, *map(len, points)])
    return Keypoints(np.concatenate(points), np.concatenate(descriptors), starts, np.array(areas))


def score_pairs(
    paths: Sequence[Path], keypoints: Keypoints, pairs: NDArray[np.int64], processes: int
) -> NDArray[np.int64]:
    """The score of each pair (row numbers, shape (n, 2)), and 0 where it does not count as evidence."""
    chunks = np.array_split(pairs, max(1, len(pairs) // 1000))
    names = [str(path) for path in paths]
    tasks = (delayed(_verify)(chunk, names, *vars(keypoints).values()) for chunk in chunks)
    with parallel_config(backend="loky", n_jobs=processes, inner_max_num_threads=1):
        running = Parallel(return_as="generator")(tasks)
        return np.concatenate(list(tqdm(running, total=len(chunks), desc="verifying candidates")))


def _grey(path: Path) -> NDArray[np.uint8]:
    image = decode(path).convert("L")
    scale = SIDE / min(image.size)
    size = round(image.width * scale), round(image.height * scale)
    return np.asarray(image.resize(size, Image.Resampling.BICUBIC))


def _describe(path: Path) -> tuple[NDArray[np.float32], NDArray[np.uint8], float]:
    """Points, RootSIFT descriptors (Arandjelovic and Zisserman 2012) and area of one picture's skin."""
    cv2.setNumThreads(1)
    grey = _grey(path)
    skin = (cv2.GaussianBlur(grey, (0, 0), 3) > DARK).astype(np.uint8)
    skin = cv2.erode(skin, np.ones((13, 13), np.uint8), borderType=cv2.BORDER_CONSTANT, borderValue=0)
    detector = cv2.SIFT_create(nfeatures=KEYPOINTS, contrastThreshold=0.015, edgeThreshold=12)
    keypoints, descriptors = detector.detectAndCompute(grey, skin)
    if descriptors is None:
        return np.zeros((0, 2), np.float32), np.zeros((0, 128), np.uint8), float(grey.size)
    root = np.sqrt(descriptors / np.maximum(descriptors.sum(axis=1, keepdims=True), 1e-6))
    points = np.array([keypoint.pt for keypoint in keypoints], np.float32)
    return points, (root * 512).clip(0, 255).astype(np.uint8), float(grey.size)


def _candidates(keypoints: Keypoints, lesions: NDArray, asked: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Pairs (first < second) of pictures of different lesions with the most votes of keypoints, shape (n, 2)."""
    count = len(keypoints.starts) - 1
    picture = np.repeat(np.arange(count), np.diff(keypoints.starts))
    votes = csr_matrix((count, count), dtype=np.float32)
    found: list[tuple[NDArray, NDArray, NDArray]] = []
    words = _words(keypoints.descriptors)
    for number, word in enumerate(tqdm(words, desc="comparing keypoints")):
        found.append(_votes(keypoints.descriptors[word], picture[word]))
        if number % 500 == 499 or number == len(words) - 1:  # each addition copies all votes so far
            weights, voters, chosen = (np.concatenate(part) for part in zip(*found, strict=True))
            votes, found = votes + csr_matrix((weights, (voters, chosen)), shape=votes.shape), []
    votes = (votes + votes.T).tocsr()

    pairs: set[tuple[int, int]] = set()
    for first in np.flatnonzero(asked):
        row = slice(votes.indptr[first], votes.indptr[first + 1])
        others, strength = votes.indices[row], votes.data[row]
        other_lesion = (lesions[others] != lesions[first]) & (strength > 0)
        others, strength = others[other_lesion], strength[other_lesion]
        best = others[np.lexsort((others, -strength))[:CANDIDATES]]
        pairs.update((min(first, second), max(first, second)) for second in best)
    return np.array(sorted(pairs), dtype=np.int64).reshape(-1, 2)


def _words(descriptors: NDArray[np.uint8]) -> list[NDArray[np.int64]]:
    """The numbers of the descriptors of each word, that is of each cell of a k-means clustering of some of them."""
    count = len(descriptors) // WORD_SIZE
    if count < 2:
        return [np.arange(len(descriptors))]
    sample = np.random.RandomState(0).permutation(len(descriptors))[:120_000]
    clusters = MiniBatchKMeans(min(count, 4096), batch_size=8192, n_init=1, max_iter=5, random_state=0)
    centres = clusters.fit(descriptors[sample].astype(np.float32)).cluster_centers_
    half_norms = (centres**2).sum(axis=1) / 2
    nearest = [
        (descriptors[start : start + 8192].astype(np.float32) @ centres.T - half_norms).argmax(axis=1)
        for start in tqdm(range(0, len(descriptors), 8192), desc="looking words up")
    ]
    word = np.concatenate(nearest)
    sizes = np.bincount(word, minlength=len(centres))
    return np.split(np.argsort(word, kind="stable"), np.cumsum(sizes)[:-1])


def _votes(descriptors: NDArray[np.uint8], picture: NDArray[np.int64]) -> tuple[NDArray, NDArray, NDArray]:
    """Votes of the keypoints of one word, each for its nearest ones in other pictures: weights, from, to.

    A vote weighs the more, the nearer its keypoint is than the first that gets none: common marks weigh little.
    """
    chosen = min(VOTES, len(descriptors) - 2)
    if chosen < 1:
        return np.zeros(0, np.float32), picture[:0], picture[:0]
    vectors = _unit(descriptors)
    cosine = vectors @ vectors.T
    cosine[picture[:, None] == picture[None, :]] = -1
    nearest = np.argpartition(-cosine, chosen, axis=1)[:, : chosen + 1]
    value = np.take_along_axis(cosine, nearest, axis=1)
    order = np.argsort(-value, axis=1)
    nearest, value = np.take_along_axis(nearest, order, axis=1), np.take_along_axis(value, order, axis=1)
    distance = np.sqrt(np.maximum(2 - 2 * value, 0))  # of unit vectors
    weight = 1 - distance[:, :chosen] / np.maximum(distance[:, chosen:], 1e-6)
    weight[value[:, :chosen] <= 0] = 0  # its own picture's, where the word holds too few others
    return weight.ravel(), np.repeat(picture, chosen), picture[nearest[:, :chosen]].ravel()


def _verify(
    pairs: NDArray, paths: list[str], points: NDArray, descriptors: NDArray, starts: NDArray, areas: NDArray
) -> NDArray:
    """The score of each pair, 0 where it is no evidence: see the head of this file."""
    cv2.setNumThreads(1)
    scores = []
    for first, second in pairs:
        here, there = (slice(starts[picture], starts[picture + 1]) for picture in (first, second))
        matched = _match(descriptors[here], descriptors[there])
        score, transform = _agreement(points[here][matched[:, 0]], points[there][matched[:, 1]], areas[[first, second]])
        if MIN_SCORE <= score < CERTAIN_SCORE:
            correlation = _correlation(_grey(Path(paths[first])), _grey(Path(paths[second])), transform)
            score = score if correlation >= MIN_CORRELATION else 0
        scores.append(score)
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


def _agreement(
    here: NDArray[np.float32], there: NDArray[np.float32], areas: NDArray[np.float64]
) -> tuple[int, NDArray[np.float64]]:
    """Places at which the matched points agree on one similarity transform, and the transform, shape (2, 3)."""
    nothing = 0, np.eye(2, 3)
    if len(here) < MIN_SCORE:
        return nothing
    cv2.setRNGSeed(0)
    transform, inliers = cv2.estimateAffinePartial2D(
        here, there, method=cv2.RANSAC, ransacReprojThreshold=TOLERANCE, maxIters=1000, confidence=0.995
    )
    if transform is None or not SCALES[0] < np.hypot(transform[0, 0], transform[1, 0]) < SCALES[1]:
        return nothing
    agreeing = inliers.ravel().astype(bool)
    places = len(np.unique(np.round(here[agreeing] / 3), axis=0))  # several keypoints on one mark are one place
    hulls = [cv2.contourArea(cv2.convexHull(points[agreeing])) for points in (here, there)]
    if places < MIN_SCORE or max(np.array(hulls) / areas) < MIN_SPREAD:
        return nothing
    return places, transform


def _correlation(here: NDArray[np.uint8], there: NDArray[np.uint8], transform: NDArray[np.float64]) -> float:
    """Correlation of two pictures, the second laid over the first, where both show skin.

    The transform is refined to the affine one of the greatest correlation (Evangelidis and Psarakis 2008).
    """
    first, second = (cv2.GaussianBlur(grey.astype(np.float32), (0, 0), 2) for grey in (here, there))
    start, stop = transform.astype(np.float32), (cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_COUNT, 50, 1e-4)
    try:
        _, refined = cv2.findTransformECC(first, second, start, cv2.MOTION_AFFINE, stop, None, 5)
    except cv2.error:  # its way of saying that it did not converge
        return 0.0
    laid_over = cv2.warpAffine(second, refined, first.shape[::-1], flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP)
    skin = (first > DARK) & (laid_over > DARK)  # what the second does not cover is 0
    if skin.mean() < 0.03:
        return 0.0
    return float(np.corrcoef(first[skin], laid_over[skin])[0, 1])


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
    pairs = name_pairs(found, table["image_id"])
    with whole_file(arguments.pairs) as partial:
        pairs.to_csv(partial, index=False, lineterminator="\n")
    if arguments.sheet:
        save_contact_sheet(arguments.sheet, pairs, pictures)
    print(f"{len(pairs)} pairs in {arguments.pairs}")
