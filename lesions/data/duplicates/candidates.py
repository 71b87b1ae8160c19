"""Which pairs of images are worth a closer look: keypoints vote for the images that hold their nearest neighbors."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix
from sklearn.cluster import MiniBatchKMeans
from tqdm import tqdm

from lesions.data.duplicates.keypoints import Keypoints, unit_vectors

WORD_SIZE = 600  # keypoints per word of the vocabulary, about: within one, each is compared with each
VOTES = 10  # nearest keypoints of other images that a keypoint votes for
CANDIDATES = 20  # most voted images of other lesions, per image, that are verified


def find_candidates(keypoints: Keypoints, lesions: NDArray, asked: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Pairs (first < second) of images of different lesions with the most votes of keypoints, shape (n, 2)."""
    count = len(keypoints.starts) - 1
    image = np.repeat(np.arange(count), np.diff(keypoints.starts))
    votes = csr_matrix((count, count), dtype=np.float32)
    found: list[tuple[NDArray, NDArray, NDArray]] = []
    words = _words(keypoints.descriptors)
    for number, word in enumerate(tqdm(words, desc="comparing keypoints")):
        found.append(_votes(keypoints.descriptors[word], image[word]))
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
    sampled = np.random.RandomState(0).permutation(len(descriptors))[:120_000]
    clusters = MiniBatchKMeans(min(count, 4096), batch_size=8192, n_init=1, max_iter=5, random_state=0)
    centers = clusters.fit(descriptors[sampled].astype(np.float32)).cluster_centers_
    half_norms = (centers**2).sum(axis=1) / 2
    nearest = [
        (descriptors[start : start + 8192].astype(np.float32) @ centers.T - half_norms).argmax(axis=1)
        for start in tqdm(range(0, len(descriptors), 8192), desc="looking words up")
    ]
    word = np.concatenate(nearest)
    sizes = np.bincount(word, minlength=len(centers))
    return np.split(np.argsort(word, kind="stable"), np.cumsum(sizes)[:-1])


def _votes(descriptors: NDArray[np.uint8], image: NDArray[np.int64]) -> tuple[NDArray, NDArray, NDArray]:
    """Votes of the keypoints of one word, each for its nearest ones in other images: weights, from, to.

    A vote weighs more, the nearer its keypoint is than the first one that gets none: common marks weigh little.
    """
    chosen = min(VOTES, len(descriptors) - 2)
    if chosen < 1:
        return np.zeros(0, np.float32), image[:0], image[:0]
    vectors = unit_vectors(descriptors)
    cosine = vectors @ vectors.T
    cosine[image[:, None] == image[None, :]] = -1
    nearest = np.argpartition(-cosine, chosen, axis=1)[:, : chosen + 1]
    value = np.take_along_axis(cosine, nearest, axis=1)
    order = np.argsort(-value, axis=1)
    nearest, value = np.take_along_axis(nearest, order, axis=1), np.take_along_axis(value, order, axis=1)
    distance = np.sqrt(np.maximum(2 - 2 * value, 0))  # of unit vectors
    weight = 1 - distance[:, :chosen] / np.maximum(distance[:, chosen:], 1e-6)
    weight[value[:, :chosen] <= 0] = 0  # of its own image, if the word holds too few others
    return weight.ravel(), np.repeat(image, chosen), image[nearest[:, :chosen]].ravel()
