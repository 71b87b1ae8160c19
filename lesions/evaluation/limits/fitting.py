"""What a trained model can't know: fitted on the data that it was trained with, and stored with the run.

    python -m lesions.evaluation.limits RUN --dataset DATA

gives a finished run, without training again, its operating points and the thresholds of its prediction sets, chosen on
the validation split; and the distance from which an image is unlike the training images. It writes training.json and
familiarity.safetensors. evaluate_model.py measures all of these on other images.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lesions.faults import InputError, exits_cleanly

SAMPLED = 600  # training images of each diagnosis, at most, that familiarity is fitted on


@dataclass
class LimitsOptions:
    """The options of the command."""

    dataset: str = field(metadata={"help": "the prepared data set that the run was trained on, or its Hub id"})
    batch_size: int = field(default=16, metadata={"help": "images per forward pass (default: %(default)s)"})
    malignant: list[str] | None = field(
        default=None,
        metadata={"help": "the malignant labels (default: those that the run was trained with)", "metavar": "LABEL"},
    )


def store_limits(run: Path, dataset: str, batch_size: int = 16, malignant: list[str] | None = None) -> None:
    """Fits the limits of the run and stores them in it. `malignant` are the labels that the user calls so; without
    them, those that the run was trained with.

    Raises InputError where `run` is not a run folder, or was trained on other data.
    """
    from lesions.output.files import write_json
    from lesions.output.places import alone, check_writable
    from lesions.run_folder import RECORD, record_of

    record = record_of(run)
    if not record:
        raise InputError(f"{run} has no {RECORD}, so it is not a run folder. Give the --output_dir of train.py")
    check_writable(run)
    with alone(run / RECORD):  # a training that still runs would write the same file
        write_json(run / RECORD, {**record, **_fit(run, record, dataset, batch_size, malignant)})


def _fit(
    run: Path, record: dict[str, Any], dataset: str, batch_size: int, malignant: list[str] | None
) -> dict[str, Any]:
    """Stores the familiarity in `run`, and returns what the record says of all limits."""
    import numpy as np

    from lesions.dataset import dataset_fingerprint, load_splits
    from lesions.diagnoses import malignant_among
    from lesions.evaluation.prediction import Predictor
    from lesions.metrics import conformal
    from lesions.model.familiarity import Familiarity, choose_threshold
    from lesions.training.thresholds import choose_thresholds

    splits = load_splits(dataset, "train", "validation")
    if record["dataset_fingerprint"] != dataset_fingerprint(splits, "validation"):
        raise InputError(f"{run} was trained on other data, or on a different split, than {dataset}; give its own")
    predictor = Predictor(run, with_features=True, malignant=malignant)
    labels, named = predictor.labels, predictor.record.get("malignant")
    truth = predictor.truth_of(splits["validation"], dataset)
    validation = predictor.probabilities(splits["validation"], batch_size, task="validation split")
    lesions = np.array(splits["validation"]["lesion_id"])
    numbers, random = np.array(splits["train"]["label"]), np.random.default_rng(0)
    sampled = [random.permutation(np.flatnonzero(numbers == number))[:SAMPLED] for number in np.unique(numbers)]
    rows = splits["train"].select(np.sort(np.concatenate(sampled)))
    training = predictor.probabilities(rows, batch_size, task="training split")
    familiarity = Familiarity.fit(training.features)
    familiarity.save(run)
    return {
        "malignant": malignant_among(labels, named),
        "operating_points": choose_thresholds(validation.probabilities, truth, labels, named),
        "prediction_sets": conformal.choose_thresholds(validation.probabilities, truth, lesions, labels),
        "familiarity": choose_threshold(familiarity.distance(validation.features)),
    }


@exits_cleanly
def main() -> None:
    from lesions.options import OptionParser

    parser = OptionParser(LimitsOptions, prog="python -m lesions.evaluation.limits", description=__doc__)
    parser.add_argument("run", type=Path, help="the folder of a finished run of train.py")
    options, rest = parser.parse()
    if options.batch_size < 1:
        parser.error("--batch_size must be at least 1")
    store_limits(rest.run, options.dataset, options.batch_size, options.malignant)
    print(f"{rest.run} holds its limits. Next:")
    print(f"  python evaluate_model.py --model {rest.run} --dataset {options.dataset} --split test")
