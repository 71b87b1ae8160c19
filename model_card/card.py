"""Fills the card's template from the files of a run. Every number comes from a file; missing parts are left out."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from huggingface_hub import EvalResult, ModelCardData

from lesions.dataset import SHARES
from lesions.diagnoses import malignant_among, name_of, why_unknown
from lesions.faults import InputError
from lesions.hub import public_name
from lesions.metrics.names import METRICS
from lesions.model.onnx_file import ONNX_FILE
from lesions.output.files import write_text
from lesions.output.plain_text import for_markdown, one_line
from lesions.output.templates import render
from lesions.report.elsewhere import count_dark, earlier_model, external, melanoma_in
from lesions.report.reading import read_comparison, read_report
from lesions.report.sections import BOX, build_sections
from lesions.report.wording import Section, count_images, describe_gaps, format_metric, recall_of
from lesions.run_folder import CURVES, EVALUATION, METRICS_FILE, RECORD, WEIGHTS, weights_of
from model_card.record import read_labels, read_training

# The Hub adds the architecture, from config.json.
TAGS = ("skin-lesion", "dermatoscopy", "dermatology", "medical")
LICENSES = {"drawn": "apache-2.0", "ham10000": "cc-by-nc-4.0", "other": None}  # other data: only their owner knows
COMPARISON = "comparison/comparison.json"  # with an earlier model
EXAMPLES = "examples.png"  # shows images of the data set


def write_card(
    run: Path, hub_model_id: str | None = None, publish_examples: bool = False, space_id: str | None = None
) -> Path:
    """Writes `run`/README.md and returns its path. Raises InputError if `run` is not a model folder.

    Says so if an evaluation is left out because it measured other weights than those in `run`.
    """
    write_text(run / "README.md", render_card(run, hub_model_id, publish_examples, space_id))
    for folder in evaluations(run, other_weights=True):
        print(f"left out: {folder} was measured with other weights than those in {run}. Measure these with "
              f"python evaluate_model.py --model {run}", file=sys.stderr)  # fmt: skip
    return run / "README.md"


def render_card(
    run: Path, hub_model_id: str | None = None, publish_examples: bool = False, space_id: str | None = None
) -> str:
    """The card's text, from config.json, training.json, evaluation*/metrics.json and the figures in `run`.

    With `space_id` it links the page that runs the model in a browser.
    """
    if not (run / "config.json").is_file() or not any(run.glob(WEIGHTS)):
        raise InputError(
            f"{run} is not a run folder: config.json and weights are missing. Give the --output_dir of train.py"
        )
    labels, reports = read_labels(run), {folder.name: read_metrics(folder) for folder in evaluations(run)}
    training = read_training(run, labels)
    for name, content in reports.items():
        if set(content["confusion_matrix"]["labels"]) != set(labels):
            raise InputError(f"{run / name} is about other labels than the model's config.json; measure the run again")
    labels, training, reports = map(for_markdown, (labels, training, reports))
    report = reports.pop(EVALUATION, None)
    named = [one["malignant"] for one in (training, report) if one and one.get("malignant") is not None]
    if any({*each} != {*named[0]} for each in named):
        raise InputError(
            f"{run / EVALUATION / METRICS_FILE} counts other labels as malignant than {RECORD} does: measure the run "
            "again without --malignant, or give it to `python -m lesions.evaluation.limits` first"
        )
    malignant = malignant_among(labels, named[0] if named else None)
    kind, also_from = kind_of(training), _also_from(training) if training else []
    built = build_sections(report) if report else []
    # The splits that data_prep.py does not make are external ones.
    others = [other for other in reports.values() if training and other["split"] not in (None, *SHARES)]
    about = training["dataset"] if training else {}
    searched = bool(about.get("searched", about.get("lesions_merged")))
    prepared = set(about.get("fingerprints", {}).values())  # the others are splits of other data sets
    searched_all = searched and {each["dataset_fingerprint"] for each in others} <= prepared
    own_data = bool(report and _is_of_own_data(report, training))
    figures = {name for section in built for name in section.figures if (run / EVALUATION / name).is_file()}
    return render(
        Path(__file__).with_name("template.md.j2"),
        {"show": format_metric, "name_of": name_of, "recall": recall_of},
        metadata=_metadata(run, hub_model_id, training, report, kind).to_yaml(),
        name=for_markdown((hub_model_id or public_name(str(run))).split("/")[-1]),
        model_path=hub_model_id or run.as_posix(),
        space_id=space_id,
        onnx=(run / ONNX_FILE).is_file(),
        labels=labels,
        names={label: name_of(label) for label in labels},
        malignant=malignant,
        why_unknown=why_unknown(labels),
        training=training,
        report=report,
        count=count_images(report) if report else None,
        melanoma=melanoma_in(report) if report else None,
        gaps=describe_gaps(report) if report else None,
        sections=built,
        elsewhere=[*external(others, searched_all), *compared_with_earlier(run)],
        searched=searched,
        measured=bool(report or reports),
        own_test=own_data and report["split"] == "test",
        tested_elsewhere=bool(others) or bool(report and training and not own_data),
        dark=count_dark(others),
        earlier=_earlier(training),
        sources=about.get("sources", {}),
        also_from=also_from,
        drawn=kind == "drawn" and not also_from,
        ham10000=kind == "ham10000",
        metrics=METRICS,
        box=BOX,
        curves=CURVES if (run / CURVES).is_file() else None,
        figures=figures if publish_examples else figures - {EXAMPLES},
    )


def _is_of_own_data(report: dict[str, Any], training: dict[str, Any] | None) -> bool:
    """Whether `report` is about a split of the data that the run was trained on, and not about any other images."""
    return training is not None and report["dataset_fingerprint"] == training["dataset_fingerprint"]


def _earlier(training: dict[str, Any] | None) -> list[dict[str, Any]]:
    """The records of the runs that this one continues, the first one first."""
    before = training.get("earlier") if training else None
    return [*_earlier(before), before] if before else []


def compared_with_earlier(run: Path) -> list[Section]:
    """The comparison of the model in `run` with an earlier one; nothing if there is none, or one of other weights."""
    path = run / COMPARISON
    return earlier_model(for_markdown(read_comparison(path)), weights_of(run)) if path.is_file() else []


def license_of(training: dict[str, Any] | None) -> str | None:
    """The license of the weights, if all real images that the run, and those that it continues, learned from have
    one."""
    kinds = {kind_of(each) for each in (*_earlier(training), training)}
    (kind, *others) = kinds - {"drawn"} or kinds
    return None if others else LICENSES[kind]


def _also_from(training: dict[str, Any]) -> list[str]:
    """The sources of real images, beside the title of the data, that the run and those that it continues learned
    from."""
    records = [each["dataset"] for each in (training, *_earlier(training)) if not each["dataset"]["drawn"]]
    names = dict.fromkeys(name for about in records for name in about.get("sources") or [about["title"]])
    return [name for name in names if name != training["dataset"]["title"]]


def kind_of(training: dict[str, Any] | None) -> str:
    """What the run learned from, a key of LICENSES."""
    if training and training["dataset"]["drawn"]:
        return "drawn"
    return "ham10000" if training and training["dataset"]["title"] == "HAM10000" else "other"


def evaluations(run: Path, other_weights: bool = False) -> list[Path]:
    """The evaluation folders of `run` that measured the weights that lie in it now, or those of `other_weights`.

    One that doesn't say which, of an earlier version, counts as the former.
    """
    weights = weights_of(run)
    folders = sorted(path.parent for path in run.glob(f"{EVALUATION}*/{METRICS_FILE}"))
    measured = {folder: read_metrics(folder).get("weights_sha256", weights) for folder in folders}
    return [folder for folder in folders if (measured[folder] != weights) == other_weights]


def read_metrics(folder: Path) -> dict[str, Any]:
    """The content of metrics.json in an evaluation folder. Raises InputError unless it is as it was written."""
    return read_report(folder / METRICS_FILE)


def _metadata(
    run: Path, hub_model_id: str | None, training: dict[str, Any] | None, report: dict[str, Any] | None, kind: str
) -> ModelCardData:
    base = training["base_model"] if training else None
    dataset = training["dataset"]["name"] if training else None
    return ModelCardData(
        model_name=one_line((hub_model_id or public_name(str(run))).split("/")[-1]),
        license=license_of(training),
        library_name="transformers",
        pipeline_tag="image-classification",
        # The Hub takes ids here, not the names of folders.
        base_model=base if base and "/" in base else None,
        datasets=[dataset] if dataset and "/" in dataset else None,
        tags=[*TAGS, *(["ham10000"] if kind == "ham10000" else [])],
        metrics=sorted({METRICS[name].hub_type for name in report["metrics"]}) if report else None,
        eval_results=_eval_results(report, training) if report else None,
    )


def _eval_results(report: dict[str, Any], training: dict[str, Any] | None) -> list[EvalResult]:
    title = training["dataset"]["title"] if training and _is_of_own_data(report, training) else report["dataset"]
    return [
        EvalResult(
            task_type="image-classification",
            dataset_type=report["dataset"],
            dataset_name=title,
            dataset_split=report["split"],
            dataset_revision=report["dataset_revision"],
            dataset_args={"fingerprint": report["dataset_fingerprint"], "n_images": report["n_images"]},
            metric_type=METRICS[name].hub_type,
            metric_name=METRICS[name].title,
            metric_value=metric["value"],
            metric_args={"interval_95": [metric["low"], metric["high"]]},
        )
        for name, metric in report["metrics"].items()
        if metric["value"] is not None
    ]
