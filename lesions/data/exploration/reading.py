"""What a figure of the data says, and the small things that all figures need."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd


@dataclass(frozen=True)
class Reading:
    """One figure and what it says, in plain text that may hold names from the data."""

    file: str
    title: str
    text: str


def percent(share: float) -> str:
    """A share in [0, 1] as whole per cent."""
    return f"{100 * share:.0f} %"


def by_frequency(table: pd.DataFrame) -> list[str]:
    """The diagnoses of `table`, the most frequent first."""
    return list(table["dx"].value_counts().index)
