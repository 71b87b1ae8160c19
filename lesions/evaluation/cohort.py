"""Who and what was measured: reference standard, age, sex and site of the images, for a reader who judges the study."""

from __future__ import annotations

from typing import Any

import pandas as pd

from lesions.metrics.measured import Measured


def describe_cohort(measured: Measured) -> dict[str, Any]:
    """Of all images and of each diagnosis: `n_images`, `n_lesions`, and where they are known `age` (median and
    quartiles in years, and how many are unknown), `sex`, `confirmed_by` and `site` (images by value)."""
    parts = {label: measured.only(measured.truth == number) for number, label in enumerate(measured.labels)}
    return {
        "all": _describe(measured),
        "by_diagnosis": {label: _describe(part) for label, part in parts.items() if len(part)},
    }


def _describe(part: Measured) -> dict[str, Any]:
    rows = part.rows
    described: dict[str, Any] = {**part.counts()}
    if "age" in rows:
        known = rows["age"].dropna()
        low, median, high = (None if known.empty else float(known.quantile(q)) for q in (0.25, 0.5, 0.75))
        described["age"] = {"median": median, "quartiles": [low, high], "unknown": int(rows["age"].isna().sum())}
    for column, name in (("sex", "sex"), ("dx_type", "confirmed_by"), ("localization", "site")):
        if column in rows:
            described[name] = _by_value(rows[column])
    return described


def _by_value(values: pd.Series) -> dict[str, int]:
    counted = values.fillna("unknown").replace("", "unknown").value_counts()
    return {str(value): int(number) for value, number in counted.items()}
