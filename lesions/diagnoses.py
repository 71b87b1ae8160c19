"""Diagnoses of skin lesions: the one place for their codes, names, order, and which of them are malignant."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lesions.faults import InputError
from lesions.output.plain_text import in_short

LONGEST_DIAGNOSIS, MOST_LABELS = 100, 100_000  # characters: figures, cards and messages show it


@dataclass(frozen=True)
class Diagnosis:
    """One diagnosis, under the code that a data set gives it; in capitals the code is a column of the ISIC files."""

    code: str
    name: str
    malignant: bool


# In the column order of the official ISIC 2018 Task 3 files. HAM10000 files actinic keratosis and intraepithelial
# carcinoma together. Like the challenge's organizers we count them as malignant, and actinic keratosis alone too.
DIAGNOSES = (
    Diagnosis("mel", "Melanoma", malignant=True),
    Diagnosis("nv", "Melanocytic nevus", malignant=False),
    Diagnosis("bcc", "Basal cell carcinoma", malignant=True),
    Diagnosis("akiec", "Actinic keratosis / intraepithelial carcinoma", malignant=True),
    Diagnosis("bkl", "Benign keratosis-like lesion", malignant=False),
    Diagnosis("df", "Dermatofibroma", malignant=False),
    Diagnosis("vasc", "Vascular lesion", malignant=False),
)
CODES = tuple(sorted(diagnosis.code for diagnosis in DIAGNOSES))  # the label order of HAM10000 and of models of it
# Of ISIC 2019 (ak, scc), PAD-UFES-20 (ack, nev, sek) and MILK10k (the rest).
OTHER_CODES = (
    Diagnosis("ak", "Actinic keratosis", malignant=True),
    Diagnosis("scc", "Squamous cell carcinoma", malignant=True),
    Diagnosis("ack", "Actinic keratosis", malignant=True),
    Diagnosis("nev", "Nevus", malignant=False),
    Diagnosis("sek", "Seborrheic keratosis", malignant=False),
    Diagnosis("sccka", "Squamous cell carcinoma / keratoacanthoma", malignant=True),
    Diagnosis("ben_oth", "Other benign lesion", malignant=False),
    Diagnosis("mal_oth", "Other malignant lesion", malignant=True),
    Diagnosis("inf", "Inflammatory or infectious lesion", malignant=False),
)
BY_CODE = {diagnosis.code: diagnosis for diagnosis in (*DIAGNOSES, *OTHER_CODES)}

# Names besides those above: of the ISIC Archive, and common ones. Diagnoses that the archive calls indeterminate
# (atypical melanocytic proliferation, atypical Spitz tumor) are in none of the lists.
MELANOMAS = """melanoma; malignant melanoma; melanoma in situ; in situ melanoma; melanoma invasive; invasive melanoma;
    melanoma metastasis; metastatic melanoma; lentigo maligna; lentigo maligna melanoma; nodular melanoma; superficial
    spreading melanoma; superficial spreading melanoma ssm; melanoma acral lentiginous; acral lentiginous melanoma;
    amelanotic melanoma"""
OTHER_MALIGNANT = """malignant; malignant other; other malignant; skin cancer; basal cell carcinoma; basalioma; actinic
    keratosis; solar keratosis; solar or actinic keratosis; intraepithelial carcinoma; bowen disease; squamous cell
    carcinoma; squamous cell carcinoma in situ; invasive squamous cell carcinoma; keratoacanthoma; merkel cell
    carcinoma; sebaceous carcinoma; porocarcinoma; kaposi sarcoma; angiosarcoma; dermatofibrosarcoma protuberans;
    cutaneous lymphoma; cutaneous t cell lymphoma; mycosis fungoides; extramammary paget disease; malignant epidermal;
    malignant dermal; malignant cutaneous lymphoma; basal cell carcinoma superficial; basal cell carcinoma nodular;
    basal cell carcinoma morpheiform; solid cystic basal cell carcinoma; metastatic carcinoma; collision at least one
    malignant proliferation"""
BENIGN = """benign; benign other; other benign; nevus; mole; melanocytic nevus; benign melanocytic nevus; common nevus;
    atypical nevus; dysplastic nevus; clark nevus; blue nevus; spitz nevus; reed nevus; congenital nevus; acral nevus;
    combined nevus; recurrent nevus; halo nevus; nevus spilus; dermal nevus; compound nevus; junctional nevus; benign
    keratosis; benign keratosis like lesion; pigmented benign keratosis; seborrheic keratosis; lichenoid keratosis;
    lichen planus like keratosis; solar lentigo; ink spot lentigo; lentigo; lentigo nos; lentigo simplex; clear cell
    acanthoma; acanthoma; porokeratosis; dermatofibroma; vascular; vascular lesion; hemangioma; angioma; cherry angioma;
    angiokeratoma; pyogenic granuloma; hemorrhage; fibrous papule; angiofibroma; angiofibroma or fibrous papule;
    acrochordon; skin tag; neurofibroma; lipoma; scar; sebaceous hyperplasia; trichoblastoma; supernumerary nipple;
    juvenile xanthogranuloma; xanthogranuloma; verruca; wart; molluscum; molluscum contagiosum; mucosal melanosis;
    mucosal melanotic macule; melanosis; cafe au lait macule; cyst; epidermal cyst; infundibular or epidermal cyst;
    inflammatory or infectious disease; collision only benign proliferation; eczema; psoriasis; lichen planus; rosacea;
    benign epidermal; benign dermal; benign melanocyte; non neoplastic; inflammatory; genodermatosis; verruca vulgaris;
    keloid; seborrheic keratosis irritated; granuloma pyogenic; lupus erythematosus; nevocytic nevus; epidermal nevus;
    becker nevus; nevus sebaceous of jadassohn; reed or spitz nevus; atypical spindle cell nevus of reed"""

# What may follow a name, after a comma or in brackets, and change nothing. Any other word may deny it.
KINDS = """nos acral alm amelanotic and associated atypical balloon bap basosquamous blue cell cellular clark combined
    common compound congenital deficient dermal desmoplastic disease dysplastic flat halo hereditary hypomelanotic in
    infiltrating infiltrative infundibulocystic invasive irritated junctional keratotic lentiginous less lmm melanocytic
    metastatic micronodular mm more morpheaform morpheiform mucosal nm nodular nevoid of or palmar papillomatous
    persistent pigmented plantar primary recurrent reed sclerosing situ skin solid spilus spindle spitz spitzoid
    spreading ssm superficial than thick thin to traumatized type ulcerated verrucous with"""
DOUBT = re.compile(r"\?|[(\[]\W*[)\]]")  # `melanoma?`, `melanoma (-)`


def _normal(label: str) -> str:
    """One spelling of what is written in many: lower case, singular, American, words with one blank between them."""
    letters = unicodedata.normalize("NFKD", label.casefold()).replace("'", "")
    text = "".join(letter for letter in letters if not unicodedata.combining(letter))
    text = text.replace("naev", "nev").replace("rrhoe", "rrhe").replace("haem", "hem").replace("tumour", "tumor")
    words = []
    for word in re.findall(r"[^\W_]+", text):  # of any script: `non` may be written in another than `melanoma`
        word = {"nevi": "nevus", "lentigines": "lentigo", "verrucae": "verruca"}.get(word, word)
        word = re.sub(r"oses$", "osis", word)
        words.append(word[:-1] if len(word) > 3 and re.search(r"[^uis]s$", word) else word)
    return " ".join(words)


def _normal_names(text: str, codes: Iterable[Diagnosis]) -> set[str]:
    codes = list(codes)
    names = [*text.split(";"), *(one.code for one in codes), *(one.name for one in codes)]
    return {_normal(name) for name in names}


_MELANOMAS = _normal_names(MELANOMAS, [BY_CODE["mel"]])
_MALIGNANT = _MELANOMAS | _normal_names(OTHER_MALIGNANT, (one for one in BY_CODE.values() if one.malignant))
_KINDS = set(_normal(KINDS).split())
_BENIGN = _normal_names(BENIGN, (one for one in BY_CODE.values() if not one.malignant))


def _known_as(label: str) -> str:
    """The normal spelling under which `label` is known; without what follows a comma or bracket if need be, where that
    names a kind of it, or says the same again. Unlike `nevus (malignant)` or `melanoma (ruled out)`."""
    parts = [_normal(part) for part in re.split(r"[,(\[]", label)]
    for count in range(0 if DOUBT.search(label) else len(parts), 0, -1):
        known = " ".join(parts[:count]).strip()
        for names in (_MALIGNANT, _BENIGN):
            if known in names:
                return known if all(part in names or _is_kind(part) for part in parts[count:]) else label
    return label


def _is_kind(text: str) -> bool:
    words = {word for word in text.split() if not word.isdecimal()}  # beside the numbers of a thickness
    return bool(words) and words <= _KINDS


def name_of(label: str) -> str:
    """The full name of a diagnosis that is given by its code; any other label unchanged."""
    diagnosis = BY_CODE.get(label.lower())
    return diagnosis.name if diagnosis else label


def name_and_code(label: str, quote: str = "") -> str:
    """The full name of a diagnosis with its code in brackets and between `quote`s; any other label unchanged."""
    return f"{name} ({quote}{label}{quote})" if (name := name_of(label)) != label else label


def isic_order(labels: Iterable[str]) -> list[str]:
    """`labels` in the column order of the ISIC files; labels that ISIC 2018 does not have come last."""
    places = {diagnosis.code: number for number, diagnosis in enumerate(DIAGNOSES)}
    return sorted(labels, key=lambda label: (places.get(label.lower(), len(places)), label))


def is_malignant(label: str) -> bool | None:
    """Whether `label`, a code or a name in any case, is malignant; None if that is not known."""
    known = _known_as(label)
    return True if known in _MALIGNANT else False if known in _BENIGN else None


def melanomas_among(labels: Iterable[str]) -> list[str]:
    """Those of `labels` that are melanoma."""
    return [label for label in labels if _known_as(label) in _MELANOMAS]


def malignant_among(labels: Sequence[str], named: Sequence[str] | None = None) -> list[str] | None:
    """Those of `labels` that are malignant: the ones that the user `named`, otherwise the known ones. None if some
    label is not known to be either; `why_unknown` says which.

    Raises InputError if a named one is not among the labels.
    """
    if named is not None:
        if strange := sorted(set(named) - set(labels)):
            raise InputError(f"--malignant {in_short(strange)}: not among the labels, which are {in_short(labels)}")
        return [label for label in labels if label in set(named)]
    answers = {label: is_malignant(label) for label in labels}
    return None if None in answers.values() else [label for label, answer in answers.items() if answer]


def why_unknown(labels: Iterable[str]) -> str:
    """Why `labels` have no malignant-or-not answer, and what to do."""
    unknown = in_short(label for label in labels if is_malignant(label) is None)
    return f"whether these labels are malignant is not known: {unknown}. Name the malignant labels with --malignant"


def targets_of(labels: Sequence[str], malignant: Sequence[str] | None = None) -> dict[str, list[str]]:
    """The labels of each target. `malignant` are those that the user named; if it is not known which labels are
    malignant, the target `malignant` is left out."""
    known = malignant_among(labels, malignant)
    return {"melanoma": melanomas_among(labels), **({} if known is None else {"malignant": known})}


def labels_of(point: Mapping[str, Any]) -> list[str]:
    """The labels whose probabilities an operating point adds up; a run of an earlier version knew HAM10000's only."""
    return point["labels"] if "labels" in point else targets_of(CODES)[point["target"]]


def with_malignant(record: dict[str, Any], labels: Sequence[str], named: Sequence[str] | None) -> dict[str, Any]:
    """The `record` of a run with these `labels`, if the user `named` the malignant ones: without the operating points
    of others, since a threshold holds for the labels that it was chosen for. Raises InputError as `malignant_among`."""
    if named is None:
        return record
    malignant = malignant_among(labels, named)
    points = [
        point
        for point in record.get("operating_points") or []
        if point["target"] != "malignant" or set(labels_of(point)) == set(malignant or [])
    ]
    return {**record, "malignant": malignant, "operating_points": points}


def unusable_names(names: Sequence[object]) -> dict[str, list[str]]:
    """The names of a data set's labels that can't be shown, by what is wrong with them."""
    texts = [name for name in names if isinstance(name, str)]
    return {
        f"beyond the first {MOST_LABELS}": [f"{len(names) - MOST_LABELS} names"] if len(names) > MOST_LABELS else [],
        "that is not text": [repr(name) for name in names if not isinstance(name, str)],
        "that is empty": [repr(name) for name in texts if not name.strip()],
        f"of over {LONGEST_DIAGNOSIS} characters": [f"{name[:20]}…" for name in texts if len(name) > LONGEST_DIAGNOSIS],
    }
