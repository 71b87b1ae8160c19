"""The card's sections on other data than the source's test split, and on an earlier model."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from lesions.diagnoses import melanomas_among
from lesions.metrics.names import METRICS
from lesions.report.sections import BOX
from lesions.report.wording import Section, count_images, format_metric, recall_of, resampled

# The scale of MILK10k's skin_tone_class. Others go the other way, as Fitzpatrick's, or group his types, as DDI's 12.
SCALE, TONES = ("0", "1", "2", "3", "4", "5"), "from 0, very dark, to 5, very light"
DARK = SCALE[:3]


def external(reports: list[dict[str, Any]], searched: bool) -> list[Section]:
    """The metrics on external test sets, and what is known there by skin tone; `reports` are their metrics.json, and
    `searched` says whether copies of training images were searched for in all of them."""
    if not reports:
        return []
    text = "The model was not trained on any of these images."
    if searched:
        text += (
            " A search for duplicates also removed images of lesions that it was trained on, as far as it found them."
        )
    columns = ["data", "images", *(METRICS[name].title for name in BOX), "melanomas found", "sets of 90 % hold"]
    rows = [
        [f"{each['dataset']}, {each['split']}", count_images(each)]
        + [format_metric(each["metrics"][name]) for name in BOX]
        + [_melanomas_found(each), _coverage(each)]
        for each in reports
    ]
    sections = [Section("External tests", text, columns, rows)]
    by_tone = [
        [f"{split}: {tone}", str(row["n_images"]), *(format_metric(row[name]) for name in BOX[:2])]
        for split, tone, row in _tones(reports)
    ]
    if by_tone:
        known = f" {TONES}," if is_on_scale(tone for _, tone, _ in _tones(reports)) else ""
        text = f"Skin tone{known} as the data set states it. With few images a row says little."
        titles = [METRICS[name].title for name in BOX[:2]]
        sections.append(Section("By skin tone", text, ["skin tone", "images", *titles], by_tone))
    return sections


def count_dark(reports: list[dict[str, Any]]) -> int | None:
    """How many external images show one of the three darkest skin tones; None where no set states them on SCALE."""
    tones = _tones([each for each in reports if is_on_scale(each["subgroups"].get("skin tone", {}))])
    return sum(row["n_images"] for _, tone, row in tones if tone in DARK) if tones else None


def is_on_scale(tones: Iterable[str]) -> bool:
    """Whether all `tones` that are known are on SCALE."""
    return {*tones} <= {*SCALE, "unknown"}


def _tones(reports: list[dict[str, Any]]) -> list[tuple[str, str, dict[str, Any]]]:
    """The split, the skin tone and the metrics of each subgroup by skin tone."""
    return [
        (each["split"], tone, row) for each in reports for tone, row in each["subgroups"].get("skin tone", {}).items()
    ]


def melanoma_in(report: dict[str, Any]) -> dict[str, Any] | None:
    """The row of `per_class` on melanoma. None if several labels are melanoma, such as one in situ and an invasive one:
    the recall of a label counts a melanoma as missed if the answer is another of them."""
    found = [report["per_class"][label] for label in melanomas_among(list(report["per_class"]))]
    return found[0] if len(found) == 1 else None


def _melanomas_found(report: dict[str, Any]) -> str:
    found = melanoma_in(report)
    return format_metric(recall_of(found)) + f" of {found['support']}" if found and found["support"] else "-"


def _coverage(report: dict[str, Any]) -> str:
    levels = report.get("prediction_sets") or []
    return next((format_metric(level["coverage"]) for level in levels if level["level"] == 0.9), "-")


def earlier_model(comparison: dict[str, Any], weights: str) -> list[Section]:
    """The paired difference between the model of these `weights` and the one that `comparison`, comparison.json of
    evaluate_model.py, compares it with; nothing if it compares others."""
    found = next((each for each in comparison["compared"] if each.get("weights_sha256") == weights), None)
    if found is None:
        return []
    text = (
        f"This model and {comparison['first']['model']} on the same {count_images(comparison)}"
        + (f" of split {comparison['split']}" if comparison["split"] else "")
        + f"; the difference with its 95 % interval from a paired bootstrap over {resampled(comparison)}."
    )
    rows = [
        [METRICS[name].title, format_metric(metric["value"]), format_metric(found["differences"][name], "+")]
        for name, metric in comparison["first"]["metrics"].items()
        if name in found["differences"]
    ]
    title = f"Compared with {comparison['first']['model']}"
    return [Section(title, text, ["", comparison["first"]["model"], "difference"], rows)]
