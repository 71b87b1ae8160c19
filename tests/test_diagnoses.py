"""Labels of other data sets than HAM10000: what is malignant, and what nobody can say."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from conftest import SHARED, at_hand

from lesions.diagnoses import (
    CODES,
    is_malignant,
    isic_order,
    malignant_among,
    melanomas_among,
    name_of,
    why_unknown,
)  # fmt: skip
from lesions.faults import InputError
from lesions.report.console import describe_image

ISIC_2019 = ["AK", "BCC", "BKL", "DF", "MEL", "NV", "SCC", "VASC"]


def test_isic_2019() -> None:
    assert malignant_among(ISIC_2019) == ["AK", "BCC", "MEL", "SCC"]
    assert malignant_among([label.lower() for label in ISIC_2019]) == ["ak", "bcc", "mel", "scc"]
    assert malignant_among(CODES) == ["akiec", "bcc", "mel"]
    assert malignant_among([*ISIC_2019, "UNK"]) is None and "UNK" in why_unknown([*ISIC_2019, "UNK"])
    assert name_of("SCC") == "Squamous cell carcinoma" and name_of("ak") == "Actinic keratosis"
    assert isic_order(["scc", "vasc", "ak", "mel"]) == ["mel", "vasc", "ak", "scc"]


@pytest.mark.parametrize(
    "label",
    ["Squamous Cell Carcinoma", "SCCKA", "MAL_OTH", "Bowen's disease", "actinic_keratoses", "Melanoma (in situ)",
     "basal-cell carcinoma", "Solar or actinic keratosis", "MELANOMA", "Malignant", "Melanoma Invasive, Nodular",
     "Melanoma (MEL)", "melanoma (less than 0.76 mm)", "Squamous cell carcinoma in situ, Bowens disease",
     "Malignant Epidermal", "basal-cell-carcinoma-superficial", "nodular-melanoma-(nm)"],
)  # fmt: skip
def test_malignant_in_any_spelling(label: str) -> None:
    assert is_malignant(label) is True


@pytest.mark.parametrize(
    "label",
    ["Naevus", "melanocytic nevi", "Nevus, NOS, Compound", "seborrhoeic keratosis", "Seborrheic Keratoses", "BEN_OTH",
     "Haemangioma", "lentigo NOS", "Lichen planus-like keratosis", "Café-au-lait macule", "Vascular Lesions", "benign",
     "Pigmented Benign Keratosis", "warts", "NEV", "SEK", "INF",
     "Common Nevus", "NV [melanocytic nevus]", "Nevus, Recurrent or persistent", "Nevus, BAP-1 deficient",
     "non-neoplastic", "reed or spitz nevus", "genodermatoses"],
)  # fmt: skip
def test_benign_in_any_spelling(label: str) -> None:
    assert is_malignant(label) is False


@pytest.mark.parametrize(
    "label",
    ["unknown", "other", "Indeterminate", "atypical melanocytic proliferation", "1", "", "nevus (malignant)",
     "Melanoma (absent)", "benign, not melanoma", "non-melanoma", "비melanoma", "비 nevus", "색소 (benign)",
     "Nevus, malignant transformation", "nevus (suspected melanoma)", "Melanoma, ruled out", "melanoma (false)",
     "melanoma (0)", "melanoma (-)", "melanoma?", "BKL, pre-malignant", "Nevus, suspicious", "melanoma (history of)"],
)  # fmt: skip
def test_what_nobody_can_say_is_not_called_benign(label: str) -> None:
    assert is_malignant(label) is None


def test_every_diagnosis_of_the_isic_archive_agrees_with_the_archive() -> None:
    """diagnosis_1 is the archive's own word. It calls actinic keratosis indeterminate, the challenges malignant."""
    folder = at_hand("MILK10k", "MILK10K_DIR", SHARED / "data" / "milk10k")
    table = pd.read_csv(Path(folder, "metadata.csv"))
    for column in ("diagnosis_3", "diagnosis_4"):
        named = table.dropna(subset=column).drop_duplicates(column)
        for label, said in zip(named[column], named["diagnosis_1"], strict=True):
            expected = {"Benign": False, "Malignant": True, "Indeterminate": True}[said]
            assert is_malignant(label) is expected, label


def test_melanoma_by_any_name() -> None:
    labels = ["Melanoma in situ", "nevus", "MEL", "melanoma metastasis", "bcc"]
    assert melanomas_among(labels) == ["Melanoma in situ", "MEL", "melanoma metastasis"]


def test_a_user_names_the_malignant_labels() -> None:
    labels = ["type one", "type two", "nv"]
    assert malignant_among(labels) is None
    assert malignant_among(labels, ["type two"]) == ["type two"]
    with pytest.raises(InputError, match="--malignant type three: not among the labels, which are type one, type two"):
        malignant_among(labels, ["type three"])


def test_an_image_is_not_called_benign_where_nobody_knows() -> None:
    answer = describe_image("a.jpg", np.array([[0.9, 0.1]]), ["nv", "other"], {})
    assert "Malignant? No answer: whether these labels are malignant is not known: other." in answer
    point = {"target": "malignant", "labels": ["scc"], "aim": "sensitivity", "level": 0.95, "threshold": 0.5,
             "validation": {"sensitivity": 0.95, "specificity": 0.6}}  # fmt: skip
    assert "Malignant? yes: 90.0 %" in describe_image(
        "a.jpg", np.array([[0.9, 0.1]]), ["scc", "nv"], {"operating_points": [point]}
    )
