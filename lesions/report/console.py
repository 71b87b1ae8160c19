"""What evaluate_model.py prints: answers to images, and a summary of metrics."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from lesions.arrays import Array
from lesions.diagnoses import malignant_among, name_of, why_unknown
from lesions.metrics.conformal import guaranteed_share, prediction_sets
from lesions.metrics.targets import score_of
from lesions.output.plain_text import one_line

SHOWN_POINT = ("malignant", "sensitivity", 0.95)  # of the stored operating points: the one that misses least
SHOWN_LEVEL = 0.95  # of the stored prediction sets
UNFAMILIAR = "unlike the training images: don't trust this answer"
NO_DIAGNOSIS = (
    "This is not a diagnosis. The model knows only these diagnoses and names one of them for any image.\n"
    "If a lesion worries you, show it to a physician."
)


def describe_image(
    name: str,
    probabilities: Array,
    labels: list[str],
    record: dict[str, Any],
    unfamiliar: NDArray[np.bool_] | None = None,
) -> str:
    """The diagnoses of one image by probability, (1, classes). From the run's record: malignant or not, what can't be
    ruled out; and a warning if it is `unfamiliar`, (1,)."""
    width = max(len(name_of(label)) for label in labels)
    lines = [name] if unfamiliar is None or not unfamiliar[0] else [name, f"  {UNFAMILIAR}"]
    for number in np.argsort(-probabilities[0], kind="stable"):
        share = probabilities[0, number]
        bar = "█" * round(30 * share)
        lines.append(f"  {name_of(labels[number]):<{width}}  {labels[number]:<6}{100 * share:5.1f} %  {bar}".rstrip())
    if point := shown_point(record):
        score = score_of(point, probabilities, labels)[0]
        says, validation = "yes" if score >= point["threshold"] else "no", point["validation"]
        lines += [
            f"  Malignant? {says}: {100 * score:.1f} % together; the threshold is {100 * point['threshold']:.1f} %. On "
            "the validation split",
            f"  it found {100 * validation[point['aim']]:.0f} % of the malignant images, at a "
            f"specificity of {100 * validation['specificity']:.0f} %.",
        ]
    elif malignant := malignant_among(labels, record.get("malignant")):
        lines.append(f"  Malignant? {100 * _together(probabilities, labels, malignant)[0]:.1f} % {_of(malignant)}")
    elif why := _why_no_answer(labels, record):
        lines.append(f"  Malignant? {why}")
    if chosen := _shown_sets(record):
        (held,) = prediction_sets(probabilities, labels, chosen)
        names = ", ".join(name_of(label) for label, holds in zip(labels, held, strict=True) if holds)
        lines += [
            f"  Can't rule out: {names}. For images like the training images, this list",
            f"  holds the diagnosis of {100 * guaranteed_share(chosen):.0f} % of the lesions.",
        ]
    return "\n".join(map(one_line, lines))


def describe_folder(
    names: list[str],
    probabilities: Array,
    labels: list[str],
    record: dict[str, Any],
    unfamiliar: NDArray[np.bool_] | None = None,
) -> str:
    """The same of several images, as a table with a row for each."""
    columns = {
        "image": names,
        "diagnosis": [labels[row.argmax()] for row in probabilities],
        "probability": [f"{100 * row.max():9.1f} %" for row in probabilities],
    }
    notes = []
    if point := shown_point(record):
        scores = score_of(point, probabilities, labels)
        columns["malignant"] = [f"{100 * s:5.1f} % {'yes' if s >= point['threshold'] else 'no'}" for s in scores]
        notes.append(f"(malignant: yes from {100 * point['threshold']:.1f} %, the run's operating point)")
    elif malignant := malignant_among(labels, record.get("malignant")):
        columns["malignant"] = [f"{100 * score:5.1f} %" for score in _together(probabilities, labels, malignant)]
        notes.append(f"(malignant: {_of(malignant)})")
    elif why := _why_no_answer(labels, record):
        notes.append(f"(malignant? {why})")
    if chosen := _shown_sets(record):
        sets = prediction_sets(probabilities, labels, chosen)
        columns["can't rule out"] = [" ".join(np.array(labels)[held]) for held in sets]
        share = f"{100 * guaranteed_share(chosen):.0f} % of the lesions"
        notes.append(f"(can't rule out: for images like the training images, it holds the diagnosis of {share})")
    if unfamiliar is not None:
        columns["unlike the training images"] = ["don't trust" if each else "" for each in unfamiliar]
    columns = {title: list(map(one_line, cells)) for title, cells in columns.items()}
    widths = {title: max(map(len, (title, *cells))) for title, cells in columns.items()}
    rows = [tuple(columns), *zip(*columns.values(), strict=True)]
    lines = ["  ".join(f"{c:<{width}}" for c, width in zip(row, widths.values(), strict=True)).rstrip() for row in rows]
    return "\n".join(lines + list(map(one_line, notes)))


def shown_point(record: dict[str, Any]) -> dict[str, Any] | None:
    """The operating point for malignant or not that the run's record holds, if any."""
    points = record.get("operating_points") or []
    return next((point for point in points if (point["target"], point["aim"], point["level"]) == SHOWN_POINT), None)


def _together(probabilities: Array, labels: list[str], malignant: list[str]) -> Array:
    """The probability (n,) of any of the `malignant` labels."""
    return probabilities[:, [label in malignant for label in labels]].sum(axis=1)


def _of(malignant: list[str]) -> str:
    return f"together for {', '.join(malignant)}. No yes or no: the model stores no threshold for these"


def _why_no_answer(labels: list[str], record: dict[str, Any]) -> str | None:
    """Why a model with these labels has no malignant-or-not answer, if that is not known of some label."""
    unknown = malignant_among(labels, record.get("malignant")) is None
    return f"No answer: {why_unknown(labels)} when training" if unknown else None


def _shown_sets(record: dict[str, Any]) -> dict[str, Any] | None:
    """The thresholds of the prediction sets that the run's record holds, if any."""
    levels = record.get("prediction_sets") or []
    return next((chosen for chosen in levels if chosen["level"] == SHOWN_LEVEL), None)


def print_report(report: dict[str, Any]) -> None:
    """Prints the headline metrics with their intervals, and the metrics of each diagnosis."""
    lesions = f" of {report['n_lesions']} lesions" if report["n_lesions"] else ""
    print(f"\n{report['n_images']} images{lesions}; fingerprint {report['dataset_fingerprint'] or 'none'}")
    for name, metric in report["metrics"].items():
        value = "none: " + metric["reason"] if metric["value"] is None else "{value:.4f}  [{low:.4f}, {high:.4f}]"
        print(f"  {name:<24}{value.format(**metric)}")
    columns = ("recall", "precision", "specificity", "f1", "roc_auc")
    print(f"\n  {'diagnosis':<12}{'n':>6}" + "".join(f"{column:>13}" for column in columns))
    for label, row in report["per_class"].items():
        cells = "".join(f"{'-' if row[c] is None else format(row[c], '.3f'):>13}" for c in columns)
        print(f"  {one_line(label):<12}{row['support']:>6}{cells}")
