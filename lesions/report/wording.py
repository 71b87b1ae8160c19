"""How the model card and the local report put what metrics.json says into words."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass
class Section:
    """A heading with what belongs below it; `figures` are file names beside metrics.json, with captions."""

    title: str
    text: str = ""
    columns: list[str] = field(default_factory=list)
    rows: list[list[str]] = field(default_factory=list)
    figures: dict[str, str] = field(default_factory=dict)


def format_metric(metric: dict[str, Any] | float | None, sign: str = "") -> str:
    """A metric as text, with its interval where it has one; `sign="+"` for differences."""
    value = metric["value"] if isinstance(metric, dict) else metric
    if value is None:
        return "-"
    if not isinstance(metric, dict) or metric["low"] is None:
        return f"{value:{sign}.3f}"
    return f"{value:{sign}.3f} [{metric['low']:{sign}.3f}, {metric['high']:{sign}.3f}]"


def recall_of(row: dict[str, Any]) -> dict[str, Any]:
    """The recall of a diagnosis, a row of `per_class`, as a metric with its interval."""
    low, high = row["recall_interval"]
    return {"value": row["recall"], "low": low, "high": high}


def count_images(part: dict[str, Any]) -> str:
    """How many images, and of how many lesions where that is known."""
    return f"{part['n_images']} images" + (f" of {part['n_lesions']} lesions" if part["n_lesions"] else "")


def resampled(part: dict[str, Any]) -> str:
    """What the bootstrap of these images resampled: their lesions, where these are known."""
    return "lesions" if part["n_lesions"] else "images"


def describe_gaps(report: dict[str, Any]) -> str:
    """Which subgroups the model serves less well."""
    sentences = []
    for kind, gap in report["gaps"].items():
        sure = gap["low"] is not None and gap["low"] > 0
        sentences.append(
            f"By {kind}, the accuracy is lowest for {gap['subgroup']} (n = {gap['n_images']}): "
            f"{format_metric(gap)} below all other images, {'more than chance' if sure else 'which may be chance'}."
        )
    return " ".join(sentences)
