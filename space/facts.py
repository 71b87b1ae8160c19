"""What the page says about the model: `model-HASH.json`, made of the run's own files; `types.d.ts` has its form."""

from __future__ import annotations

from collections import Counter
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from transformers.image_processing_utils import BaseImageProcessor

from lesions.diagnoses import malignant_among, name_and_code, name_of
from lesions.faults import InputError
from lesions.metrics.conformal import guaranteed_share
from lesions.metrics.names import METRICS
from lesions.metrics.targets import score_of
from lesions.model.inputs import levels_of, noise, resize
from lesions.model.loading import load_processor
from lesions.model.resolution import image_side
from lesions.output.plain_text import one_line
from lesions.report.console import SHOWN_LEVEL, shown_point
from lesions.report.sections import BOX
from lesions.run_folder import EVALUATION, FAMILIARITY
from model_card.card import evaluations, read_metrics
from model_card.record import read_labels, read_training

FILTERS = ("box", "bilinear", "hamming", "bicubic", "lanczos")  # that the page can resize with


def model_facts(run: Path, link: str | None) -> dict[str, Any]:
    """The content of model-HASH.json. Raises InputError if the page can't prepare images as the processor does."""
    labels = read_labels(run)
    record = read_training(run, labels)
    report = next((read_metrics(one) for one in evaluations(run) if one.name == EVALUATION), None)
    points = (record or {}).get("operating_points") or []
    shown = shown_point(record or {})
    return {
        "name": link.rstrip("/").split("/")[-1] if link else run.resolve().name,
        "link": link,
        "parameters": record["parameters"] if record else None,
        "labels": describe(labels, (record or {}).get("malignant")),
        "preprocessing": preprocessing(load_processor(run)),
        "trained_on": trained_on(record) if record else None,
        "points": [operating_point(point, labels, report) for point in points],
        "shown_point": points.index(shown) if shown else None,
        "prediction_sets": [prediction_sets(chosen, labels) for chosen in (record or {}).get("prediction_sets") or []],
        "shown_level": SHOWN_LEVEL,
        "familiarity": (record or {}).get("familiarity") if (run / FAMILIARITY).is_file() else None,
        **(measured(report) if report else UNMEASURED),
    }


def describe(labels: list[str], named: list[str] | None) -> list[dict[str, Any]]:
    """Code, name and malignancy of each label, which is None if that of any is unknown: beside marked labels, an
    unmarked one would read as benign. `named` are the malignant ones that the user named. A name that two have, as mel
    and MEL, shows its code too."""
    malignant = malignant_among(labels, named)
    names = Counter(map(name_of, labels))
    shown = [name_and_code(label) if names[name_of(label)] > 1 else name_of(label) for label in labels]
    return [
        {"code": label, "name": one_line(name), "malignant": None if malignant is None else label in malignant}
        for label, name in zip(labels, shown, strict=True)
    ]


def prediction_sets(chosen: dict[str, Any], labels: list[str]) -> dict[str, Any]:
    """Thresholds for what can't be ruled out, one for each label, and the share of lesions that they hold for."""
    thresholds = [chosen["by_diagnosis"][label]["threshold"] for label in labels]
    return {"level": chosen["level"], "guarantee": guaranteed_share(chosen), "thresholds": thresholds}


def preprocessing(processor: BaseImageProcessor) -> dict[str, Any]:
    """What the page needs to give the model the same pixels as the processor.

    Raises InputError if the processor does something that the page does not.
    """
    side, resized = image_side(processor), processor.size
    crop = getattr(processor, "do_center_crop", False)
    name = Image.Resampling(processor.resample).name.lower()
    other = [] if name in FILTERS else [f"resample {name}"]
    if not (resized.height and resized.width):
        other.append("a size that is not width and height")
    if not other and not all(map(partial(_is_alike, processor, resized, side), noise(side))):
        other.append("more than to resize an image, and to crop its middle")
    if other:
        raise InputError(f"the page can't prepare images as this model's processor does: {', '.join(other)}")
    return {
        "width": resized.width,
        "height": resized.height,
        "filter": name,
        "crop": {"width": side, "height": side} if crop else None,
        "levels": levels_of(processor).T.tolist(),
    }


def _is_alike(processor: BaseImageProcessor, size: Any, side: int, image: Image.Image) -> bool:
    """Whether the processor gives the pixels that the page would, of `size` and cropped to `side`."""
    page = np.asarray(image.resize((size.width, size.height), processor.resample))
    top, left = (size.height - side) // 2, (size.width - side) // 2
    page = page[max(top, 0) :, max(left, 0) :][:side, :side]
    return np.array_equal(page, resize(image, processor))


def trained_on(record: dict[str, Any]) -> dict[str, Any]:
    """What the run learned from."""
    dataset = record["dataset"]
    return {
        "title": dataset["title"],
        "synthetic": dataset["drawn"],
        "n_images": dataset["n_images"]["train"],
        "n_lesions": dataset["n_lesions"]["train"],
    }


def measured(report: dict[str, Any]) -> dict[str, Any]:
    """What the page shows of metrics.json; a metric without a value is left out."""
    on = {name: report[name] for name in ("dataset", "split", "n_images", "n_lesions")}
    rows = report["per_class"].items()
    return {
        "measured_on": on | {"level": report["interval"]["level"]},
        "metrics": [
            {"name": METRICS[name].title, **found} for name in BOX if (found := with_interval(report["metrics"][name]))
        ],
        "recall": [
            {"code": code, "n_images": row["support"], "value": row["recall"], "low": low, "high": high}
            for code, row in rows
            if row["recall"] is not None
            for low, high in [row["recall_interval"]]
        ],
        "calibration": [
            {name: part[name] for name in ("low", "high", "n_images", "accuracy")}
            for part in report["calibration"]["bins"]
            if part["n_images"]
        ],
    }


UNMEASURED: dict[str, Any] = {"measured_on": None, "metrics": [], "recall": [], "calibration": []}


def with_interval(metric: dict[str, Any]) -> dict[str, Any] | None:
    """Value and interval of a metric in metrics.json; None if it has no value."""
    return {name: metric[name] for name in ("value", "low", "high")} if metric["value"] is not None else None


def operating_point(point: dict[str, Any], labels: list[str], report: dict[str, Any] | None) -> dict[str, Any]:
    """A stored operating point, with the numbers of the labels that count, and what was measured at it."""
    about = {name: point[name] for name in ("target", "aim", "level", "threshold")}
    counts = score_of(point, np.eye(len(labels)), labels)
    rows = (report or {}).get("operating_points") or []
    found = next((row for row in rows if about.items() <= row.items()), None)
    metrics = ("sensitivity", "specificity", "ppv", "npv")
    return {
        **about,
        "members": np.flatnonzero(counts).tolist(),
        "measured": {
            **{name: found[name] for name in ("n_cases", "n_images", "prevalence")},
            **{name: with_interval(found[name]) for name in metrics},
        }
        if found
        else None,
    }
