"""Figures of the images themselves: their brightness and color, and examples of each diagnosis."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import pandas as pd
from tqdm import tqdm

from lesions.data.exploration.reading import Reading, by_frequency
from lesions.images import open_image
from lesions.plotting import save_figure, styled

EXAMPLES = 8  # images of each diagnosis in the grid
SAMPLED = 300  # images of each diagnosis whose brightness and color are measured

ReadImages = Callable[[Iterable[str]], dict[str, bytes]]


def figures_of_images(folder: Path, table: pd.DataFrame, read_images: ReadImages) -> list[Reading]:
    """Writes the figures into `folder`; `read_images` gives the encoded images of some ids."""
    return [_colors(folder, table, read_images), _examples(folder, table, read_images)]


def _colors(folder: Path, table: pd.DataFrame, read_images: ReadImages) -> Reading:
    sampled: dict[str, str] = {}
    for dx, names in table.sort_values("image_id").groupby("dx")["image_id"]:
        sampled |= dict.fromkeys(names.iloc[:: max(1, len(names) // SAMPLED)], dx)
    rows = []
    for name, content in tqdm(read_images(sampled).items(), desc="measuring colors", unit="image"):
        with open_image(content) as image:
            image.draft("RGB", (64, 64))
            red, green, blue = np.asarray(image.convert("RGB").resize((32, 32))).reshape(-1, 3).mean(axis=0)
        rows.append((sampled[name], (red + green + blue) / 3, red - blue))
    means = pd.DataFrame(rows, columns=["dx", "brightness", "redness"])
    titles = {"brightness": "mean brightness (0 to 255)", "redness": "red minus blue (0 to 255)"}
    with styled(figsize=(10, 0.4 * means["dx"].nunique() + 2), ncols=2, sharey=True) as (figure, (left, right)):
        for axes, column in ((left, "brightness"), (right, "redness")):
            groups = [means.loc[means["dx"] == dx, column] for dx in by_frequency(table)]
            axes.boxplot(groups, orientation="horizontal", whis=(5, 95), sym="", medianprops={"color": "C1"})
            axes.set_yticks(range(1, len(groups) + 1), by_frequency(table))
            axes.set(xlabel=titles[column])
        left.invert_yaxis()
        save_figure(figure, folder / "colors.png")
    medians = means.groupby("dx")[["brightness", "redness"]].median()
    bright, red = medians["brightness"].sort_values(), medians["redness"].sort_values()
    return Reading(
        "colors.png",
        "Brightness and color",
        f"The median brightness runs from {bright.iloc[0]:.0f} ({bright.index[0]}) to {bright.iloc[-1]:.0f} "
        f"({bright.index[-1]}), the cast from blue to red from {red.iloc[0]:.0f} ({red.index[0]}) to "
        f"{red.iloc[-1]:.0f} ({red.index[-1]}). Camera and light differ between images of one diagnosis as well, so "
        "training varies brightness and color.",
    )


def _examples(folder: Path, table: pd.DataFrame, read_images: ReadImages) -> Reading:
    order, chosen = by_frequency(table), {}
    for dx in order:
        lesions = table[table["dx"] == dx].drop_duplicates("lesion_id").sort_values("lesion_id")["image_id"]
        chosen[dx] = lesions.iloc[np.linspace(0, len(lesions) - 1, min(EXAMPLES, len(lesions))).astype(int)]
    images = read_images(pd.concat(chosen.values()))
    side = 1.25  # inches
    with styled(figsize=(side * EXAMPLES + 1, side * len(order)), nrows=len(order), ncols=EXAMPLES) as (figure, grid):
        for dx, line in zip(order, np.reshape(grid, (len(order), EXAMPLES)), strict=True):
            for axes in line:
                axes.axis("off")
            for axes, name in zip(line, chosen[dx], strict=False):
                with open_image(images[name]) as image:
                    axes.imshow(image.resize((160, 160)))
            line[0].text(-0.1, 0.5, dx, transform=line[0].transAxes, ha="right", va="center")
        figure.subplots_adjust(wspace=0.03, hspace=0.03)
        save_figure(figure, folder / "examples.png")
    return Reading(
        "examples.png",
        "Examples",
        "One row per diagnosis. The lesions are taken at even steps through their ids, not by looks; each image is "
        "squeezed to a square. Look for what is not the lesion: hair, rulers, gel bubbles, ink or a dark frame. A "
        "model may learn these where they occur with one diagnosis.",
    )
