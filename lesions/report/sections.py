"""What metrics.json says, as sections with a text, a table and figures: the card and the local report show the same.

Every number comes from metrics.json. Light on purpose: nothing here needs more than the standard library.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from lesions.diagnoses import name_of
from lesions.metrics.names import METRICS

MISTAKES_SHOWN = 6


@dataclass
class Section:
    """A heading with what belongs below it; `figures` are file names beside metrics.json, with captions."""

    title: str
    text: str = ""
    columns: list[str] = field(default_factory=list)
    rows: list[list[str]] = field(default_factory=list)
    figures: dict[str, str] = field(default_factory=dict)


def show(figure: dict[str, Any] | float | None, sign: str = "") -> str:
    """A figure as text, with its interval where it has one; `sign="+"` for differences."""
    value = figure["value"] if isinstance(figure, dict) else figure
    if value is None:
        return "-"
    if not isinstance(figure, dict) or figure["low"] is None:
        return f"{value:{sign}.3f}"
    return f"{value:{sign}.3f} [{figure['low']:{sign}.3f}, {figure['high']:{sign}.3f}]"


def recall(row: dict[str, Any]) -> dict[str, Any]:
    """The recall of a diagnosis, a row of `per_class`, as a figure with its interval."""
    low, high = row["recall_interval"]
    return {"value": row["recall"], "low": low, "high": high}


def count(part: dict[str, Any]) -> str:
    """How many images, and of how many lesions where that is known."""
    return f"{part['n_images']} images" + (f" of {part['n_lesions']} lesions" if part["n_lesions"] else "")


def sections(report: dict[str, Any]) -> list[Section]:
    """The sections of `report`, the content of metrics.json, in the order of reading; what was not measured is left
    out."""
    builders = (_headline, _cohort, _diagnoses, _errors, _operating_points, _calibration, _selective, _subgroups)
    built = [build(report) for build in (*builders, _views, _by_lesion, _robustness, _maps)]
    return [section for section in built if section is not None]


def _headline(report: dict[str, Any]) -> Section:
    interval, what = report["interval"], [f"{report['dataset']}"]
    what += [f"split {report['split']}"] if report["split"] else []
    what += [f"fingerprint `{report['dataset_fingerprint'][:12]}`"] if report["dataset_fingerprint"] else []
    rows = [
        [f"{METRICS[name][1]} ({METRICS[name][2]} is better)", show(figure)]
        for name, figure in report["metrics"].items()
    ]
    notes = sorted(
        {figure[key] for figure in report["metrics"].values() for key in ("note", "reason") if key in figure}
    )
    text = (
        f"On {', '.join(what)}: {count(report)}. In brackets the {100 * interval['level']:g} % interval "
        f"({interval['method']}, {interval['resamples']} resamples; {interval['absent_diagnoses']})."
    )
    return Section("Results", " ".join([text, *(f"{note.capitalize()}." for note in notes)]), ["", "value"], rows)


def _cohort(report: dict[str, Any]) -> Section:
    columns, rows = ["", "images", "lesions"], []
    cohort = {"all": report["cohort"]["all"], **report["cohort"]["by_diagnosis"]}
    known = [name for name in ("age", "sex", "confirmed_by") if name in cohort["all"]]
    for name, part in cohort.items():
        row = ["all" if name == "all" else f"{name_of(name)} (`{name}`)", str(part["n_images"])]
        row.append(str(part["n_lesions"] or "-"))
        if "age" in known:
            age = part["age"]
            row.append("-" if age["median"] is None else "{:g} ({:g} to {:g})".format(age["median"], *age["quartiles"]))
        row += [
            ", ".join(f"{value} {number}" for value, number in part[what].items()) for what in known if what != "age"
        ]
        rows.append(row)
    titles = {"age": "age, median (quartiles)", "sex": "sex", "confirmed_by": "reference standard: confirmed by"}
    text = "Who was measured, in images."
    if "site" in cohort["all"]:
        sites = ", ".join(f"{site} {number}" for site, number in cohort["all"]["site"].items())
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
    text = f"{wrong} of {report['n_images']} images got another answer than their diagnosis; most often these."
    return Section("Failure modes", text, ["diagnosis", "taken for", "images"], rows)


def _diagnoses(report: dict[str, Any]) -> Section:
    names = ("specificity", "precision", "f1", "roc_auc", "average_precision")
    titles = ["recall (sensitivity)", "specificity", "precision", "F1", "AUC", "average precision"]
    rows = [
        [f"{name_of(label)} (`{label}`)", str(row["support"]), show(recall(row)), *(show(row[name]) for name in names)]
        for label, row in report["per_class"].items()
    ]
    figures = {
        "confusion_matrix.png": "Confusion matrix: share of each true diagnosis, and counts",
        "roc_curves.png": "ROC curves, each diagnosis against all others",
    }
    text = "Each diagnosis against all others, at the plain decision: the most probable diagnosis."
    return Section("By diagnosis", text, ["diagnosis", "n", *titles], rows, figures)


def _calibration(report: dict[str, Any]) -> Section:
    calibration = report["calibration"]
    before, rows = calibration["without_decision"], []
    for name in ("log_loss", "brier", "ece", "accuracy", "balanced_accuracy", "f1_macro"):
        row = [METRICS[name][1], show(report["metrics"][name])]
        rows.append(row + ([show(before[name])] if before else []))
    columns = ["", "this model"] + (["without what was fitted on validation and folded in"] if before else [])
    text = f"The reliability diagram and the calibration error take {calibration['binning']}."
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
            *(show(point[name]) for name in ("sensitivity", "specificity", "ppv", "npv")),
        ]
        for point in points
    ]
    text = (
        "Each threshold was chosen on the validation split for the sensitivity or specificity that it is named after, "
        "and measured here. An image is called positive where the probabilities of the target's diagnoses together "
        "reach the threshold. Malignant means melanoma, basal cell carcinoma, or actinic keratosis / intraepithelial "
        f"carcinoma. PPV and NPV are for a prevalence of {100 * points[0]['prevalence']:g} %."
    )
    columns = ["chosen for", "threshold", "sensitivity", "specificity", "PPV", "NPV"]
    return Section("Operating points", text, columns, rows)


def _selective(report: dict[str, Any]) -> Section:
    rows = [
        [f"{100 * point['coverage']:.0f} %", str(point["n_images"]), str(point["n_classes"])]
        + [show(point[name]) for name in ("accuracy", "balanced_accuracy")]
        for point in report["selective"]
    ]
    text = (
        "When the images whose most probable diagnosis is least probable go to a person, and the model answers the "
        "rest. Balanced accuracy is the mean over the diagnoses that are left."
    )
    columns = ["answered", "images", "diagnoses left", "accuracy", "balanced accuracy"]
    figures = {"selective.png": "Accuracy and balanced accuracy against the share of images that are answered"}
    return Section("Selective prediction", text, columns, rows, figures)


def _subgroups(report: dict[str, Any]) -> Section | None:
    if not report["subgroups"]:
        return None
    rows = [
        [f"{kind}: {member}", str(row["n_images"]), str(row["n_lesions"] or "-")]
        + [show(row[name]) for name in ("accuracy", "balanced_accuracy")]
        for kind, members in report["subgroups"].items()
        for member, row in members.items()
    ]
    text = f"Subgroups differ in their diagnoses, not only in who they are, and a small one says little. {gaps(report)}"
    return Section("Subgroups", text, ["subgroup", "images", "lesions", "accuracy", "balanced accuracy"], rows)


def gaps(report: dict[str, Any]) -> str:
    """Which subgroups are served less well, in words."""
    told = []
    for kind, gap in report["gaps"].items():
        sure = gap["low"] is not None and gap["low"] > 0
        told.append(
            f"Of {kind}, {gap['subgroup']} has the lowest accuracy (n = {gap['n_images']}): {show(gap)} below that of "
            f"all other images, {'more than' if sure else 'which may be'} chance."
        )
    return " ".join(told)


def _views(report: dict[str, Any]) -> Section | None:
    if not (views := report.get("test_time_augmentation")):
        return None
    text = (
        f"The mean over {views['n_views']} views of each image ({views['views']}), which takes {views['cost']:.1f} "
        "times as long as the one view behind every other figure here."
    )
    return Section("Test-time augmentation", text, ["", "value", "gain"], _with_gain(views))


def _by_lesion(report: dict[str, Any]) -> Section | None:
    if not (lesions := report.get("by_lesion")):
        return None
    text = (
        f"The mean over all images of a lesion, one answer a lesion: {lesions['n_lesions']} lesions, "
        f"{lesions['n_with_several']} of them with several images. Not comparable with figures over images."
    )
    rows = [[METRICS[name][1], show(figure)] for name, figure in lesions["metrics"].items()]
    return Section("By lesion", text, ["", "value"], rows)


def _with_gain(part: dict[str, Any]) -> list[list[str]]:
    gains = part["gain"]
    return [[METRICS[name][1], show(figure), show(gains[name], "+")] for name, figure in part["metrics"].items()
            if name in gains]  # fmt: skip


def _robustness(report: dict[str, Any]) -> Section | None:
    if not (robustness := report.get("robustness")):
        return None
    rows = [["unchanged", "", *(show(robustness["unchanged"][name]) for name in ("accuracy", "balanced_accuracy"))]]
    for change, measured in robustness["changes"].items():
        for point in measured["strengths"]:
            shown = [show(point[name]) for name in ("accuracy", "balanced_accuracy")]
            rows.append([change, f"{point['strength']:g} ({measured['unit']})", *shown])
    text = f"On {count(robustness)}, drawn at random and then changed, each on its own."
    figures = {"robustness.png": "Accuracy and balanced accuracy under eight changes of five strengths each"}
    return Section("Robustness", text, ["change", "strength", "accuracy", "balanced accuracy"], rows, figures)


def _maps(report: dict[str, Any]) -> Section | None:
    if not (maps := report.get("maps")):
        return None
    text = (
        "The maps show attention weighted by its gradient (Chefer et al. 2021). Do they mean anything? When the "
        f"{100 * maps['deleted_share']:g} % of the patches that a map ranks highest are blanked, the probability of "
        f"the answer falls on the mean by the first figure; when as many random ones are, by the second "
        f"({maps['n_images']} images)."
    )
    rows = [["patches of the map", show(maps["map"])], ["random patches", show(maps["random"])]]
    rows.append(["difference", show(maps["advantage"], "+")])
    figures = {"examples.png": "The most confident right, the most confident wrong, and the most uncertain images"}
    return Section("Where it looked", text, ["", "mean drop"], rows, figures)
