"""Fills the card's template from the files of a run. Every number comes from a file; what is missing is left out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from huggingface_hub import EvalResult, ModelCardData
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from lesions.diagnoses import BY_CODE, name_of
from lesions.faults import InputError
from lesions.files import read_json, write_text
from lesions.runs import CURVES, RECORD

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
FIGURES = {
    "evaluation/confusion_matrix.png": "Confusion matrix: share of each true diagnosis, and counts",
    "evaluation/roc_curves.png": "ROC curves, each diagnosis against all others",
}


def write_card(run: Path, hub_model_id: str | None = None) -> Path:
    """Writes `run`/README.md and returns its path. Raises InputError where `run` is no model folder."""
    write_text(run / "README.md", render_card(run, hub_model_id))
    return run / "README.md"


def render_card(run: Path, hub_model_id: str | None = None) -> str:
    """The card's text, from config.json, training.json, evaluation/metrics.json and the figures in `run`."""
    if not (run / "config.json").is_file() or not any(run.glob("*.safetensors")):
        raise InputError(f"{run} holds no config.json with weights beside it, so it is no run folder of train.py")
    config = read_json(run / "config.json")
    training, report = (
        read_json(run / name) if (run / name).is_file() else None for name in (RECORD, "evaluation/metrics.json")
    )
    labels = [config["id2label"][number] for number in sorted(config["id2label"], key=int)]
    drawn = bool(training and training["dataset"]["drawn"])
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["figure"] = _format_figure
    return environment.get_template("template.md.j2").render(
        metadata=_metadata(run, hub_model_id, training, report, drawn).to_yaml(),
        name=(hub_model_id or run.resolve().name).split("/")[-1],
        model_path=hub_model_id or run.as_posix(),
        labels=labels,
        names={label: name_of(label) for label in labels},
        malignant=[label for label in labels if label in BY_CODE and BY_CODE[label].malignant],
        training=training,
        report=report,
        drawn=drawn,
        metrics=METRICS,
        curves=CURVES if (run / CURVES).is_file() else None,
        figures={path: caption for path, caption in FIGURES.items() if (run / path).is_file()},
    )


def _metadata(
    run: Path, hub_model_id: str | None, training: dict[str, Any] | None, report: dict[str, Any] | None, drawn: bool
) -> ModelCardData:
    base = training["base_model"] if training else None
    dataset = training["dataset"]["name"] if training else None
    return ModelCardData(
        model_name=(hub_model_id or run.resolve().name).split("/")[-1],
        license="apache-2.0" if drawn else "cc-by-nc-4.0",
        library_name="transformers",
        pipeline_tag="image-classification",
        # The Hub takes ids here; the name of a folder would be no id.
        base_model=base if base and "/" in base else None,
        datasets=[dataset] if dataset and "/" in dataset else None,
        tags=["deit", "skin-lesion", "dermatoscopy", "dermatology", "medical", *([] if drawn else ["ham10000"])],
        metrics=sorted({METRICS[name][0] for name in report["metrics"]}) if report else None,
        eval_results=_eval_results(report, training) if report else None,
    )


def _eval_results(report: dict[str, Any], training: dict[str, Any] | None) -> list[EvalResult]:
    return [
        EvalResult(
            task_type="image-classification",
            dataset_type=report["dataset"],
            dataset_name=training["dataset"]["title"] if training else report["dataset"],
            dataset_split=report["split"],
            dataset_args={"fingerprint": report["dataset_fingerprint"], "n_images": report["n_images"]},
            metric_type=METRICS[name][0],
            metric_name=METRICS[name][1],
            metric_value=figure["value"],
            metric_args={"interval_95": [figure["low"], figure["high"]]},
        )
        for name, figure in report["metrics"].items()
        if figure["value"] is not None
    ]


def _format_figure(figure: dict[str, Any] | float | None) -> str:
    if figure is None:
        return "-"
    if isinstance(figure, dict):
        return "-" if figure["value"] is None else "{value:.3f} [{low:.3f}, {high:.3f}]".format(**figure)
    return f"{figure:.3f}"
