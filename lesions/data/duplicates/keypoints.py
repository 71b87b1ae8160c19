"""The keypoints (SIFT) of an image: fine marks of the skin, each with a descriptor."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from joblib import Parallel, delayed, parallel_config
from numpy.typing import NDArray
from PIL import Image
from tqdm import tqdm

from lesions.images import decode

SIDE = 224  # pixels of the shorter side on which keypoints are sought
KEYPOINTS = 400  # at most, an image
DARK = 45  # of 255: darker than this is vignette, not skin


@dataclass
class Keypoints:
    """The keypoints of all images, one after the other; image i has those from starts[i] to starts[i + 1]."""

    points: NDArray[np.float32]  # (n, 2), pixels, x and y
    descriptors: NDArray[np.uint8]  # (n, 128), RootSIFT scaled to bytes
    starts: NDArray[np.int64]
    areas: NDArray[np.float64]  # of each image, square pixels


def find_keypoints(paths: Sequence[Path], processes: int) -> Keypoints:
    """The keypoints of every image."""
    tasks = (delayed(_describe)(path) for path in paths)
    with parallel_config(backend="loky", n_jobs=processes, inner_max_num_threads=1):
        running = Parallel(return_as="generator")(tasks)
        points, descriptors, areas = zip(*tqdm(running, total=len(paths), desc="finding keypoints"), strict=True)
    starts = np.cumsum([0, *map(len, points)])
    return Keypoints(np.concatenate(points), np.concatenate(descriptors), starts, np.array(areas))


def gray_image(path: Path) -> NDArray[np.uint8]:
    image = decode(path).convert("L")
    scale = SIDE / min(image.size)
    size = round(image.width * scale), round(image.height * scale)
    return np.asarray(image.resize(size, Image.Resampling.BICUBIC))


def _describe(path: Path) -> tuple[NDArray[np.float32], NDArray[np.uint8], float]:
    """Points, RootSIFT descriptors (Arandjelovic and Zisserman 2012) and area of one image's skin."""
    cv2.setNumThreads(1)
    gray = gray_image(path)
    skin = (cv2.GaussianBlur(gray, (0, 0), 3) > DARK).astype(np.uint8)
    skin = cv2.erode(skin, np.ones((13, 13), np.uint8), borderType=cv2.BORDER_CONSTANT, borderValue=0)
    detector = cv2.SIFT_create(nfeatures=KEYPOINTS, contrastThreshold=0.015, edgeThreshold=12)
    keypoints, descriptors = detector.detectAndCompute(gray, skin)
    if descriptors is None:
        return np.zeros((0, 2), np.float32), np.zeros((0, 128), np.uint8), float(gray.size)
    root = np.sqrt(descriptors / np.maximum(descriptors.sum(axis=1, keepdims=True), 1e-6))
    points = np.array([keypoint.pt for keypoint in keypoints], np.float32)
    return points, (root * 512).clip(0, 255).astype(np.uint8), float(gray.size)


def unit_vectors(descriptors: NDArray[np.uint8]) -> NDArray[np.float32]:
    vectors = descriptors.astype(np.float32)
    return vectors / np.sqrt(np.einsum("ij,ij->i", vectors, vectors))[:, None]
