"""The sections on the limits of the answers: sets, unfamiliar images, selection, changed images, maps."""

from __future__ import annotations

from typing import Any

from lesions.diagnoses import name_of
from lesions.report.wording import Section, count_images, format_metric


def prediction_sets(report: dict[str, Any]) -> Section | None:
    """What can't be ruled out, and how often that holds the diagnosis."""
    if not (levels := report.get("prediction_sets")):
        return None
    rows = [row for level in levels for row in _rows_of_level(level)]
    text = (
        "The diagnoses that the model can't rule out for an image, by label-conditional conformal prediction (Vovk "
        "2012). Thresholds chosen on the validation split, by lesion, aim at sets that hold the diagnosis of at least "
        "90 %, or 95 %, of new lesions of each diagnosis. Few validation lesions can't guarantee that much; the table "
        f"says what they guarantee. {_what_holds(levels)} Coverage is the share of lesions whose set holds their "
        "diagnosis, as the mean over the images of a lesion. Single answers are sets of one diagnosis."
    )
    return Section("What it can't rule out", text, ["", "guarantee", "coverage", "mean size", "single answers"], rows)


def _rows_of_level(level: dict[str, Any]) -> list[list[str]]:
    aim = f"{100 * level['level']:g} %"
    rows = [[f"{aim}: all", "-", *(format_metric(level[name]) for name in ("coverage", "mean_size", "single"))]]
    for label, row in level["by_diagnosis"].items():
        guarantee = "-" if row["guarantee"] is None else f"{100 * row['guarantee']:.3g} %"
        coverage = format_metric(row["coverage"]) if row["coverage"] else "-"
        rows.append([f"{aim}: {name_of(label)}", f"{guarantee} ({row['n_lesions']} lesions)", coverage, "-", "-"])
    for kind, members in level["subgroups"].items():
        for member, row in members.items():
            metrics = [format_metric(row[name]) for name in ("coverage", "mean_size")]
            rows.append([f"{aim}: {kind} {member} (n = {row['n_images']})", "-", *metrics, "-"])
    return rows


def _what_holds(levels: list[dict[str, Any]]) -> str:
    if levels[0]["guaranteed"]:
        return "The guarantee holds for lesions from the same source as these."
    found = ", ".join(f"{100 * level['level']:g} % became {format_metric(level['coverage'])}" for level in levels)
    return f"These images are not from the test split, so the guarantee does not hold for them: {found}."


def unfamiliar(report: dict[str, Any]) -> Section | None:
    """How many of the images look unlike the training images, and how good the answers to them are."""
    if not (found := report.get("unfamiliar")):
        return None
    accuracy = {side: format_metric(value) if value else "-" for side, value in found["accuracy"].items()}
    rows = [["all", str(report["n_images"]), format_metric(found["refused"])]]
    rows += [
        [name_of(label), str(report["per_class"][label]["support"]), format_metric(share)]
        for label, share in found["by_diagnosis"].items()
        if share
    ]
    text = (
        "An image is unlike the training images if the features that the model's head reads are far from theirs "
        f"(Mahalanobis distance). The threshold accepts {100 * found['accepted']:g} % of the validation images. It is "
        f"meant for images that are not dermatoscopic. Here it refuses {found['n_refused']} images. The "
        f"accuracy is {accuracy['accepted']} on the accepted images and {accuracy['refused']} on the refused ones."
    )
    return Section("Unlike the training images", text, ["", "images", "share refused"], rows)


def selective(report: dict[str, Any]) -> Section:
    rows = [
        [f"{100 * point['coverage']:.0f} %", str(point["n_images"]), str(point["n_classes"])]
        + [format_metric(point[name]) for name in ("accuracy", "balanced_accuracy")]
        for point in report["selective"]
    ]
    text = (
        "The model answers the images that it is most certain of; the others go to a person. Certain means: the most "
        "probable diagnosis has a high probability. Balanced accuracy is the mean over the diagnoses that are left."
    )
    columns = ["answered", "images", "diagnoses left", "accuracy", "balanced accuracy"]
    figures = {"selective.png": "Accuracy and balanced accuracy against the share of images that are answered"}
    return Section("Selective prediction", text, columns, rows, figures)


def robustness(report: dict[str, Any]) -> Section | None:
    if not (robustness := report.get("robustness")):
        return None
    rows = [
        ["unchanged", "", *(format_metric(robustness["unchanged"][name]) for name in ("accuracy", "balanced_accuracy"))]
    ]
    for change, measured in robustness["changes"].items():
        for point in measured["strengths"]:
            shown = [format_metric(point[name]) for name in ("accuracy", "balanced_accuracy")]
            rows.append([change, f"{point['strength']:g} ({measured['unit']})", *shown])
    text = f"On {count_images(robustness)}, sampled at random. Each change is applied alone."
    count = len(robustness["changes"])
    figures = {"robustness.png": f"Accuracy and balanced accuracy under {count} changes of five strengths each"}
    return Section("Robustness", text, ["change", "strength", "accuracy", "balanced accuracy"], rows, figures)


def maps(report: dict[str, Any]) -> Section | None:
    """Where the model looked, and whether that says more than the center of the image."""
    shares = report.get("maps", {}).get("shares")  # earlier versions compared with random patches alone
    if not shares:
        return None
    text = (
        "The maps show attention weighted by its gradient (Chefer et al. 2021). The table tests them on "
        f"{report['maps']['n_images']} images: how much the probability of the answer drops, on average, if the "
        "patches that a map ranks highest are blanked; or those nearest to the center, where lesions lie; or random "
        f"ones. {_verdict(shares)}"
    )
    rows = [
        [f"{100 * each['deleted_share']:g} %"]
        + [format_metric(each[name]) for name in ("map", "center", "random")]
        + [format_metric(each["advantage"], "+")]
        for each in shares
    ]
    columns = ["patches blanked", "by the map", "by the center", "at random", "map minus center"]
    figures = {"examples.png": "The most confident right, the most confident wrong, and the most uncertain images"}
    return Section("Where it looked", text, columns, rows, figures)


def _verdict(shares: list[dict[str, Any]]) -> str:
    better = [f"{100 * each['deleted_share']:g} %" for each in shares if (each["advantage"]["low"] or 0) > 0]
    if len(better) == len(shares):
        return "The maps beat the center at every share."
    if better:
        return f"The maps beat the center at {' and '.join(better)} only."
    return "The maps do not beat the center: don't read them as reasons."
