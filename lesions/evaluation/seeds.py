"""Runs of one recipe that differ in their seed: how far chance alone moves each metric.

The interval over lesions says how the metric of these weights varies with the lesions that happen to be measured. It
says nothing of other weights that the same recipe gives (Bouthillier et al. 2021, "Accounting for variance in machine
learning benchmarks").
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from lesions.metrics.measured import Measured
from lesions.metrics.names import HEADLINE

CHANCE = "seed"  # the one setting in which runs of a recipe differ
RECIPE = ("dataset_fingerprint", "base_model", "architecture", "train_counts")  # besides settings and teachers


def seeds_of(records: Sequence[dict[str, Any] | None]) -> list[int] | None:
    """The seeds of runs with these records of training; None unless they are one recipe with a different seed each."""
    if len(records) < 2 or not all(record and record.get("settings") for record in records):
        return None
    recipes = [
        {
            **{name: record.get(name) for name in RECIPE},
            "teachers": len(record.get("teacher") or []),  # each seed may have teachers of its own
            "settings": {name: value for name, value in record["settings"].items() if name not in (CHANCE, "model")},
        }
        for record in records
        if record
    ]
    seeds = [record["settings"].get(CHANCE) for record in records if record]
    return seeds if all(recipe == recipes[0] for recipe in recipes) and len(set(seeds)) == len(seeds) else None


def spread_over_seeds(models: Sequence[Measured]) -> dict[str, dict[str, float]]:
    """`{metric: {mean, sd, half_width}}` over runs on the same images: their mean, their standard deviation (n - 1 in
    the denominator), and half the mean width of their 95 % intervals over lesions, to compare it with."""
    metrics = [model.metrics() for model in models]
    spread = {}
    for name in HEADLINE:
        found = [each[name] for each in metrics if name in each and each[name]["value"] is not None]
        if len(found) == len(models):
            values = [each["value"] for each in found]
            widths = [each["high"] - each["low"] for each in found]
            spread[name] = {
                "mean": float(np.mean(values)),
                "sd": float(np.std(values, ddof=1)),
                "half_width": float(np.mean(widths) / 2),
            }
    return spread


def describe_spread(seeds: Sequence[int], spread: dict[str, dict[str, float]], unit: str) -> list[str]:
    """The spread as the lines of a Markdown table, under a sentence that says what it is. `unit` is what the intervals
    resampled: lesions, or images where these are not known."""
    rows = [
        f"| {name} | {row['mean']:.4f} | {row['sd']:.4f} | {row['half_width']:.4f} |" for name, row in spread.items()
    ]
    return [
        "",
        f"These are {len(seeds)} runs of one recipe, with the seeds {', '.join(map(str, seeds))}. The spread over "
        f"seeds is what another training would change; the interval over {unit} is what other {unit} would.",
        "",
        f"| | mean over seeds | standard deviation over seeds | half of the 95 % interval over {unit} |",
        "|---|---|---|---|",
        *rows,
    ]
