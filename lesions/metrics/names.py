"""The metrics by name: the one place that knows them. Without numpy, since the card's program loads it."""

from __future__ import annotations

from typing import NamedTuple


class Metric(NamedTuple):
    """How a metric is presented: the Hub's type of metric, the title for a reader, and which values are better."""

    hub_type: str
    title: str
    better: str


# The headline metrics of metrics.json.
METRICS = {
    "accuracy": Metric("accuracy", "Accuracy", "higher"),
    "balanced_accuracy": Metric("balanced_accuracy", "Balanced accuracy (mean recall)", "higher"),
    "f1_macro": Metric("f1", "Macro-F1", "higher"),
    "f1_weighted": Metric("f1", "Weighted F1", "higher"),
    "roc_auc_macro": Metric("roc_auc", "Macro AUC (one against the rest)", "higher"),
    "average_precision_macro": Metric("average_precision", "Macro average precision", "higher"),
    "log_loss": Metric("log_loss", "Log loss", "lower"),
    "brier": Metric("brier_score", "Brier score (sum over classes, 0 to 2)", "lower"),
    "ece": Metric("ece", "Expected calibration error (15 bins)", "lower"),
}
HEADLINE = tuple(METRICS)

# Of each diagnosis against all others.
PER_CLASS = ("precision", "recall", "specificity", "f1", "roc_auc", "average_precision")
