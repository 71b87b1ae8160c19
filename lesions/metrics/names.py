"""The headline metrics: the one place that knows their names. Light, since the card's program loads it."""

# Our names of the headline metrics: the Hub's metric type, what a reader calls it, and the better direction.
METRICS = {
    "accuracy": ("accuracy", "Accuracy", "higher"),
    "balanced_accuracy": ("balanced_accuracy", "Balanced accuracy (mean recall)", "higher"),
    "f1_macro": ("f1", "Macro-F1", "higher"),
    "f1_weighted": ("f1", "Weighted F1", "higher"),
    "roc_auc_macro": ("roc_auc", "Macro AUC (one against the rest)", "higher"),
    "average_precision_macro": ("average_precision", "Macro average precision", "higher"),
    "log_loss": ("log_loss", "Log loss", "lower"),
    "brier": ("brier_score", "Brier score (sum over classes, 0 to 2)", "lower"),
    "ece": ("ece", "Expected calibration error (15 bins)", "lower"),
}
HEADLINE = tuple(METRICS)
