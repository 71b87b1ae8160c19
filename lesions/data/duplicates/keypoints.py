"""The keypoints (SIFT) of an image: fine marks of the skin, each with a descriptor."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from lesions.data.workers import each_image
from lesions.faults import Faults
from lesions.images import ADVICE, BadImage, decode

SIDE = 224  # pixels of the shorter side to which an image is scaled first
LONGEST = 8 * SIDE  # of the longer side, at most: a strip one pixel high would fill the memory
KEYPOINTS = 400  # at most, per image
DARK = 45  # of 255: darker than this is vignette, not skin


@dataclass(frozen=True)
class Keypoints:
    """The keypoints of all images, one after the other; image i has those from starts[i] to starts[i + 1]."""

    points: NDArray[np.float32]  # (n, 2), pixels, x and y
    descriptors: NDArray[np.uint8]  # (n, 128), RootSIFT scaled to bytes
    starts: NDArray[np.int64]
    pixels: NDArray[np.uint8]  # of all images in gray at half the size, one after the other
    shapes: NDArray[np.int64]  # (images, 2), rows and columns of these
    offsets: NDArray[np.int64]  # where in `pixels` each image begins
    contents: list[bytes]  # a hash of each image as it came, in gray; b"" for one of a single color

    def of(self, image: int) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
        """Points and descriptors of one image."""
        here = slice(self.starts[image], self.starts[image + 1])
        return self.points[here], self.descriptors[here]

    def gray(self, image: int) -> NDArray[np.uint8]:
        """One image in gray, at half the size in which its points are stated."""
        rows, columns = self.shapes[image]
        return self.pixels[self.offsets[image] :][: rows * columns].reshape(rows, columns)


class _Described(NamedTuple):
    points: NDArray[np.float32]
    descriptors: NDArray[np.uint8]
    half: NDArray[np.uint8]
    content: bytes


def find_keypoints(paths: Sequence[Path], processes: int) -> Keypoints:
    """The keypoints of every image, each decoded once. Raises InputError that names all that can't be decoded."""
    found, faults = [], Faults()
    for path, image in zip(paths, each_image(_describe, paths, processes, "finding keypoints"), strict=True):
        if isinstance(image, BadImage):
            faults.add("image unreadable", f"{path}: {image}")
        else:
            found.append(image)
    faults.raise_if_any(ADVICE)
    points, descriptors, halves, contents = zip(*found, strict=True)
    return Keypoints(
        np.concatenate(points),
        np.concatenate(descriptors),
        np.cumsum([0, *map(len, points)]),
        np.concatenate([half.ravel() for half in halves]),
        np.array([half.shape for half in halves]),
        np.cumsum([0, *(half.size for half in halves)]),
        list(contents),
    )


def _describe(path: Path) -> _Described:
    """Points, RootSIFT descriptors (Arandjelovic and Zisserman 2012), half-size gray and content of one image."""
    cv2.setNumThreads(1)
    image = decode(path).convert("L")
    lowest, highest = image.getextrema()
    content = b"" if lowest == highest else hashlib.sha256(f"{image.size}".encode() + image.tobytes()).digest()
    scale = min(SIDE / min(image.size), LONGEST / max(image.size))
    size = max(2, round(image.width * scale)), max(2, round(image.height * scale))
    gray = np.asarray(image.resize(size, Image.Resampling.BICUBIC))
    half = cv2.resize(gray, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
    skin = (cv2.GaussianBlur(gray, (0, 0), 3) > DARK).astype(np.uint8)
    skin = cv2.erode(skin, np.ones((13, 13), np.uint8), borderType=cv2.BORDER_CONSTANT, borderValue=0)
    detector = cv2.SIFT_create(nfeatures=KEYPOINTS, contrastThreshold=0.015, edgeThreshold=12)
    keypoints, descriptors = detector.detectAndCompute(gray, skin)
    if descriptors is None:
        return _Described(np.zeros((0, 2), np.float32), np.zeros((0, 128), np.uint8), half, content)
    root = np.sqrt(descriptors / np.maximum(descriptors.sum(axis=1, keepdims=True), 1e-6))
    points = np.array([keypoint.pt for keypoint in keypoints], np.float32)
    return _Described(points, (root * 512).clip(0, 255).astype(np.uint8), half, content)


def unit_vectors(descriptors: NDArray[np.uint8]) -> NDArray[np.float32]:
    vectors = descriptors.astype(np.float32)
    return vectors / np.sqrt(np.einsum("ij,ij->i", vectors, vectors))[:, None]
