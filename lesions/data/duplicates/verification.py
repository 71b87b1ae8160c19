"""Whether two images show the same skin: matched keypoints that agree on one affine transform.

Affine, not only shift, turn and scale: data sets store photographs in other proportions, such as squashed to a square.
"""

from __future__ import annotations

import os

import cv2
import numpy as np
from joblib import Parallel, delayed, parallel_config
from numpy.typing import NDArray
from tqdm import tqdm

from lesions.data.duplicates.keypoints import DARK, Keypoints, unit_vectors
from lesions.data.workers import end_with

MATCH_RATIO = 0.85  # Lowe's test: the best match must be this much nearer than the second
TOLERANCE = 4.0  # pixels by which a match may miss the common transform
SCALES = (1 / 5, 5.0)  # of one image to the other, in any direction
STRETCH = 1.8  # at most, of one direction against the other: twice 4:3, if both are squashed and one is turned
MIN_SPREAD = 0.015  # share of an image that the agreeing points span; the marks of a ruler stay below
MIN_SCORE = 7  # places that agree; below, chance begins (benchmarks/leaks.py)
CERTAIN_SCORE = 12  # below, or with less than MIN_SPREAD, the images must also correlate when laid over each other
MIN_CORRELATION = 0.88


def score_pairs(keypoints: Keypoints, pairs: NDArray[np.int64], processes: int) -> NDArray[np.int64]:
    """The score of each pair (numbers of images, shape (n, 2)), and 0 where it does not count as evidence."""
    chunks = np.array_split(pairs, max(1, len(pairs) // 1000))
    tasks = (delayed(_verify)(keypoints, chunk) for chunk in chunks)
    settings = {"inner_max_num_threads": 1, "initializer": end_with, "initargs": (os.getpid(),)}
    with parallel_config(backend="loky", n_jobs=processes, **settings):
        running = Parallel(return_as="generator")(tasks)
        return np.concatenate(list(tqdm(running, total=len(chunks), desc="verifying candidates")))


def _verify(keypoints: Keypoints, pairs: NDArray[np.int64]) -> NDArray[np.int64]:
    cv2.setNumThreads(1)
    scores = []
    for pair in pairs:
        (points, descriptors), (other_points, other_descriptors) = (keypoints.of(image) for image in pair)
        half, other_half = (keypoints.gray(image) for image in pair)
        matched = _match(descriptors, other_descriptors)
        score, spread, transform = _agreement(points[matched[:, 0]], other_points[matched[:, 1]])
        close_together = (spread / (4 * half.size, 4 * other_half.size)).max() < MIN_SPREAD
        if score >= MIN_SCORE and (score < CERTAIN_SCORE or close_together):
            transform[:, 2] /= 2  # to the pixels of the halves
            score = score if _correlation(half, other_half, transform) >= MIN_CORRELATION else 0
        scores.append(score)
    return np.array(scores, dtype=np.int64)


def _match(here: NDArray[np.uint8], there: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Indices of mutually nearest descriptors that pass Lowe's ratio test, shape (n, 2)."""
    if len(here) < 2 or len(there) < 2:
        return np.zeros((0, 2), np.int64)
    cosine = unit_vectors(here) @ unit_vectors(there).T
    rows, nearest = np.arange(len(here)), cosine.argmax(axis=1)
    best = cosine[rows, nearest].copy()
    mutual = cosine.argmax(axis=0)[nearest] == rows
    cosine[rows, nearest] = -1
    # Squared distances of unit vectors are 2 - 2 cosine.
    kept = mutual & (1 - best < MATCH_RATIO**2 * (1 - cosine.max(axis=1)))
    return np.stack([rows[kept], nearest[kept]], axis=1)


def _agreement(
    here: NDArray[np.float32], there: NDArray[np.float32]
) -> tuple[int, NDArray[np.float64], NDArray[np.float64]]:
    """How far matched points agree on one affine transform: the number of places, 0 if there are too few; the area
    that they span in either image, in square pixels; and the transform, shape (2, 3)."""
    nothing = 0, np.zeros(2), np.eye(2, 3)
    if len(here) < MIN_SCORE:
        return nothing
    cv2.setRNGSeed(0)
    transform, inliers = cv2.estimateAffine2D(
        here, there, method=cv2.RANSAC, ransacReprojThreshold=TOLERANCE, maxIters=2000, confidence=0.995
    )
    if transform is None:
        return nothing
    most, least = np.linalg.svd(transform[:, :2], compute_uv=False)
    if not (SCALES[0] < least and most < min(SCALES[1], STRETCH * least)):
        return nothing
    agreeing = inliers.ravel().astype(bool)
    places = len(np.unique(np.round(here[agreeing] / 3), axis=0))  # several keypoints on one mark are one place
    if places < MIN_SCORE:
        return nothing
    spread = [cv2.contourArea(cv2.convexHull(points[agreeing])) for points in (here, there)]
    return places, np.array(spread), transform


def _correlation(here: NDArray[np.uint8], there: NDArray[np.uint8], transform: NDArray[np.float64]) -> float:
    """Correlation of two images, the second laid over the first, where both show skin.

    The transform is refined to the affine one of the greatest correlation (Evangelidis and Psarakis 2008).
    """
    first, second = (cv2.GaussianBlur(gray.astype(np.float32), (0, 0), 1) for gray in (here, there))
    start, stop = transform.astype(np.float32), (cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_COUNT, 50, 1e-4)
    try:
        _, refined = cv2.findTransformECC(first, second, start, cv2.MOTION_AFFINE, stop, None, 3)
    except cv2.error:  # its way of saying that it did not converge
        return 0.0
    onto_first = {"dsize": first.shape[::-1], "flags": cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP}
    laid_over = cv2.warpAffine(second, refined, **onto_first)
    covered = cv2.warpAffine(np.ones_like(second), refined, **onto_first) > 0.5
    skin = (covered & (first > DARK) & (laid_over > DARK)).astype(np.uint8)
    skin = cv2.erode(skin, np.ones((7, 7), np.uint8)) > 0  # at its edges the blur has mixed in what is beside it
    if skin.mean() < 0.03:
        return 0.0
    return float(np.corrcoef(first[skin], laid_over[skin])[0, 1])
