"""From a model's logits to probabilities, and from those to a decision."""

from __future__ import annotations

import numpy as np

from lesions.arrays import Array, Numbers


def softmax(logits: Array) -> Array:
    """Probabilities, shape (n, classes), in float64 so that they sum to one to the last digit."""
    shifted = np.exp(logits.astype(np.float64) - logits.max(axis=1, keepdims=True))
    return shifted / shifted.sum(axis=1, keepdims=True)


def decide(probabilities: Array) -> Numbers:
    """The most probable class of each row (n, classes); -1 where two or more share the highest probability.

    The scoring of the ISIC challenges counts such an undecided image as wrong, and so do all metrics here.
    """
    undecided = (probabilities == probabilities.max(axis=1, keepdims=True)).sum(axis=1) > 1
    return np.where(undecided, -1, probabilities.argmax(axis=1))
