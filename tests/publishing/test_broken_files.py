"""The files of a run, changed by somebody or cut off: one clear error that names the file, never a traceback."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
from in_process import in_process

from lesions.faults import InputError
from lesions.report.reading import read_report
from lesions.run_folder import record_of
from model_card.card import render_card

METRICS, RECORD, CONFIG = "evaluation/metrics.json", "training.json", "config.json"
REMOVED = object()
VALUES = (REMOVED, None, "x", -1, [], {}, True, [1], {"a": 1}, float("nan"))
EVERY = 97  # of the places that lie deep in a file, one is changed


def places(content: Any, place: tuple = ()) -> Iterator[tuple]:
    """The places of everything in nested dicts and lists."""
    items = content.items() if isinstance(content, dict) else enumerate(content) if isinstance(content, list) else ()
    for key, value in items:
        yield *place, key
        yield from places(value, (*place, key))


def with_change(content: Any, place: tuple, value: Any) -> str:
    """`content` as JSON, with `value` at `place`."""
    content = holder = deepcopy(content)
    for key in place[:-1]:
        holder = holder[key]
    if value is REMOVED:
        del holder[place[-1]]
    else:
        holder[place[-1]] = value
    return json.dumps(content)


@pytest.mark.parametrize("name", [METRICS, RECORD, CONFIG])
def test_any_change_gives_a_card_or_one_error_that_names_the_file(name: str, copy: Path) -> None:
    path = copy / name
    content = json.loads(path.read_text())
    deep = [place for place in places(content) if len(place) > 1]
    chosen = [(key,) for key in content] + deep[:: EVERY if len(deep) > 1000 else 9]
    errors = []
    for number, place in enumerate(chosen):
        for value in VALUES if len(place) == 1 and name == METRICS else VALUES[number % 3 :: 3]:
            path.write_text(with_change(content, place, value))
            try:
                render_card(copy)
            except InputError as error:
                errors.append(str(error))
    assert all(Path(name).name in error for error in errors)
    assert len(errors) > len(chosen) / 4 or name == CONFIG


@pytest.mark.parametrize("content", ["", "[]", "{}", "null", "3", '"x"', '{"a": NaN}', "[" * 100_000, "\ufeff{}", "\0",
                                     '{"a": ' + "9" * 5000 + "}"])  # fmt: skip
@pytest.mark.parametrize("name", [METRICS, RECORD, CONFIG])
def test_another_content_is_one_error_that_names_the_file(name: str, content: str, copy: Path) -> None:
    (copy / name).write_text(content)
    with pytest.raises(InputError, match=re.escape(Path(name).name)):
        render_card(copy)


@pytest.mark.parametrize("name", [METRICS, RECORD, CONFIG])
def test_a_name_given_twice_is_refused(name: str, copy: Path) -> None:
    content = json.loads((copy / name).read_text())
    again = next(iter(content.items()))
    (copy / name).write_text(f"{json.dumps(content)[:-1]}, {json.dumps(dict([again]))[1:]}")
    with pytest.raises(InputError, match=f"{re.escape(Path(name).name)} is not JSON \\({again[0]} is given twice"):
        render_card(copy)


@pytest.mark.parametrize(
    ("place", "value", "reason"),
    [
        (("metrics", "ece"), REMOVED, "its metrics are not accuracy, "),
        (("metrics", "ece", "low"), None, "metrics.ece: Value error, an interval has two ends"),
        (("metrics", "ece", "value"), "0.1", "metrics.ece.value: Input should be a valid number"),
        (("metrics", "ece", "value"), float("inf"), "is not JSON (Infinity is not a number in JSON)"),
        (("per_class", "mel"), REMOVED, "its parts are about different labels"),
        (("confusion_matrix", "counts"), [[1]], "a row and a column for each label"),
        (("operating_points", 0, "target"), "benign", "operating_points.0.target: Input should be 'melanoma'"),
        (("cohort", "by_diagnosis", "mel", "age"), REMOVED, "its cohort says other things of some diagnoses"),
        (("n_images",), "many", "n_images: Input should be a valid integer"),
    ],
)
def test_the_place_is_named(place: tuple, value: Any, reason: str, copy: Path) -> None:
    path = copy / METRICS
    path.write_text(with_change(json.loads(path.read_text()), place, value))
    with pytest.raises(InputError) as error:
        read_report(path)
    assert reason in str(error.value) and str(path) in str(error.value)


def test_metrics_of_an_earlier_version_are_taken(copy: Path) -> None:
    path = copy / METRICS
    report = json.loads(path.read_text())
    later = ("weights_sha256", "malignant", "prediction_sets", "unfamiliar")
    path.write_text(json.dumps({name: report[name] for name in report if name not in later}))
    assert "## Results" in render_card(copy)


@pytest.mark.parametrize(
    ("place", "value"),
    [
        (("decision", "bias"), [0.0]),
        (("decision", "temperature"), 0),
        (("malignant",), ["scc"]),
        (("operating_points", 0, "labels"), ["scc"]),
        (("operating_points", 0, "validation"), {}),
        (("prediction_sets", 0, "by_diagnosis", "mel"), REMOVED),
        (("prediction_sets", 0, "by_diagnosis", "mel", "threshold"), "0.1"),
        (("familiarity",), {"accepted": 0.99}),
        (("dataset", "title"), ["HAM10000"]),
    ],
)
def test_a_record_is_checked_before_the_model_answers(place: tuple, value: Any, copy: Path, sample: Path) -> None:
    path = copy / RECORD
    path.write_text(with_change(json.loads(path.read_text()), place, value))
    with pytest.raises(InputError, match=r"training\.json is (not a record|about other labels)"):
        record_of(copy, ["akiec", "bcc", "bkl", "df", "mel", "nv", "vasc"])


def test_the_commands_end_with_the_error(copy: Path, run: Path, sample: Path, tmp_path: Path) -> None:
    (copy / METRICS).write_text('{"dataset_fingerprint": null}')
    comparing = ("evaluate_model.py", "--compare", run, copy, "--output", tmp_path / "out")
    assert f"{copy / METRICS} is not what evaluate_model.py writes" in in_process(*comparing, check=2).stderr
    (copy / RECORD).write_text('{"status": "finished"}')
    measuring = ("evaluate_model.py", "--model", copy, "--dataset", sample, "--output", tmp_path / "out")
    assert f"{copy / RECORD} is not a record of train.py" in in_process(*measuring, check=2).stderr
    assert not (tmp_path / "out").exists()
