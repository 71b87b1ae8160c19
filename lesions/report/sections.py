"""The sections that the model card and the local report share: what metrics.json says, as text, tables and figures.

Every number comes from metrics.json. Nothing here needs more than the standard library.
"""

from __future__ import annotations

from typing import Any

from lesions.diagnoses import labels_of, name_and_code, name_of, why_unknown
from lesions.metrics.names import METRICS
from lesions.report.limits import maps, prediction_sets, robustness, selective, unfamiliar
from lesions.report.wording import Section, count_images, describe_gaps, format_metric, recall_of

BOX = ("accuracy", "balanced_accuracy", "f1_macro", "roc_auc_macro")  # shown on top
MISTAKES_SHOWN = 6


def build_sections(report: dict[str, Any]) -> list[Section]:
    """The sections of `report`, the content of metrics.json, in the order of reading, without what was not measured."""
    results = (_headline, cohort, _diagnoses, _errors, _operating_points, _calibration, _subgroups)
    limits = (prediction_sets, unfamiliar, selective, _views, _by_lesion, robustness, maps)
    built = [build(report) for build in (*results, *limits)]
    return [section for section in built if section is not None]


def _headline(report: dict[str, Any]) -> Section:
    interval, what = report["interval"], [f"{report['dataset']}"]
    what += [f"split {report['split']}"] if report["split"] else []
    what += [f"fingerprint `{report['dataset_fingerprint'][:12]}`"] if report["dataset_fingerprint"] else []
    rows = [
        [f"{METRICS[name].title} ({METRICS[name].better} is better)", format_metric(metric)]
        for name, metric in report["metrics"].items()
    ]
    notes = sorted(
        {metric[key] for metric in report["metrics"].values() for key in ("note", "reason") if key in metric}
    )
    text = (
        f"On {', '.join(what)}: {count_images(report)}. In brackets: the {100 * interval['level']:g} % interval "
        f"({interval['method']}, {interval['resamples']} resamples; {interval['absent_diagnoses']})."
    )
    return Section("Results", " ".join([text, *(f"{note.capitalize()}." for note in notes)]), ["", "value"], rows)


def cohort(report: dict[str, Any]) -> Section:
    columns, rows = ["", "images", "lesions"], []
    everyone = report["cohort"]["all"]
    by_diagnosis = [(name_and_code(name, "`"), part) for name, part in report["cohort"]["by_diagnosis"].items()]
    known = [name for name in ("age", "sex", "confirmed_by") if name in everyone]
    for name, part in [("all", everyone), *by_diagnosis]:
        row = [name, str(part["n_images"])]
        row.append(str(part["n_lesions"] or "-"))
        if "age" in known:
            age = part["age"]
            row.append("-" if age["median"] is None else "{:g} ({:g} to {:g})".format(age["median"], *age["quartiles"]))
        row += [
            ", ".join(f"{value} {number}" for value, number in part[what].items()) for what in known if what != "age"
        ]
        rows.append(row)
    titles = {"age": "age, median (quartiles)", "sex": "sex", "confirmed_by": "reference standard: confirmed by"}
    text = "The images by diagnosis."
    if "site" in everyone:
        sites = ", ".join(f"{site} {number}" for site, number in everyone["site"].items())
        text += f" Sites: {sites}."
    return Section("Measured on", text, columns + [titles[name] for name in known], rows)


def _errors(report: dict[str, Any]) -> Section | None:
    labels, counts = report["confusion_matrix"]["labels"], report["confusion_matrix"]["counts"]
    mistakes = [
        (counts[i][j], truth, answer, sum(counts[i]))
        for i, truth in enumerate(labels)
        for j, answer in enumerate(labels)
        if i != j and counts[i][j]
    ]
    if not mistakes:
        return None
    mistakes.sort(key=lambda mistake: -mistake[0])
    rows = [
        [name_of(truth), name_of(answer), f"{number} of {total} ({100 * number / total:.0f} %)"]
        for number, truth, answer, total in mistakes[:MISTAKES_SHOWN]
    ]
    wrong = sum(number for number, *_ in mistakes)
    text = f"{wrong} of {report['n_images']} images got a wrong answer. These mistakes are the most frequent."
    return Section("Failure modes", text, ["diagnosis", "taken for", "images"], rows)


def _diagnoses(report: dict[str, Any]) -> Section:
    names = ("specificity", "precision", "f1", "roc_auc", "average_precision")
    titles = ["recall (sensitivity)", "specificity", "precision", "F1", "AUC", "average precision"]
    rows = [
        [
            name_and_code(label, "`"),
            str(row["support"]),
            format_metric(recall_of(row)),
            *(format_metric(row[name]) for name in names),
        ]
        for label, row in report["per_class"].items()
    ]
    figures = {
        "confusion_matrix.png": "Confusion matrix: share of each true diagnosis, and counts",
        "roc_curves.png": "ROC curves, each diagnosis against all others",
    }
    text = "Each diagnosis against all others, at the plain decision: the most probable diagnosis."
    if report.get("malignant", []) is None:
        text += f" Malignant-or-not metrics are left out: {why_unknown(report['per_class'])} when training."
    return Section("By diagnosis", text, ["diagnosis", "n", *titles], rows, figures)


def _calibration(report: dict[str, Any]) -> Section:
    calibration = report["calibration"]
    before, rows = calibration["without_decision"], []
    for name in ("log_loss", "brier", "ece", "accuracy", "balanced_accuracy", "f1_macro"):
        row = [METRICS[name].title, format_metric(report["metrics"][name])]
        rows.append(row + ([format_metric(before[name])] if before else []))
    columns = ["", "this model"] + (["before the fit on validation that its head holds"] if before else [])
    text = f"Reliability diagram and calibration error: {calibration['binning']}."
    figures = {"reliability.png": "Reliability diagram: how often the answer was right, by its probability"}
    return Section("Calibration", text, columns, rows if before else rows[:3], figures)


def _operating_points(report: dict[str, Any]) -> Section | None:
    points = report["operating_points"]
    if not points:
        return None
    rows = [
        [
            f"{point['target']}: {100 * point['level']:g} % {point['aim']}",
            f"{point['threshold']:.4f}",
            *(format_metric(point[name]) for name in ("sensitivity", "specificity", "ppv", "npv")),
        ]
        for point in points
    ]
    malignant = next((labels_of(point) for point in points if point["target"] == "malignant"), None)
    means = f"Malignant means {', '.join(map(name_of, malignant))}." if malignant else ""
    text = (
        "Each threshold was chosen on the validation split, for the sensitivity or specificity that names it, and "
        "measured here. An image is positive if the probabilities of the target's diagnoses add up to the threshold or "
        f"more. {means} PPV and NPV are for a prevalence of {100 * points[0]['prevalence']:g} %."
    )
    columns = ["chosen for", "threshold", "sensitivity", "specificity", "PPV", "NPV"]
    return Section("Operating points", text, columns, rows)


def _subgroups(report: dict[str, Any]) -> Section | None:
    if not report["subgroups"]:
        return None
    rows = [
        [f"{kind}: {member}", str(row["n_images"]), str(row["n_lesions"] or "-")]
        + [format_metric(row[name]) for name in ("accuracy", "balanced_accuracy")]
        for kind, members in report["subgroups"].items()
        for member, row in members.items()
    ]
    text = f"Subgroups also differ in their diagnoses, and a small subgroup says little. {describe_gaps(report)}"
    return Section("Subgroups", text, ["subgroup", "images", "lesions", "accuracy", "balanced accuracy"], rows)


def _views(report: dict[str, Any]) -> Section | None:
    if not (views := report.get("test_time_augmentation")):
        return None
    text = (
        f"The mean over {views['n_views']} views of each image ({views['views']}). It takes {views['cost']:.1f} times "
        "as long as the single view behind all other metrics here."
    )
    return Section("Test-time augmentation", text, ["", "value", "gain"], _with_gain(views))


def _by_lesion(report: dict[str, Any]) -> Section | None:
    if not (lesions := report.get("by_lesion")):
        return None
    text = (
        f"One answer per lesion, the mean over its images: {lesions['n_lesions']} lesions, {lesions['n_with_several']} "
        "of them with several images. Do not compare these with metrics over images."
    )
    rows = [[METRICS[name].title, format_metric(metric)] for name, metric in lesions["metrics"].items()]
    return Section("By lesion", text, ["", "value"], rows)


def _with_gain(part: dict[str, Any]) -> list[list[str]]:
    gains, metrics = part["gain"], part["metrics"]
    return [[METRICS[name].title, format_metric(metrics[name]), format_metric(gains[name], "+")] for name in gains]
