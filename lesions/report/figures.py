"""The evaluation's figures, as PNG files that read at a glance, on a screen and in print."""

from __future__ import annotations

from pathlib import Path
from textwrap import wrap
from typing import Any

import matplotlib

matplotlib.use("Agg")  # needs no screen

import numpy as np
from sklearn.metrics import roc_auc_score, roc_curve

from lesions.arrays import Array, Numbers
from lesions.diagnoses import CODES, name_and_code
from lesions.metrics.measured import Measured
from lesions.plotting import save_figure, styled

ON_REQUEST = ("robustness.png", "examples.png")  # of the evaluation's options
FEW = 10  # images in a bin of the reliability diagram
ACROSS = 8  # letters of a label that fit below a column


def save_figures(folder: Path, report: dict[str, Any], measured: Measured) -> None:
    """Writes the figures of `report`, the content of metrics.json, into `folder`."""
    title = f"{report['dataset']}, {report['split']}" if report["split"] else report["dataset"]
    title += f": n = {len(measured)}"
    counts, labels = np.array(report["confusion_matrix"]["counts"]), measured.labels
    save_confusion_matrix(folder / "confusion_matrix.png", counts, labels, title)
    save_roc_curves(folder / "roc_curves.png", measured.probabilities, measured.truth, labels, title)
    save_reliability(folder / "reliability.png", report["calibration"], title)
    save_selective(folder / "selective.png", report["selective"], title)
    if "robustness" in report:
        changed = f"{report['dataset']}: {report['robustness']['n_images']} images, changed"
        save_robustness(folder / "robustness.png", report["robustness"], changed)


def save_confusion_matrix(path: Path, counts: Numbers, labels: list[str], title: str) -> None:
    """Rows are the true diagnosis; each cell shows the share of its row, which is also its shade, and the count."""
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    many = max(0, len(labels) - len(CODES))
    with styled(figsize=(9 + many, 6.5 + 0.8 * many)) as (figure, axes):
        image = axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
        for row, column in np.ndindex(counts.shape):
            if counts[row, column]:
                axes.text(
                    column,
                    row,
                    f"{shares[row, column]:.0%}\n{counts[row, column]}",
                    ha="center",
                    va="center",
                    color="white" if shares[row, column] > 0.55 else "black",
                    weight="bold" if row == column else "normal",
                )
        names = ["\n".join(wrap(name_and_code(label), 28)) for label in labels]
        slope: Any = {"rotation": 30, "ha": "right"} if max(map(len, labels)) > ACROSS else {}
        axes.set_xticks(range(len(labels)), labels, **slope)
        axes.set_yticks(range(len(labels)), [f"{name}\nn = {n}" for name, n in zip(names, counts.sum(1), strict=True)])
        axes.set(xlabel="predicted", ylabel="true diagnosis", title=title)
        axes.spines[:].set_visible(False)
        figure.colorbar(image, label="share of the true diagnosis (recall on the diagonal)", shrink=0.8)
        save_figure(figure, path)


def save_roc_curves(path: Path, probabilities: Array, truth: Numbers, labels: list[str], title: str) -> None:
    """A curve for each diagnosis against all others, except those without a case or without a control."""
    with styled(figsize=(7, 6.5)) as (figure, axes):
        for number, label in enumerate(labels):
            cases, scores = truth == number, probabilities[:, number]
            if 0 < cases.sum() < len(cases):
                false_positive, true_positive, _ = roc_curve(cases, scores)
                name = f"{label}: AUC {roc_auc_score(cases, scores):.3f} (n = {cases.sum()})"
                axes.plot(false_positive, true_positive, ("-", "--")[number % 2], linewidth=1.8, label=name)
        axes.plot([0, 1], [0, 1], color="0.6", linewidth=1, linestyle=":", label="chance")
        axes.set(xlabel="1 - specificity", ylabel="sensitivity", title=title, xlim=(-0.01, 1), ylim=(0, 1.01))
        axes.grid(color="0.92")
        axes.legend(loc="lower right", frameon=False)
        save_figure(figure, path)


def save_reliability(path: Path, calibration: dict[str, Any], title: str) -> None:
    """Above: how often the most probable diagnosis is right, against its probability. Below: how many images have
    that probability. Bins of few images say little; they are hollow and not on the line."""
    bins = calibration["bins"]
    many, few = ([bin for bin in bins if (bin["n_images"] >= FEW) == enough] for enough in (True, False))
    with styled(figsize=(6, 6.5), nrows=2, height_ratios=(3, 1), sharex=True, layout="constrained") as (figure, axes):
        above, below = axes
        above.plot([0, 1], [0, 1], color="0.6", linewidth=1, linestyle=":", label="perfectly calibrated")
        for part, look, label in ((many, "C0o-", "this model"), (few, "C0o", f"fewer than {FEW} images")):
            if part:
                points = [[bin[key] for bin in part] for key in ("confidence", "accuracy")]
                above.plot(*points, look, label=label, markerfacecolor="white" if part is few else None, clip_on=False)
        above.set(ylabel="share that is right", ylim=(0, 1.02), xlim=(0, 1.01), title=title)
        edges, counts = [b["low"] for b in bins], [b["n_images"] for b in bins]
        below.bar(edges, counts, width=bins[0]["high"] - bins[0]["low"], align="edge", edgecolor="white")
        below.set(xlabel="probability of the most probable diagnosis", ylabel="images")
        above.grid(color="0.92")
        above.legend(frameon=False, loc="upper left")
        save_figure(figure, path)


def save_selective(path: Path, selective: list[dict[str, Any]], title: str) -> None:
    """Accuracy and balanced accuracy against coverage, with their intervals."""
    coverage = [100 * point["coverage"] for point in selective]
    with styled(figsize=(6, 4.2), layout="constrained") as (figure, axes):
        for name in ("accuracy", "balanced_accuracy"):
            value, low, high = ([point[name][key] for point in selective] for key in ("value", "low", "high"))
            axes.plot(coverage, value, "o-", label=name.replace("_", " "))
            axes.fill_between(coverage, low, high, alpha=0.15)
        axes.set(
            xlabel="share of images that the model answers, the most certain first, %", ylim=(None, 1.01), title=title
        )
        axes.invert_xaxis()
        axes.grid(color="0.92")
        axes.legend(frameon=False, loc="lower right")
        save_figure(figure, path)


def save_robustness(path: Path, robustness: dict[str, Any], title: str) -> None:
    """A panel for each change: accuracy and balanced accuracy against its strength; dotted: on the unchanged images."""
    changes = robustness["changes"]
    options: Any = {"nrows": 2, "ncols": -(-len(changes) // 2), "sharey": True, "layout": "constrained"}
    with styled(figsize=(12, 6), **options) as (figure, grid):
        for axes, (change, measured) in zip(grid.flat, changes.items(), strict=False):
            strengths = range(1, 1 + len(measured["strengths"]))
            for name, color in (("accuracy", "C0"), ("balanced_accuracy", "C1")):
                points = [point[name] for point in measured["strengths"]]
                value, low, high = ([point[key] for point in points] for key in ("value", "low", "high"))
                axes.plot(strengths, value, "o-", markersize=4, color=color, label=name.replace("_", " "))
                axes.fill_between(strengths, low, high, alpha=0.15, color=color)
                axes.axhline(robustness["unchanged"][name]["value"], color=color, linewidth=1, linestyle=":")
            axes.set_xticks(strengths, [f"{point['strength']:g}" for point in measured["strengths"]])
            axes.set(title=change, xlabel=measured["unit"], ylim=(0, 1))
            axes.grid(color="0.92")
        for axes in grid.flat[len(changes) :]:
            axes.set_visible(False)
        grid.flat[0].legend(frameon=False, loc="lower left")
        figure.suptitle(title)
        save_figure(figure, path)


def save_examples(path: Path, rows: dict[str, list[dict[str, Any]]]) -> None:
    """A row for each kind of example; each image beside itself with the map over it.

    An example: `image` (side, side, 3) and `map` (side, side), both in [0, 1], and `title`.
    """
    count = max(map(len, rows.values()))
    options: Any = {"nrows": len(rows), "ncols": 2 * count, "squeeze": False, "layout": "constrained"}
    with styled(figsize=(3.2 * count, 2.3 * len(rows)), **options) as (figure, grid):
        for line, (kind, examples) in zip(grid, rows.items(), strict=True):
            for axes in line:
                axes.set_axis_off()
            for plain, mapped, example in zip(line[::2], line[1::2], examples, strict=False):
                plain.imshow(example["image"])
                mapped.imshow(example["image"])
                mapped.imshow(example["map"], cmap="inferno", alpha=0.55)
                plain.set_title("\n".join(wrap(example["title"], 38)), fontsize=8, loc="left")
            line[0].text(-0.06, 0.5, kind, rotation=90, va="center", ha="right", transform=line[0].transAxes)
        save_figure(figure, path)
