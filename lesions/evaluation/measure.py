"""Measures a model and writes everything about it into one folder: metrics.json, CSV files, figures and the report."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from transformers import PreTrainedModel

from lesions.arrays import Numbers
from lesions.dataset import dataset_fingerprint, load_splits, title_of
from lesions.evaluation.attribution import deletion_test, explain_examples, load_to_explain
from lesions.evaluation.comparison import paired_differences
from lesions.evaluation.image_folder import ImageFolder
from lesions.evaluation.limits.unfamiliar import measure_unfamiliar
from lesions.evaluation.metrics_json import build_report
from lesions.evaluation.options import MeasureOptions
from lesions.evaluation.prediction import VIEWS, Answers, Predictor
from lesions.evaluation.robustness import measure_robustness
from lesions.faults import Faults, InputError
from lesions.ground_truth import read_ground_truth, write_ground_truth, write_predictions
from lesions.hub import local_folder, public_name, revision_of
from lesions.metrics.measured import Measured
from lesions.output.files import read_json, write_json
from lesions.output.places import alone
from lesions.output.plain_text import one_line
from lesions.report.console import print_report
from lesions.report.figures import ON_REQUEST, save_examples, save_figures
from lesions.report.page import write_page
from lesions.run_folder import METRICS_FILE, check_unchanged
from lesions.seen_images import check_files_unseen, check_unseen

PLAIN = MeasureOptions()


@dataclass
class Subject:
    """What is measured: a model, the images that it answers, and its plain answers beside the truth."""

    predictor: Predictor
    images: Any  # rows with an `image` each
    measured: Measured
    answers: Answers  # the plain ones
    explained: PreTrainedModel | None  # the model that gives its attention, if maps are asked for


def measure_split(model: str, dataset: str, split: str, output: Path, options: MeasureOptions = PLAIN) -> None:
    """Measures `model` on one split of `dataset`, each a folder or a Hub id, and writes the results into `output`.

    Raises InputError where the two don't fit together: other diagnoses, or a model that may have seen the split. One
    process at a time writes to `output`, so that its files are of one measurement.
    """
    predictor = Predictor.of(model, options)
    splits = load_splits(dataset, split)
    images = splits[split]
    truth = predictor.truth_of(images, dataset)
    fingerprint = dataset_fingerprint(splits, split)
    check_unseen({model: predictor.folder}, splits, [split], title_of(dataset), fingerprint)
    rows = images.remove_columns(["image", "label"]).to_pandas().rename(columns={"image_id": "image"})
    _check_lesions(rows, truth, options)
    about = {
        **_about_model(model, predictor),
        "dataset": public_name(dataset),
        "split": split,
        "dataset_revision": revision_of(local_folder(dataset, "dataset")),
        "dataset_fingerprint": fingerprint,
    }
    _check_place(output, about)
    explained = load_to_explain(predictor) if options.maps else None
    with alone(output / METRICS_FILE):
        answers = predictor.probabilities(images, options.batch_size)
        measured = Measured(answers.probabilities, truth, predictor.labels, rows)
        _measure(about, Subject(predictor, images, measured, answers, explained), output, options)


def measure_images(model: str, place: Path, ground_truth: Path, output: Path, options: MeasureOptions = PLAIN) -> None:
    """Measures `model` on the images at `place`, a folder or a file, against the CSV file `ground_truth`.

    Raises InputError, which lists the images that can't be read, that have no diagnosis that the model knows, or that
    it was trained on.
    """
    predictor, images = Predictor.of(model, options), ImageFolder(place)
    rows = read_ground_truth(ground_truth, predictor.labels, images.names)
    check_files_unseen(model, predictor.folder, images.paths, rows)
    truth = rows["dx"].map(predictor.labels.index).to_numpy()
    _check_lesions(rows, truth, options)
    about = {
        **_about_model(model, predictor),
        "dataset": public_name(str(place)),
        "split": None,
        "dataset_revision": None,
        "dataset_fingerprint": None,
    }
    _check_place(output, about)
    explained = load_to_explain(predictor) if options.maps else None
    with alone(output / METRICS_FILE):
        answers = predictor.probabilities(images, options.batch_size)
        images.raise_if_broken()
        measured = Measured(answers.probabilities, truth, predictor.labels, rows)
        _measure(about, Subject(predictor, images, measured, answers, explained), output, options)


def _check_lesions(rows: pd.DataFrame, truth: Numbers, options: MeasureOptions) -> None:
    """Raises InputError for lesions of several diagnoses, such as patients that stand for them, if `options` ask for
    one answer for each."""
    if options.by_lesion and "lesion_id" in rows:
        diagnoses = pd.Series(truth).groupby(rows["lesion_id"].to_numpy()).nunique()
        faults = Faults()
        faults.add("lesion with several diagnoses", *diagnoses.index[diagnoses > 1])
        faults.raise_if_any("--by_lesion takes a lesion to have one diagnosis: correct the lesion ids, or leave it out")


def _check_place(output: Path, about: dict[str, Any]) -> None:
    """Raises InputError if `output` holds results of the same weights on other images, which would be lost."""
    file = output / METRICS_FILE
    earlier = read_json(file, dict[str, Any], "results of evaluate_model.py") if file.is_file() else {}
    here, there = (
        (each.get("split"), each.get("dataset_fingerprint") or each.get("dataset")) for each in (about, earlier)
    )
    if here != there and earlier.get("weights_sha256") == about["weights_sha256"]:
        raise InputError(
            f"{output} holds results of this model on other images (of {one_line(str(earlier.get('dataset')))}): give "
            "another --output, or remove them"
        )


def _about_model(model: str, predictor: Predictor) -> dict[str, str]:
    """The model's name, and which weights were measured, for the card to tell them from later ones."""
    return {
        "model": public_name(model),
        "weights_sha256": predictor.weights,
    }


def _measure(about: dict[str, Any], subject: Subject, output: Path, options: MeasureOptions) -> None:
    """Computes every metric, writes the results, and prints a summary."""
    measured = subject.measured
    for name in ON_REQUEST:  # an earlier evaluation into this folder may have drawn more
        (output / name).unlink(missing_ok=True)
    record = subject.predictor.record
    report = build_report(about, measured, record, options.prevalence)
    report["unfamiliar"] = measure_unfamiliar(record.get("familiarity"), subject.predictor, subject.answers, measured)
    report |= _measure_more(subject, output, options)
    check_unchanged(subject.predictor.folder, subject.predictor.weights)
    (output / METRICS_FILE).unlink(missing_ok=True)  # it would stand beside other predictions if this ended here
    write_predictions(output / "predictions.csv", list(measured.rows["image"]), measured.probabilities, measured.labels)
    write_ground_truth(output / "ground_truth.csv", measured.rows, [measured.labels[n] for n in measured.truth])
    save_figures(output, report, measured)
    write_json(output / METRICS_FILE, report)
    write_page(output, report)
    print_report(report)


def _measure_more(subject: Subject, output: Path, options: MeasureOptions) -> dict[str, Any]:
    """The sections of metrics.json that were asked for, and the images of the maps."""
    predictor, images, measured = subject.predictor, subject.images, subject.measured
    more: dict[str, Any] = {}
    if options.tta != "none":
        answers = predictor.probabilities(images, options.batch_size, options.tta, "all views")
        several = measured.of_probabilities(answers.probabilities)
        more["test_time_augmentation"] = {
            "views": options.tta,
            "n_views": len(VIEWS[options.tta]),
            "cost": answers.seconds / subject.answers.seconds,
            "metrics": several.metrics(),
            "gain": paired_differences(measured, several),
        }
    if options.by_lesion:
        lesions = measured.by_lesion()
        more["by_lesion"] = {
            "n_lesions": len(lesions),
            "n_with_several": int((lesions.rows["n_images"] > 1).sum()),
            "metrics": lesions.metrics(),
        }
    if options.robustness is not None:
        more["robustness"] = measure_robustness(predictor, images, measured, options.robustness, options.batch_size)
    if model := subject.explained:
        save_examples(output / "examples.png", explain_examples(predictor, model, images, measured))
        more["maps"] = deletion_test(predictor, model, images, measured, options.batch_size)
    return more
