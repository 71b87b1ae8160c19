"""The ISIC Archive's own form of metadata: which of its diagnoses are which of HAM10000's classes.

The Archive's website, `isic-cli` and its API describe every collection alike: a tree of diagnoses in the columns
`diagnosis_1` to `diagnosis_5`, or in older tables one column `diagnosis`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable

import pandas as pd

LEVELS = tuple(f"diagnosis_{level}" for level in (5, 4, 3, 2, 1))  # the most specific first
DERMOSCOPIC = "dermoscopic"
NONE_STATED = "none stated"  # why an image without a diagnosis is left out

# The Archive's names of any level, in lower case, also those of its older tables. A lesion takes the class of its most
# specific name that is listed here; with none of them it is outside HAM10000's classes.
ISIC_DIAGNOSES = {
    # Every kind of nevus, as in HAM10000: blue, Spitz, Reed, congenital, acral and so on lie below this name.
    "nevus": "nv",
    "nevus spilus": "nv",
    # Invasive, in situ and metastatic: MILK10k's own ground truth puts all three into MEL.
    "malignant melanocytic proliferations (melanoma)": "mel",
    "melanoma": "mel",
    "melanoma metastasis": "mel",
    "basal cell carcinoma": "bcc",
    # HAM10000's akiec is actinic keratosis and intraepithelial carcinoma (Bowen's disease). Invasive squamous cell
    # carcinoma and keratoacanthoma are another class in MILK10k and none in HAM10000.
    "solar or actinic keratosis": "akiec",
    "actinic keratosis": "akiec",
    "squamous cell carcinoma in situ": "akiec",
    # HAM10000's bkl: seborrheic keratosis, solar lentigo and lichen-planus-like keratosis; its own images carry the
    # collective name. MILK10k's ground truth adds clear cell acanthoma and ink-spot lentigo, a kind of solar lentigo.
    "pigmented benign keratosis": "bkl",
    "seborrheic keratosis": "bkl",
    "solar lentigo": "bkl",
    "ink-spot lentigo": "bkl",
    "lichen planus like keratosis": "bkl",
    "lichenoid keratosis": "bkl",
    "clear cell acanthoma": "bkl",
    # Only dermatofibroma proper, not all fibro-histiocytic proliferations.
    "dermatofibroma": "df",
    # Angioma, angiokeratoma and pyogenic granuloma. HAM10000's own images have no name below the first of these.
    "benign soft tissue proliferations - vascular": "vasc",
    "vascular lesion": "vasc",
    "hemangioma": "vasc",
    "angioma": "vasc",
    "angiokeratoma": "vasc",
    "pyogenic granuloma": "vasc",
}


def is_archive_form(columns: Collection[str]) -> bool:
    """Whether a table with these `columns` is the Archive's metadata."""
    return "isic_id" in columns and not {"diagnosis_1", "diagnosis"}.isdisjoint(columns)


def class_of(names: Iterable[str]) -> str | None:
    """The class of a lesion from its `names`, the most specific first; None if it is outside HAM10000's."""
    return next((ISIC_DIAGNOSES[name.lower()] for name in names if name.lower() in ISIC_DIAGNOSES), None)


def diagnoses_of(table: pd.DataFrame) -> list[str]:
    """For each row of the Archive's `table` (of strings) its class, or its own most specific name if it has none; "" if
    the Archive states no diagnosis."""
    levels = [name for name in (*LEVELS, "diagnosis") if name in table]
    named = [[name.strip() for name in row if name.strip()] for row in table[levels].itertuples(index=False)]
    return [class_of(names) or (names[0] if names else "") for names in named]
