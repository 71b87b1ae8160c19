"""What evaluate_model.py prints: answers to images, and a summary of metrics."""

from __future__ import annotations

from typing import Any

import numpy as np

from lesions.arrays import Array
from lesions.diagnoses import name_of
from lesions.metrics.targets import score_of

SHOWN_POINT = ("malignant", "sensitivity", 0.95)  # of the stored operating points: the one that misses least
NO_DIAGNOSIS = (
    "This is not a diagnosis. The model knows only these diagnoses and names one of them for any image.\n"
    "If a lesion worries you, show it to a physician."
)


def find_point(record: dict[str, Any] | None) -> dict[str, Any] | None:
    """The operating point for malignant or not that the run's record holds; None where it holds none."""
    points = (record or {}).get("operating_points") or []
    return next((point for point in points if (point["target"], point["aim"], point["level"]) == SHOWN_POINT), None)


def describe_image(name: str, probabilities: Array, labels: list[str], point: dict[str, Any] | None) -> str:
    """The diagnoses by probability (classes,), and malignant or not at the operating point."""
    width = max(len(name_of(label)) for label in labels)
    lines = [name]
    for number in np.argsort(-probabilities, kind="stable"):
        share = probabilities[number]
        bar = "█" * round(30 * share)
        lines.append(f"  {name_of(labels[number]):<{width}}  {labels[number]:<6}{100 * share:5.1f} %  {bar}".rstrip())
    if point:
        score = score_of(point["target"], probabilities[None], labels)[0]
        says, validation = "yes" if score >= point["threshold"] else "no", point["validation"]
        lines.append(
            f"  Malignant? {says}: {100 * score:.1f} % together; the threshold is {100 * point['threshold']:.1f} %. On "
            f"the validation split\n  it found {100 * validation[point['aim']]:.0f} % of the malignant images, at a "
            f"specificity of {100 * validation['specificity']:.0f} %."
        )
    return "\n".join(lines)


def describe_folder(names: list[str], probabilities: Array, labels: list[str], point: dict[str, Any] | None) -> str:
    """A table with a row for each image: the most probable diagnosis, its probability, and malignant or not."""
    width = max(len("image"), *(len(name) for name in names))
    lines = [f"{'image':<{width}}  diagnosis  probability" + ("  malignant" if point else "")]
    scores = score_of(point["target"], probabilities, labels) if point else np.zeros(len(names))
    for name, row, score in zip(names, probabilities, scores, strict=True):
        line = f"{name:<{width}}  {labels[row.argmax()]:<9}  {100 * row.max():9.1f} %"
        if point:
            line += f"  {100 * score:5.1f} % {'yes' if score >= point['threshold'] else 'no'}"
        lines.append(line)
    if point:
        lines.append(f"(malignant: yes from {100 * point['threshold']:.1f} %, the run's operating point)")
    return "\n".join(lines)


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
        print(f"  {label:<12}{row['support']:>6}{cells}")
