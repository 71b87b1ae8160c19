"""Predictions beside the truth: what every metric of an evaluation is computed from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from lesions.arrays import Array, Numbers
from lesions.metrics.intervals import bootstrap_intervals
from lesions.metrics.names import HEADLINE
from lesions.metrics.probabilities import decide
from lesions.metrics.scores import LesionMetrics

# Means over the diagnoses: where a diagnosis has no case, they mean something else.
MACRO = ("balanced_accuracy", "f1_macro", "roc_auc_macro", "average_precision_macro")


@dataclass
class Measured:
    """A model's answers for n images of known diagnosis."""

    probabilities: Array  # (n, classes), columns in the order of `labels`
    truth: Numbers  # (n,), numbers into `labels`
    labels: list[str]
    rows: pd.DataFrame  # image, and where they are known lesion_id, sex, age, localization, dx_type: one row an image

    def __len__(self) -> int:
        return len(self.truth)

    @property
    def lesions(self) -> NDArray:
        """The lesion of each image, (n,); an image of unknown lesion counts as a lesion of its own."""
        return self.rows["lesion_id" if "lesion_id" in self.rows else "image"].to_numpy()

    @property
    def right(self) -> NDArray[np.bool_]:
        """Whether each image's decision is its diagnosis, (n,)."""
        return decide(self.probabilities) == self.truth

    @property
    def n_lesions(self) -> int | None:
        return int(self.rows["lesion_id"].nunique()) if "lesion_id" in self.rows else None

    def only(self, chosen: NDArray) -> Measured:
        """The images that a mask (n,), or their numbers, choose."""
        return Measured(self.probabilities[chosen], self.truth[chosen], self.labels, self.rows.iloc[chosen])

    def of_probabilities(self, probabilities: Array) -> Measured:
        """The same images with other answers."""
        return Measured(probabilities, self.truth, self.labels, self.rows)

    def by_lesion(self) -> Measured:
        """One row a lesion, the mean over its images; `rows` says how many in `n_images`."""
        lesions, first, number = np.unique(self.lesions, return_index=True, return_inverse=True)
        n_images = np.bincount(number)
        means = np.stack([np.bincount(number, weights=column) for column in self.probabilities.T], axis=1)
        rows = pd.DataFrame({"image": lesions, "lesion_id": lesions, "n_images": n_images})
        return Measured(means / n_images[:, None], self.truth[first], self.labels, rows)

    def counts(self) -> dict[str, int | None]:
        return {"n_images": len(self), "n_lesions": self.n_lesions}

    def metrics(self, names: Sequence[str] = HEADLINE) -> dict[str, dict[str, Any]]:
        """Each headline metric of `names` as `{value, low, high}`, with the 95 % interval over lesions.

        A metric that has no value, because all images show one diagnosis, is None, with a `reason`. Where some
        diagnoses have no case, a macro metric carries a `note` that says so.
        """
        values = LesionMetrics().compute(predictions=self.probabilities, references=self.truth, names=names)
        intervals = bootstrap_intervals(self.probabilities, self.truth, self.lesions, names)
        absent = [label for number, label in enumerate(self.labels) if not (self.truth == number).any()]
        result: dict[str, dict[str, Any]] = {}
        for name, value in values.items():
            low, high = intervals[name] if value is not None else (None, None)
            result[name] = {"value": value, "low": low, "high": high}
            if value is None:
                result[name]["reason"] = "every image has the same diagnosis"
            elif absent and name in MACRO:
                result[name]["note"] = f"mean over the diagnoses that have a case; none of {', '.join(absent)}"
        return result
