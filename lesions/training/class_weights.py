"""The weight of each diagnosis in the loss."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from math import inf

from lesions.faults import InputError
from lesions.output.plain_text import in_short

SCHEMES = {
    "balanced": lambda count: 1 / count,  # every diagnosis weighs the same in total
    "sqrt": lambda count: count**-0.5,  # halfway, on a logarithmic scale, between balanced and none
    "none": lambda count: 1.0,
}


def count_labels(numbers: Iterable[int], labels: list[str]) -> dict[str, int]:
    """Images of each diagnosis, from their label `numbers`. Raises InputError for one without images, or alone."""
    if len(labels) < 2:
        raise InputError(f"the data set knows one diagnosis, {in_short(labels)}; a classifier needs two or more")
    counts = Counter(numbers)
    empty = [name for number, name in enumerate(labels) if not counts[number]]
    if empty:
        raise InputError(f"the training split holds no image of {in_short(empty)}, so the model can't learn that")
    return {name: counts[number] for number, name in enumerate(labels)}


def class_weights(scheme: str | dict[str, float], counts: dict[str, int]) -> dict[str, float]:
    """The weight of each diagnosis, scaled so that the mean weight of the training images is 1.

    `scheme` is `balanced` (inverse frequency), `sqrt` (its square root), `none`, or a weight for each diagnosis.
    `counts` holds the images of each diagnosis in the training split; none may be 0. Raises InputError.
    """
    if isinstance(scheme, dict):
        if set(scheme) != set(counts) or not all(isinstance(w, (int, float)) and 0 < w < inf for w in scheme.values()):
            raise InputError(f"class_weights needs one positive number for each of {in_short(counts)}; got {scheme}")
        raw = {name: float(scheme[name]) for name in counts}
    elif scheme in SCHEMES:
        raw = {name: SCHEMES[scheme](count) for name, count in counts.items()}
    else:
        raise InputError(f"class_weights is one of {', '.join(SCHEMES)} or a mapping in the recipe; got {scheme!r}")
    mean = sum(raw[name] * count for name, count in counts.items()) / sum(counts.values())
    return {name: weight / mean for name, weight in raw.items()}
