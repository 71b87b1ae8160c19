"""The weight of each diagnosis in the loss."""

from __future__ import annotations

from lesions.faults import InputError

SCHEMES = {
    "balanced": lambda count: 1 / count,  # every diagnosis weighs the same in total
    "sqrt": lambda count: count**-0.5,  # half-way, in the logarithm, between balanced and none
    "none": lambda count: 1.0,
}


def class_weights(scheme: str | dict[str, float], counts: dict[str, int]) -> dict[str, float]:
    """The weight of each diagnosis, scaled so that the weights of all training images have the mean 1.

    `scheme` is `balanced` (inverse frequency), `sqrt` (its square root), `none`, or a weight for each diagnosis.
    `counts` holds the images of each diagnosis in the training split; none may be 0. Raises InputError.
    """
    if isinstance(scheme, dict):
        if set(scheme) != set(counts) or not all(isinstance(w, (int, float)) and w > 0 for w in scheme.values()):
            raise InputError(f"class_weights needs one positive number for each of {', '.join(counts)}; got {scheme}")
        raw = {name: float(scheme[name]) for name in counts}
    elif scheme in SCHEMES:
        raw = {name: SCHEMES[scheme](count) for name, count in counts.items()}
    else:
        raise InputError(f"class_weights is one of {', '.join(SCHEMES)} or a mapping in the recipe; got {scheme!r}")
    mean = sum(raw[name] * count for name, count in counts.items()) / sum(counts.values())
    return {name: weight / mean for name, weight in raw.items()}
