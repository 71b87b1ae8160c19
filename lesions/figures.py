"""The evaluation's figures, as PNG files that can be read at a glance and printed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from textwrap import wrap
from typing import Any

import matplotlib

matplotlib.use("Agg")  # no screen is needed, or looked for

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score, roc_curve

from lesions.diagnoses import name_of
from lesions.files import whole_file

STYLE: Any = {"font.size": 10, "axes.titlesize": 11, "axes.spines.top": False, "axes.spines.right": False}


@contextmanager
def styled(**subplots: Any) -> Iterator[tuple[Figure, Any]]:
    """A figure in the project's style, and its axes: `plt.subplots(**subplots)`."""
    with plt.rc_context(STYLE):
        yield plt.subplots(**subplots)


def save_confusion_matrix(path: Path, counts: NDArray[np.int64], labels: list[str], title: str) -> None:
    """Rows are the true diagnosis; each cell shows the share of its row, which is also its shade, and the count."""
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    with styled(figsize=(9, 6.5)) as (figure, axes):
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
        names = ["\n".join(wrap(f"{name_of(label)} ({label})", 28)) for label in labels]
        axes.set_xticks(range(len(labels)), labels)
        axes.set_yticks(range(len(labels)), [f"{name}\nn = {n}" for name, n in zip(names, counts.sum(1), strict=True)])
        axes.set(xlabel="predicted", ylabel="true diagnosis", title=title)
        axes.spines[:].set_visible(False)
        figure.colorbar(image, label="share of the true diagnosis (recall on the diagonal)", shrink=0.8)
        save_figure(figure, path)


def save_roc_curves(
    path: Path, probabilities: NDArray[np.float64], truth: NDArray[np.int64], labels: list[str], title: str
) -> None:
    """One curve a diagnosis, each against all others; diagnoses without a case or a control are left out."""
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


def save_training_curves(path: Path, log: list[dict[str, float]]) -> None:
    """Loss on the left, validation metrics on the right, by epoch, from the Trainer's log."""
    losses = [(entry["epoch"], entry["loss"]) for entry in log if "loss" in entry]
    evaluations = [entry for entry in log if "eval_loss" in entry]
    epochs = [entry["epoch"] for entry in evaluations]
    with styled(figsize=(10, 4), ncols=2, layout="constrained") as (figure, (left, right)):
        if losses:
            left.plot(*zip(*losses, strict=True), color="0.7", linewidth=1, label="training, of the last steps")
        left.plot(epochs, [entry["eval_loss"] for entry in evaluations], "o-", markersize=3, label="validation")
        left.set(xlabel="epoch", title="class-weighted cross-entropy", ylim=(0, None))
        for name in ("roc_auc_macro", "accuracy", "balanced_accuracy", "f1_macro"):
            right.plot(epochs, [entry[f"eval_{name}"] for entry in evaluations], "o-", markersize=3, label=name)
        right.set(xlabel="epoch", title="validation", ylim=(None, 1))
        for axes in (left, right):
            axes.grid(color="0.92")
            axes.legend(frameon=False)
        save_figure(figure, path)


def save_figure(figure: Figure, path: Path) -> None:
    """Writes the figure, whole or not at all, and lets go of it."""
    with whole_file(path) as partial:
        figure.savefig(partial, dpi=150, bbox_inches="tight")
    plt.close(figure)
