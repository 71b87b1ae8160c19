"""Figures of the metadata: diagnoses, lesions, ages, sites, sizes and missing values, each with what it says."""

from __future__ import annotations

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from lesions.data.exploration.reading import Reading, by_frequency, percent
from lesions.diagnoses import name_and_code, name_of
from lesions.ground_truth import TEXT_COLUMNS
from lesions.output.plain_text import clipped
from lesions.plotting import save_figure, styled

MANY = 12  # bars, at most, of a kind
# Columns whose values are shown by diagnosis: column, title, and what to make of it.
CATEGORIES = (
    ("sex", "Sex", "Results are also reported by sex, since a model may do worse on those it saw less of."),
    (
        "localization",
        "Site on the body",
        "If the sites of two diagnoses differ, the skin around a lesion may reveal the diagnosis.",
    ),
    (
        "dx_type",
        "How the diagnosis was confirmed",
        "It depends on the diagnosis, so it leaks the label and must never be a feature.",
    ),
)


def figures_of_table(folder: Path, table: pd.DataFrame) -> list[Reading | None]:
    """Writes the figures into `folder`; None for a column without values. `table` has a column `pixels`, the size in
    which each image came."""
    readings = [_classes(folder, table), _images_per_lesion(folder, table), _ages(folder, table)]
    readings += [_shares(folder, table, *category) for category in CATEGORIES]
    return [*readings, _sizes(folder, table), _missing(folder, table)]


def _classes(folder: Path, table: pd.DataFrame) -> Reading:
    images, lesions = table["dx"].value_counts(), table.groupby("dx")["lesion_id"].nunique()
    first, last = images.index[0], images.index[-1]
    with styled(figsize=(8, 0.5 * len(images) + 1.5)) as (figure, axes):
        rows = np.arange(len(images))
        for offset, (label, counts) in enumerate({"images": images, "lesions": lesions[images.index]}.items()):
            bars = axes.barh(rows + 0.4 * offset, counts, 0.38, label=label)
            axes.bar_label(bars, padding=3)
        axes.set_yticks(rows + 0.2, [name_and_code(dx) for dx in images.index])
        axes.invert_yaxis()
        axes.legend(frameon=False)
        axes.set(xlabel="count", xlim=(0, images.max() * 1.12))
        save_figure(figure, folder / "classes.png")
    share, even, times = images[first] / len(table), 1 / len(images), images[first] / images[last]
    more = f"{times:.0f} times as many" if times >= 1.5 else "about as many"
    return Reading(
        "classes.png",
        "Diagnoses",
        f"{name_of(first)} makes up {percent(share)} of the images, {more} as {name_of(last)}. A model that always "
        f"answered {first} would reach an accuracy of {share:.2f} and a balanced accuracy of {even:.2f}"
        + (", so accuracy alone says little here." if share > 1.5 * even else "."),
    )


def _images_per_lesion(folder: Path, table: pd.DataFrame) -> Reading:
    counts = table["lesion_id"].value_counts().value_counts().sort_index()
    with styled(figsize=(7, 3.5)) as (figure, axes):
        axes.bar_label(axes.bar(counts.index.astype(str), counts), padding=2)
        axes.set(xlabel="images per lesion", ylabel="lesions", ylim=(0, counts.max() * 1.1))
        save_figure(figure, folder / "images_per_lesion.png")
    several = counts[counts.index > 1]
    images = int((several * several.index).sum())
    return Reading(
        "images_per_lesion.png",
        "Images per lesion",
        f"{several.sum()} of {counts.sum()} lesions were photographed more than once, up to {counts.index[-1]} times; "
        f"{percent(images / len(table))} of all images show such a lesion. A split by image would put many of "
        "these on both sides. So the split is by lesion, and intervals are computed over lesions."
        if images
        else "No two images have one lesion id. Whether some of them show one lesion, the table does not say.",
    )


def _ages(folder: Path, table: pd.DataFrame) -> Reading | None:
    ages = {dx: table.loc[(table["dx"] == dx) & table["age"].notna(), "age"] for dx in by_frequency(table)}
    ages = {dx: values for dx, values in ages.items() if len(values)}
    if not ages:
        return None
    with styled(figsize=(8, 0.5 * len(ages) + 1.5)) as (figure, axes):
        axes.boxplot(list(ages.values()), orientation="horizontal", whis=(5, 95), sym="", medianprops={"color": "C1"})
        axes.set_yticks(range(1, len(ages) + 1), [f"{dx} (n = {len(values)})" for dx, values in ages.items()])
        axes.invert_yaxis()
        axes.set(xlabel="age in years: median, quartiles, 5 % to 95 %")
        save_figure(figure, folder / "ages.png")
    medians = pd.Series({dx: values.median() for dx, values in ages.items()}).sort_values(kind="stable")
    return Reading(
        "ages.png",
        "Age",
        f"The median age runs from {medians.iloc[0]:.0f} years ({medians.index[0]}) to {medians.iloc[-1]:.0f} "
        f"({medians.index[-1]}). Where these differ, age says something about the diagnosis. Results are also "
        "reported by age band.",
    )


def _shares(folder: Path, table: pd.DataFrame, column: str, title: str, lesson: str) -> Reading | None:
    """The shares of the values of `column` in each diagnosis, as stacked bars."""
    if table[column].nunique() < 2:
        return None
    values = table[column].map(clipped)
    values = values.where(values.isin(values.value_counts().index[:MANY]), "other")
    shares = pd.crosstab(table["dx"], values, normalize="index").loc[by_frequency(table)]
    shares = shares[values.value_counts().index]
    with styled(figsize=(9, 0.5 * len(shares) + 2)) as (figure, axes):
        left = np.zeros(len(shares))
        for number, value in enumerate(shares):
            color = plt.get_cmap("tab20")(number % 20)
            axes.barh(
                shares.index, shares[value], left=left, label=value, color=color, edgecolor="white", linewidth=0.5
            )
            left += shares[value].to_numpy()
        axes.invert_yaxis()
        axes.set(xlabel="share of the diagnosis's images", xlim=(0, 1))
        axes.legend(loc="upper left", bbox_to_anchor=(1, 1), frameon=False, fontsize=8)
        save_figure(figure, folder / f"{column}.png")
    top = values.value_counts(normalize=True)
    spread = (shares.max() - shares.min()).sort_values(ascending=False)
    value = spread.index[0]
    least, most = shares[value].idxmin(), shares[value].idxmax()
    return Reading(
        f"{column}.png",
        title,
        f"The most frequent is {top.index[0]} ({percent(top.iloc[0])} of all images); the diagnoses differ most "
        f"in {value}, from {percent(shares.loc[least, value])} ({least}) to {percent(shares.loc[most, value])} "
        f"({most}). {lesson}",
    )


def _sizes(folder: Path, table: pd.DataFrame) -> Reading:
    counts = table["pixels"].value_counts().head(MANY)
    with styled(figsize=(7, 0.35 * len(counts) + 1.5)) as (figure, axes):
        axes.bar_label(axes.barh(counts.index, counts), padding=3)
        axes.invert_yaxis()
        axes.set(xlabel="images", ylabel="width x height in pixels", xlim=(0, counts.max() * 1.15))
        save_figure(figure, folder / "sizes.png")
    kinds = table["pixels"].nunique()
    if kinds == 1:
        text = f"All images have {counts.index[0]} pixels, so the size says nothing about the diagnosis."
    else:
        by_class = table.groupby("dx")["pixels"].agg(lambda sizes: sizes.value_counts().index[0]).nunique()
        told = "the same" if by_class == 1 else "not the same, so the size could reveal a diagnosis,"
        text = (
            f"The images come in {kinds} sizes; {percent(counts.iloc[0] / len(table))} have {counts.index[0]} "
            f"pixels. The most frequent size is {told} in every diagnosis."
        )
    return Reading("sizes.png", "Original size of the images", text)


def _missing(folder: Path, table: pd.DataFrame) -> Reading:
    missing = pd.DataFrame({"age": table["age"].isna()} | {name: table[name] == "unknown" for name in TEXT_COLUMNS})
    shares = missing.groupby(table["dx"]).mean().loc[by_frequency(table)]
    with styled(figsize=(6.5, 0.45 * len(shares) + 1.5)) as (figure, axes):
        image = axes.imshow(
            100 * shares, cmap="Oranges", vmin=0, vmax=max(5, 100 * shares.to_numpy().max()), aspect="auto"
        )
        _write_cells(axes, 100 * shares, "{:.1f}")
        figure.colorbar(image, label="% of the images without a value")
        save_figure(figure, folder / "missing.png")
    worst = missing.mean().sort_values(ascending=False)
    return Reading(
        "missing.png",
        "Missing values",
        f"{missing.any(axis=1).sum()} of {len(table)} images lack at least one value, most often {worst.index[0]} "
        f'({100 * worst.iloc[0]:.1f} %). Nothing is filled in: an unknown age is null, and unknown text is "unknown".',
    )


def _write_cells(axes: Axes, values: pd.DataFrame, form: str) -> None:
    for row, column in np.ndindex(values.shape):
        value = values.iloc[row, column]
        color = "white" if value > 0.6 * values.to_numpy().max() and value > 0 else "black"
        axes.text(column, row, form.format(value), ha="center", va="center", color=color)
    axes.set_xticks(range(values.shape[1]), values.columns)
    axes.set_yticks(range(values.shape[0]), values.index)
    axes.spines[:].set_visible(False)
