"""The seven diagnoses of HAM10000: the one place for their codes, names and order."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class Diagnosis:
    """One diagnosis, under the code that HAM10000 gives it (`dx`); in capitals it is a column of the ISIC files."""

    code: str
    name: str
    malignant: bool


# In the column order of the official ISIC 2018 Task 3 files. HAM10000 files actinic keratosis and
# intraepithelial carcinoma together; like the challenge's own organizers we count them as malignant.
DIAGNOSES = (
    Diagnosis("mel", "Melanoma", malignant=True),
    Diagnosis("nv", "Melanocytic nevus", malignant=False),
    Diagnosis("bcc", "Basal cell carcinoma", malignant=True),
    Diagnosis("akiec", "Actinic keratosis / intraepithelial carcinoma", malignant=True),
    Diagnosis("bkl", "Benign keratosis-like lesion", malignant=False),
    Diagnosis("df", "Dermatofibroma", malignant=False),
    Diagnosis("vasc", "Vascular lesion", malignant=False),
)
BY_CODE = {diagnosis.code: diagnosis for diagnosis in DIAGNOSES}

# The label order of the data set and of every model trained on it.
CODES = tuple(sorted(BY_CODE))


def name_of(code: str) -> str:
    """The full name of a diagnosis, or the code itself if HAM10000 does not have it."""
    return BY_CODE[code].name if code in BY_CODE else code


def isic_order(labels: Iterable[str]) -> list[str]:
    """`labels` in the column order of the ISIC files; labels that ISIC 2018 does not have come last."""
    known = list(BY_CODE)
    return sorted(labels, key=lambda code: (known.index(code) if code in BY_CODE else len(known), code))
