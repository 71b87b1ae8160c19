"""Two models, or two ways to use one, on the same images: paired differences and McNemar's test."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import binomtest

from lesions.arrays import Array
from lesions.evaluation.seeds import describe_spread, seeds_of, spread_over_seeds
from lesions.faults import Faults, InputError
from lesions.ground_truth import read_ground_truth, read_predictions
from lesions.metrics.intervals import estimate
from lesions.metrics.measured import Measured
from lesions.metrics.names import HEADLINE
from lesions.metrics.scores import weighted_metrics
from lesions.output.plain_text import for_markdown
from lesions.report.reading import read_report
from lesions.report.wording import count_images, resampled
from lesions.run_folder import EVALUATION, METRICS_FILE, RECORD, WEIGHTS, record_of, weights_of

OTHER_DATA = "measured on other data than the first"
ADVICE = "only metrics on the same images can be compared; measure all runs on one split"


def paired_differences(
    first: Measured, second: Measured, names: Sequence[str] = HEADLINE
) -> dict[str, dict[str, float | None]]:
    """`{metric: {value, low, high}}` of `second` minus `first`, the interval from a bootstrap of the same lesions."""

    def difference(weights: Array) -> dict[str, Array]:
        one, two = (weighted_metrics(each.probabilities, each.truth, weights, names) for each in (first, second))
        return {name: two[name] - one[name] for name in names}

    estimated = estimate(difference, first.lesions)
    return {name: metric for name, metric in estimated.items() if not np.isnan(metric["value"])}


def mcnemar(first: Measured, second: Measured) -> dict[str, float | int]:
    """The exact, two-sided test of McNemar (1947) of whether both are right equally often.

    It takes all images as independent, but images of one lesion are not. The interval of the difference in accuracy is
    over lesions, and so the more careful of the two.
    """
    right, also_right = (first.right, second.right)
    lost, won = int((right & ~also_right).sum()), int((~right & also_right).sum())
    p_value = float(binomtest(won, won + lost).pvalue) if won + lost else 1.0
    return {"only_first_right": lost, "only_second_right": won, "p_value": p_value}


def compare_runs(runs: list[Path]) -> dict[str, Any]:
    """Compares each run with the first, on the images that all of them were measured on.

    A run is a folder of train.py that evaluate_model.py has measured, or its folder of results.
    Raises InputError where a run has no results, or was measured on other images.
    """
    folders = [run if (run / METRICS_FILE).is_file() else run / EVALUATION for run in runs]
    faults = Faults()
    for folder in folders:
        missing = [n for n in (METRICS_FILE, "predictions.csv", "ground_truth.csv") if not (folder / n).is_file()]
        if missing:
            faults.add("results missing", f"{folder}: no {', '.join(missing)}")
    faults.raise_if_any("measure each run first: python evaluate_model.py --model RUN --dataset DATA")
    reports = [read_report(folder / METRICS_FILE) for folder in folders]
    same = ("dataset_fingerprint", "split", "n_images")
    for folder, report in zip(folders, reports, strict=True):
        own = weights_of(folder.parent) if any(folder.parent.glob(WEIGHTS)) else None
        if own and report.get("weights_sha256", own) != own:
            faults.add("measured with other weights than lie there now", f"{folder}: measure the run again")
        differing = [f"{name} {report[name]} against {reports[0][name]}" for name in same
                     if report[name] != reports[0][name]]  # fmt: skip
        faults.add(OTHER_DATA, *(f"{folder}: {what}" for what in differing))
    faults.raise_if_any(ADVICE)

    models = [_read(folder, report) for folder, report in zip(folders, reports, strict=True)]
    other = [not model.rows.equals(models[0].rows) for model in models]
    faults.add(OTHER_DATA, *(f"{folders[n]}: other images, or other diagnoses of them" for n in np.flatnonzero(other)))
    faults.raise_if_any(ADVICE)
    compared = [
        {
            "model": name,
            "weights_sha256": report.get("weights_sha256"),
            "differences": paired_differences(models[0], model),
            "mcnemar": mcnemar(models[0], model),
        }
        for name, report, model in zip(names_of(runs), reports, models, strict=True)
    ][1:]
    seeds = seeds_of([record_of(folder if (folder / RECORD).is_file() else folder.parent) for folder in folders])
    return {
        **{name: reports[0][name] for name in ("dataset", "split", "dataset_fingerprint", "n_images", "n_lesions")},
        "first": {"model": names_of(runs)[0], "metrics": models[0].metrics()},
        "compared": compared,
        **({"seeds": seeds, "over_seeds": spread_over_seeds(models)} if seeds else {}),
    }


def names_of(runs: list[Path]) -> list[str]:
    """What the table calls the runs: their folders' names, with as much of the path as makes them differ."""
    parts = [run.resolve().parts for run in runs]
    for depth in range(1, max(map(len, parts)) + 1):
        names = ["/".join(part[-depth:]) for part in parts]
        if len(set(names)) == len(names):
            return names
    raise InputError("the same run is given twice; give different runs")


def _read(folder: Path, report: dict[str, Any]) -> Measured:
    labels = report["confusion_matrix"]["labels"]
    probabilities, images = read_predictions(folder / "predictions.csv", labels)
    if len(images) != report["n_images"]:
        raise InputError(f"{folder} holds predictions of {len(images)} images, and metrics of {report['n_images']}; "
                         "measure the run again")  # fmt: skip
    rows = read_ground_truth(folder / "ground_truth.csv", labels, images)
    return Measured(probabilities, rows["dx"].map(labels.index).to_numpy(), labels, rows)


def as_markdown(comparison: dict[str, Any]) -> str:
    """The comparison as a table: a row for each metric, a column for each run, with 95 % intervals in brackets."""
    comparison = for_markdown(comparison)
    first, compared, unit = comparison["first"], comparison["compared"], resampled(comparison)
    split = f", split {comparison['split']}" if comparison["split"] else ""
    lines = [
        f"{comparison['dataset']}{split}: {count_images(comparison)}, fingerprint "
        f"{comparison['dataset_fingerprint'] or 'none'}. All columns but the first show the difference from "
        f"{first['model']}, with its 95 % interval from a paired bootstrap over {unit}.",
        "",
        "| | " + " | ".join([first["model"], *(f"{each['model']}: difference" for each in compared)]) + " |",
        "|---|" + "---|" * (1 + len(compared)),
    ]
    for name, metric in first["metrics"].items():
        if metric["value"] is not None:
            cells = ["{value:.4f} [{low:.4f}, {high:.4f}]".format(**metric)]
            cells += ["{value:+.4f} [{low:+.4f}, {high:+.4f}]".format(**each["differences"][name]) for each in compared]
            lines.append(f"| {name} | {' | '.join(cells)} |")
    counts = [f"{each['mcnemar']['only_second_right']} : {each['mcnemar']['only_first_right']}" for each in compared]
    p_values = [f"{each['mcnemar']['p_value']:.3g}" for each in compared]
    lines.append("| right where the other is wrong | | " + " | ".join(counts) + " |")
    lines.append("| McNemar's exact test, p (images taken as independent) | | " + " | ".join(p_values) + " |")
    if "seeds" in comparison:
        lines += describe_spread(comparison["seeds"], comparison["over_seeds"], unit)
    return "\n".join(lines) + "\n"
