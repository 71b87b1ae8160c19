"""One style for every figure."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
from matplotlib.figure import Figure

from lesions.output.files import whole_file

STYLE: Any = {
    **{"font.size": 10, "axes.titlesize": 11, "axes.spines.top": False, "axes.spines.right": False},
    "text.parse_math": False,  # a label or the name of a data set may hold a dollar sign
}


@contextmanager
def styled(**subplots: Any) -> Iterator[tuple[Figure, Any]]:
    """A figure in the project's style, and its axes: `plt.subplots(**subplots)`."""
    with plt.rc_context(STYLE):
        yield plt.subplots(**subplots)


def save_figure(figure: Figure, path: Path) -> None:
    """Writes the figure, whole or not at all, and lets go of it."""
    with whole_file(path) as partial:
        figure.savefig(partial, dpi=150, bbox_inches="tight")
    plt.close(figure)
