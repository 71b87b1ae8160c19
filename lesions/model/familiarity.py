"""How unlike the training images an image is: the Mahalanobis distance of the features that the model's head reads.

The features of training images are taken as one Gaussian; an image far from its center looks like nothing in the
training split. K. Lee et al. 2018, "A simple unified framework for detecting out-of-distribution samples and
adversarial attacks", take one Gaussian per class, which does not separate better here (results/unfamiliar.txt).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from lesions.arrays import Array
from lesions.faults import InputError
from lesions.output.files import check_regular, whole_file
from lesions.run_folder import FAMILIARITY

ACCEPTED = 0.99  # share of the validation images; results/unfamiliar.txt shows what other shares refuse
COMMAND = "python -m lesions.evaluation.limits RUN --dataset DATA"


@dataclass(frozen=True)
class Familiarity:
    """The Gaussian of the training features, in the space in which its covariance is the identity."""

    whitening: NDArray[np.float32]  # (size, size): features @ whitening have the identity as covariance
    center: NDArray[np.float32]  # (size,): the whitened mean

    @staticmethod
    def fit(features: NDArray[np.float32]) -> Familiarity:
        """From features (n, size) of training images; the covariance is Ledoit and Wolf's, for few images too."""
        from sklearn.covariance import LedoitWolf

        gaussian = LedoitWolf().fit(features.astype(np.float64))
        whitening = np.linalg.cholesky(gaussian.precision_)
        return Familiarity(whitening.astype(np.float32), (gaussian.location_ @ whitening).astype(np.float32))

    def distance(self, features: NDArray[np.float32]) -> Array:
        """The squared distance (n,) of images with these features (n, size) to the center."""
        return ((features.astype(np.float64) @ self.whitening - self.center) ** 2).sum(axis=1)

    def save(self, folder: Path) -> None:
        """Writes FAMILIARITY into a run folder."""
        with whole_file(folder / FAMILIARITY) as partial:
            save_file({"whitening": self.whitening, "center": self.center}, partial)

    @staticmethod
    def load(folder: Path) -> Familiarity | None:
        """What `save` wrote; None where the run has none. Raises InputError where the file holds something else."""
        if not (folder / FAMILIARITY).exists():
            return None
        check_regular(folder / FAMILIARITY)
        try:
            stored = load_file(folder / FAMILIARITY)
            whitening, center = stored["whitening"], stored["center"]
            if whitening.shape != (center.size, center.size) or not (
                np.isfinite(whitening).all() and np.isfinite(center).all()
            ):
                raise ValueError(f"shapes {whitening.shape} and {center.shape}, or not all finite numbers")
        except (SafetensorError, KeyError, TypeError, ValueError) as error:
            raise InputError(
                f"{folder / FAMILIARITY} is broken: {error}. Delete it, or make it again with {COMMAND}"
            ) from error
        return Familiarity(whitening, center)


def choose_threshold(distances: Array) -> dict[str, float]:
    """The distance that the share ACCEPTED of the validation images, with these distances (n,), does not exceed."""
    return {"accepted": ACCEPTED, "threshold": float(np.quantile(distances, ACCEPTED))}


def find_unfamiliar(
    chosen: dict[str, float] | None, familiarity: Familiarity | None, features: NDArray[np.float32]
) -> NDArray[np.bool_] | None:
    """Which of n images lie beyond the threshold that `choose_threshold` gave; None where the run stores none."""
    return familiarity.distance(features) > chosen["threshold"] if chosen and familiarity else None
