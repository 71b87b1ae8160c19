"""training.json as the card needs it: a whole record of a training, and the labels of the model's config."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal, NotRequired

from pydantic import AfterValidator, Field
from typing_extensions import TypedDict

from lesions.output.files import Number, check_form, read_json
from lesions.run_folder import RECORD, Data, Decision, record_of

Size = Annotated[list[int], Field(min_length=2, max_length=2)]


class Settings(TypedDict):
    optim: str
    learning_rate: Number
    lr_scheduler_type: str
    weight_decay: Number
    layer_decay: Number
    per_device_train_batch_size: int
    gradient_accumulation_steps: int
    seed: int
    mixing: Number
    label_smoothing_factor: NotRequired[Number]
    low_epochs: Number
    low_side: int
    side: NotRequired[int]
    distillation: str
    distillation_alpha: Number


def _has_train(counts: dict[str, int]) -> dict[str, int]:
    if "train" not in counts:
        raise ValueError("it says nothing of the split train")
    return counts


Counts = Annotated[dict[str, int], AfterValidator(_has_train)]


class WholeData(Data):
    n_images: Counts
    n_lesions: Counts
    picture_size: Size
    one_size: NotRequired[bool]
    searched: NotRequired[bool]
    lesions_merged: int | None
    no_lesion_id: NotRequired[int | None]


class Weights(TypedDict):
    scheme: str | dict[str, Number] | None
    weights: dict[str, Number]


class Fitted(TypedDict):
    log_loss: Number
    balanced_accuracy: Number | None
    f1_macro: Number | None


class WholeDecision(Decision):
    aim: Literal["balanced", "f1", "accuracy", "none"]
    tau: Number
    before: Fitted
    after: Fitted


class Earlier(TypedDict):
    dataset: WholeData
    settings: Settings
    epochs: NotRequired[Number]
    seconds: NotRequired[Number | None]
    teacher: NotRequired[list[str] | None]


class WholeRecord(TypedDict):
    dataset: WholeData
    settings: Settings
    architecture: str
    parameters: int
    train_counts: dict[str, int]
    class_weights: Weights
    teacher: list[str]
    precision: str
    processes: int
    versions: dict[str, str]
    earlier: NotRequired[Earlier | None]
    decision: NotRequired[WholeDecision | None]


class Finished(WholeRecord):
    """What the end of a training adds."""

    epochs: Number
    steps: int
    seconds: NotRequired[Number | None]
    hardware: str
    chosen_by: str | None
    best: dict[str, Number | None] | None


class Config(TypedDict):
    id2label: dict[Annotated[str, Field(pattern=r"^[0-9]+$")], str]


def read_labels(run: Path) -> list[str]:
    """The labels of the model, from its config.json. Raises InputError if that does not hold them."""
    numbered = read_json(run / "config.json", Config, "the config of a classifier; train again")["id2label"]
    return [numbered[number] for number in sorted(numbered, key=int)]


def read_training(run: Path, labels: list[str]) -> dict[str, Any] | None:
    """The record of the training of the model in `run`, with these `labels`; None if it has none. Raises InputError if
    it lacks what a card says."""
    record = record_of(run, labels)
    if record is not None:
        form = Finished if record["status"] == "finished" else WholeRecord
        check_form(record, form, f"{run / RECORD} is not a whole record of train.py; write it again, or remove it")
    return record
