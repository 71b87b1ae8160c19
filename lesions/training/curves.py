"""The figure of a training's curves."""

from __future__ import annotations

from pathlib import Path

from matplotlib.ticker import MaxNLocator

from lesions.metrics.names import METRICS
from lesions.plotting import save_figure, styled


def save_training_curves(path: Path, log: list[dict[str, float]]) -> None:
    """Saves a figure of the Trainer's log: loss on the left, validation metrics on the right, both by epoch.

    The training loss includes mixed images and the teacher's part, if any. The validation loss is the class-weighted
    cross-entropy alone.
    """
    losses = [(entry["epoch"], entry["loss"]) for entry in log if "loss" in entry]
    evaluations = [entry for entry in log if "eval_loss" in entry]
    epochs = [entry["epoch"] for entry in evaluations]
    with styled(figsize=(10, 4), ncols=2, layout="constrained") as (figure, (left, right)):
        if losses:
            left.plot(*zip(*losses, strict=True), color="0.7", linewidth=1, label="training, of the last steps")
        left.plot(epochs, [entry["eval_loss"] for entry in evaluations], "o-", markersize=3, label="validation")
        left.set(xlabel="epoch", title="loss", ylim=(0, None))
        for name in ("roc_auc_macro", "accuracy", "balanced_accuracy", "f1_macro"):
            values = [entry[f"eval_{name}"] for entry in evaluations]
            right.plot(epochs, values, "o-", markersize=3, label=METRICS[name].title.split(" (")[0])
        right.set(xlabel="epoch", title="validation metrics", ylim=(None, 1))
        for axes in (left, right):
            axes.xaxis.set_major_locator(MaxNLocator(integer=True))
            axes.grid(color="0.92")
            axes.legend(frameon=False, loc="upper center", bbox_to_anchor=(0.5, -0.15), ncols=4, columnspacing=1)
        save_figure(figure, path)
