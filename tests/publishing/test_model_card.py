"""The card: valid metadata, every section, and only what the run's files say."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from huggingface_hub import ModelCard
from in_process import in_process

from lesions.metrics.names import METRICS
from model_card.card import license_of, render_card


def test_metadata_survives_a_round_trip_through_the_hubs_own_classes(run: Path) -> None:
    data = ModelCard((run / "README.md").read_text()).data
    report = json.loads((run / "evaluation" / "metrics.json").read_text())
    assert (data.get("pipeline_tag"), data.get("library_name")) == ("image-classification", "transformers")
    assert data.license == "apache-2.0"  # of a model that was trained on drawings
    values = {result.metric_name: result.metric_value for result in data.eval_results}
    assert values == {METRICS[name][1]: figure["value"] for name, figure in report["metrics"].items()}
    assert {result.dataset_split for result in data.eval_results} == {"test"}


def test_metadata_has_documented_fields_only(run: Path) -> None:
    """The fields of https://huggingface.co/docs/hub/model-cards and of the model-index specification."""
    data = yaml.safe_load((run / "README.md").read_text().split("---\n")[1])
    assert set(data) <= {
        *("license", "library_name", "pipeline_tag", "tags", "datasets", "metrics", "base_model", "model-index"),
    }
    (index,) = data["model-index"]
    (result,) = index["results"]
    assert set(index) == {"name", "results"} and set(result) == {"task", "dataset", "metrics"}
    assert set(result["task"]) == {"type"} and set(result["dataset"]) <= {"name", "type", "split", "revision", "args"}
    assert all(set(metric) == {"type", "value", "name", "args"} for metric in result["metrics"])


def test_has_every_section_and_no_gap(run: Path) -> None:
    card = (run / "README.md").read_text()
    for section in ("Intended use", "Out of scope", "Data", "Training", "Results", "Limitations", "License"):
        assert f"\n## {section}\n" in card
    assert "More information needed" not in card and "None" not in card and "{{" not in card
    assert "evaluation/confusion_matrix.png" in card and "evaluation/roc_curves.png" in card
    tables = re.findall(r"(?:^\|.*\n)+", card, flags=re.MULTILINE)
    assert len(tables) == 14
    for table in tables:
        assert len({line.count("|") for line in table.splitlines()}) == 1, table


def test_numbers_come_from_the_files(copy: Path) -> None:
    path = copy / "evaluation" / "metrics.json"
    report = json.loads(path.read_text())
    report["metrics"]["accuracy"] = {"value": 0.12345, "low": 0.1, "high": 0.2}
    report["per_class"]["df"]["recall"] = 0.98765
    path.write_text(json.dumps(report))
    card = render_card(copy)
    assert "| **Accuracy** | 0.123 [0.100, 0.200] |" in card and "value: 0.12345" in card and "0.988" in card


def test_every_number_of_metrics_json_that_the_card_shows_is_read_from_it(copy: Path) -> None:
    """Every sixth number is changed on its own; all but the few that no reader needs change the card."""
    path = copy / "evaluation" / "metrics.json"
    report = json.loads(path.read_text())
    before, unread = render_card(copy), set()
    for place in list(numbers(report))[::6]:  # all of them would take half a minute
        holder = report
        for key in place[:-1]:
            holder = holder[key]
        value = holder[place[-1]]
        holder[place[-1]] = value + (1 if isinstance(value, int) else 0.011)
        path.write_text(json.dumps(report))
        if render_card(copy) == before:
            unread.add(place[0] if place[0] != "subgroups" else place[-1])
        holder[place[-1]] = value
    limits = {"prediction_sets", "unfamiliar"}
    assert unread <= {"calibration", "confusion_matrix", "operating_points", "selective", "gaps", "cohort"} | limits, (
        unread
    )


def numbers(content: object, place: tuple = ()) -> Iterator[tuple]:
    """The places of all numbers in nested dicts and lists."""
    items = content.items() if isinstance(content, dict) else enumerate(content) if isinstance(content, list) else ()
    for key, value in items:
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            yield *place, key
        yield from numbers(value, (*place, key))


def test_says_how_it_was_trained_and_what_was_folded_into_the_head(copy: Path) -> None:
    path = copy / "training.json"
    record = json.loads(path.read_text())
    assert "bias for each class" not in render_card(copy) and "temperature" in render_card(copy)
    record["decision"] |= {"aim": "f1", "tau": 0.35, "temperature": 1.234}
    record["settings"] |= {"mixing": 0.25, "low_epochs": 4.0, "low_side": 48, "layer_decay": 0.75}
    record["settings"] |= {"label_smoothing_factor": 0.1}
    record["teacher"] = ["you/teacher", "you/other"]
    assert "label smoothing" not in render_card(copy)
    path.write_text(json.dumps(record))
    card = render_card(copy)
    assert "with label smoothing 0.1" in card
    assert "temperature 1.234, and a bias for each class, -0.35 times" in card and "for the best Macro-F1" in card
    assert "mixup or CutMix in 25 % of the batches" in card and "layer-wise decay 0.75" in card
    assert "The first 4 epochs used images of 48 x 48 pixels" in card
    assert "the teachers `you/teacher`, `you/other` (hard distillation, 50 %" in card
    assert "](training_curves.png)" in card and "enlarged" not in card
    record["settings"]["side"] = 2 * max(record["dataset"]["picture_size"])
    path.write_text(json.dumps(record))
    assert "to the {side} x {side} that".format(**record["settings"]) in render_card(copy)


def test_a_run_that_went_on_from_an_unfinished_one_has_a_card(copy: Path) -> None:
    record = json.loads((copy / "training.json").read_text())
    end = ("epochs", "steps", "seconds", "best", "chosen_by", "history", "decision", "hardware")
    unfinished = {name: value for name, value in record.items() if name not in end} | {"status": "running"}
    (copy / "training.json").write_text(json.dumps(record | {"earlier": unfinished}))
    assert "- Run 1 of 2, with the same validation and test images: over " in render_card(copy)


def test_melanomas_of_several_labels_are_not_counted_by_one_of_them(copy: Path) -> None:
    record = json.loads((copy / "training.json").read_text())
    record["dataset"] |= {"drawn": False}
    (copy / "training.json").write_text(json.dumps(record))
    report = json.loads((copy / "evaluation" / "metrics.json").read_text())
    (copy / "evaluation-clinic").mkdir()
    (copy / "evaluation-clinic" / "metrics.json").write_text(json.dumps(report | {"split": "clinic"}))
    found = f"of {report['per_class']['mel']['support']}"
    card = render_card(copy)
    assert f"{found} images, at a specificity" in card and f"{found} | " in card
    rename_vasc(copy, "melanoma in situ")
    (copy / "evaluation-clinic" / "metrics.json").write_text(
        json.dumps(json.loads((copy / "evaluation" / "metrics.json").read_text()) | {"split": "clinic"})
    )
    card = render_card(copy)
    assert "## External tests" in card and "Melanomas found" not in card and f"{found} | " not in card


HAM10000 = "cc-by-nc-4.0"


@pytest.mark.parametrize(
    ("own", "before", "license_", "also"),
    [
        ("Clinic", "HAM10000", None, True),  # the release, trained further on data of somebody's own
        ("HAM10000", "Clinic", None, True),
        ("Synthetic", "HAM10000", HAM10000, True),
        ("HAM10000", "Synthetic", HAM10000, False),
        ("HAM10000", "HAM10000", HAM10000, False),
        ("Synthetic", "Synthetic", "apache-2.0", False),
    ],
)
def test_what_the_runs_before_learned_from_counts_too(
    own: str, before: str, license_: str | None, also: bool, copy: Path
) -> None:
    path = copy / "training.json"
    record = json.loads(path.read_text())

    def of(title: str) -> dict:
        about = {**record["dataset"], "title": title, "drawn": title == "Synthetic", "sources": {}}
        return {**record, "dataset": about, "dataset_fingerprint": title}

    path.write_text(json.dumps(of(own) | {"earlier": of(before)}))
    card = render_card(copy)
    assert ModelCard(card).data.license == license_ == license_of(json.loads(path.read_text()))
    assert (f"They also derive from {before}, whose terms apply too." in card) == also
    same = "with the same" if own == before else f"on {before}, with other"
    assert f"- Run 1 of 2, {same} validation and test images: " in card
    assert ("It knows nothing about real skin" in card) == (license_ == "apache-2.0")


def rename_vasc(run: Path, label: str, **record: object) -> None:
    for name in ("config.json", "training.json", "evaluation/metrics.json"):
        content = json.loads(re.sub(r"\bvasc\b", label, (run / name).read_text()))
        (run / name).write_text(json.dumps(content | (record if name != "config.json" else {})))


def test_a_known_label_of_another_data_set_is_called_malignant(copy: Path) -> None:
    rename_vasc(copy, "SCC", malignant=None)
    card = render_card(copy)
    assert "| `SCC` | Squamous cell carcinoma | yes |" in card and "| `nv` | Melanocytic nevus | no |" in card


def test_where_malignancy_is_unknown_the_card_says_so_and_calls_nothing_benign(copy: Path) -> None:
    rename_vasc(copy, "other", malignant=None)
    card = render_card(copy)
    assert "| malignant |" not in card and "`nv` | Melanocytic nevus |\n" in card
    assert card.count("whether these labels are malignant is not known: other. Name the malignant labels") == 2
    rename_vasc(copy, "other", malignant=["mel", "other"])
    card = render_card(copy)
    assert "| `other` | other | yes |" in card and "| `bcc` | Basal cell carcinoma | no |" in card


def test_text_from_data_stays_in_its_place(copy: Path) -> None:
    for path in (copy / "config.json", copy / "training.json", copy / "evaluation" / "metrics.json"):
        path.write_text(re.sub(r"\bvasc\b", r"a|b <img src=x> `c`\\n## d", path.read_text()))
    record = json.loads((copy / "training.json").read_text())
    record["dataset"]["title"] = "Lesions: a\n---\n<script>alert(1)</script>\x1b[31m"
    (copy / "training.json").write_text(json.dumps(record))
    card = render_card(copy)
    data = ModelCard(card).data
    assert data.eval_results[0].dataset_name == "Lesions: a --- &lt;script>alert(1)&lt;/script> [31m"
    assert "<script" not in card and "<img" not in card and "\x1b" not in card and "\n## d" not in card
    tables = re.findall(r"(?:^\|.*\n)+", card, flags=re.MULTILINE)
    assert len(tables) == 14
    for table in tables:
        assert len({len(re.findall(r"(?<!\\)\|", line)) for line in table.splitlines()}) == 1, table


def test_what_is_missing_leaves_its_lines_out(copy: Path) -> None:
    path = copy / "evaluation" / "metrics.json"
    report = json.loads(path.read_text())
    report["metrics"]["roc_auc_macro"] = {"value": None, "low": None, "high": None, "reason": "one class"}
    path.write_text(json.dumps(report))
    assert "**Macro AUC" not in render_card(copy) and "one class" in render_card(copy).lower()
    shutil.rmtree(copy / "evaluation")
    (copy / "training.json").unlink()
    card = render_card(copy)
    assert "## Results" not in card and "## Training" not in card and "None" not in card
    assert ModelCard(card).data.eval_results is None


def test_a_model_of_the_real_data_carries_its_license_base_and_citation(copy: Path) -> None:
    path = copy / "training.json"
    record = json.loads(path.read_text())
    record["dataset"] |= {"name": "you/ham10000", "title": "HAM10000", "drawn": False}
    record["base_model"] = "facebook/deit-tiny-distilled-patch16-224"
    path.write_text(json.dumps(record))
    card = render_card(copy, "you/model")
    data = ModelCard(card).data
    assert data.license == "cc-by-nc-4.0" and data.datasets == ["you/ham10000"]
    assert data.base_model == record["base_model"] and "tschandl2018ham10000" in card
    assert 'model="you/model"' in card and "not a medical device" in card


def test_names_its_sources_its_external_tests_and_an_earlier_model(copy: Path) -> None:
    """From the record, from evaluation-SPLIT, and from a comparison; each is left out where it is of another model."""
    path = copy / "training.json"
    record = json.loads(path.read_text())
    record["dataset"] |= {"title": "HAM10000", "drawn": False}
    record["dataset"]["sources"] = {
        "HAM10000": {"n_images": {"test": 3, "train": 9}, "terms": "CC BY-NC 4.0"},
        "other": {"n_images": {"clinic": 4, "train": 5}, "terms": "CC0, A | B"},
    }
    record["earlier"] = {**record, "epochs": 7, "earlier": {**record, "epochs": 5, "earlier": None}}
    path.write_text(json.dumps(record))
    report = json.loads((copy / "evaluation" / "metrics.json").read_text())
    known, unknown = ({"value": value, "low": None, "high": None} for value in (0.25, None))
    row = {"n_images": 6, "n_lesions": 6, "accuracy": known, "balanced_accuracy": unknown}
    report |= {"split": "clinic", "subgroups": {"skin tone": {"1": row, "5": row, "unknown": row}}}
    (copy / "evaluation-clinic").mkdir()
    (copy / "evaluation-clinic" / "metrics.json").write_text(json.dumps(report))
    shutil.copytree(copy / "evaluation", copy.parent / "old" / "evaluation")
    in_process("evaluate_model.py", "--compare", copy.parent / "old", copy, "--output", copy / "comparison")

    card = render_card(copy)
    assert "| other | clinic 4, train 5 | CC0, A \\| B |" in card and "also derive from other; the table of" in card
    assert "- Run 1 of 3" in card and "5 epochs" in card and card.index("5 epochs") < card.index("7 epochs")
    assert "## External tests" in card and "| clinic: 1 | 6 | 0.250 | - |" in card
    assert "A search for duplicates" not in card and "searched for and left out" not in card  # the sample's are drawn
    assert "6 show skin of the three darkest" in card and "too few" in card and "from 0, very dark, to 5" in card
    assert "Nothing is known about dark skin" not in card and "on no external data" not in card
    assert "## Compared with old" in card or "### Compared with old" in card

    record["dataset"] |= {"searched": True, "fingerprints": {"clinic": report["dataset_fingerprint"]}}
    path.write_text(json.dumps(record))
    card = render_card(copy)
    assert "A search for duplicates also removed" in card and "searched for and left out" in card
    record["dataset"]["fingerprints"] = {}  # measured on another data set, in which nothing was searched for
    path.write_text(json.dumps(record))
    card = render_card(copy)
    assert "A search for duplicates" not in card and "searched for and left out" in card

    comparison = copy / "comparison" / "comparison.json"
    content = json.loads(comparison.read_text())
    content["compared"][0]["weights_sha256"] = "0" * 64
    comparison.write_text(json.dumps(content))
    assert "Compared with old" not in render_card(copy)


@pytest.mark.parametrize("tones", [("12", "56"), ("1", "6"), ("II", "V")])
def test_skin_tones_on_another_scale_are_not_called_dark_or_light(copy: Path, tones: tuple[str, str]) -> None:
    record = json.loads((copy / "training.json").read_text())
    record["dataset"] |= {"title": "HAM10000", "drawn": False}
    (copy / "training.json").write_text(json.dumps(record))
    report = json.loads((copy / "evaluation" / "metrics.json").read_text())
    row = {
        "n_images": 6,
        "n_lesions": 6,
        **{name: report["metrics"][name] for name in ("accuracy", "balanced_accuracy")},
    }
    report |= {"split": "clinic", "subgroups": {"skin tone": dict.fromkeys((*tones, "unknown"), row)}}
    (copy / "evaluation-clinic").mkdir()
    (copy / "evaluation-clinic" / "metrics.json").write_text(json.dumps(report))
    card = render_card(copy)
    assert f"| clinic: {tones[1]} | 6 |" in card and "\nSkin tone as the data set states it." in card
    assert "very dark" not in card and "three darkest" not in card


def test_says_of_the_data_what_holds_for_all_of_them(copy: Path) -> None:
    path = copy / "training.json"
    record = json.loads(path.read_text())
    size = "{} x {} pixels".format(*record["dataset"]["picture_size"])
    assert record["dataset"]["one_size"] and record["dataset"]["no_lesion_id"] == 0
    assert f"The stored training images have {size}." in render_card(copy) and "no lesion id and" not in render_card(
        copy
    )
    sources = {name: {"n_images": {"train": 5}, "terms": "own"} for name in ("Clinic", "HAM10000")}
    record["dataset"] |= {"title": "Clinic", "drawn": False, "sources": sources, "one_size": False, "no_lesion_id": 17}
    record["settings"]["side"] = 2 * max(record["dataset"]["picture_size"])
    path.write_text(json.dumps(record))
    card = render_card(copy)
    assert f"images differ in size; the first has {size}." in card and "enlarged" not in card
    assert "17 images have no lesion id and count as lesions of their own" in card and "the same share" not in card
    assert "derived from Clinic. Its license applies to them. They also derive from HAM10000;" in card


OWN, NO_OTHER = "trained on other lesions of the same source", "on no external data"


@pytest.mark.parametrize(
    "about",
    [
        {"dataset": "clinic", "dataset_fingerprint": "0" * 64},  # the test split of other data
        {"dataset": "photos", "split": None, "dataset_fingerprint": None},  # --images
        {"split": "validation"},
    ],
)
def test_other_images_than_the_runs_own_test_split_are_not_called_so(copy: Path, about: dict[str, str | None]) -> None:
    record = json.loads((copy / "training.json").read_text())
    record["dataset"] |= {"title": "HAM10000", "drawn": False}
    (copy / "training.json").write_text(json.dumps(record))
    assert OWN in render_card(copy) and NO_OTHER in render_card(copy)
    path = copy / "evaluation" / "metrics.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | about))
    card = render_card(copy)
    assert OWN not in card and NO_OTHER not in card
    assert ("other centers or other cameras" in card) == ("dataset" not in about)
    (name,) = {result.dataset_name for result in ModelCard(card).data.eval_results}
    assert name == about.get("dataset", "HAM10000")


def test_what_was_not_measured_or_fitted_is_not_claimed(copy: Path) -> None:
    calibrated, unmeasured = "The probabilities are calibrated", "It has not been measured"
    assert calibrated in render_card(copy) and unmeasured not in render_card(copy)
    shutil.rmtree(copy / "evaluation")
    record = json.loads((copy / "training.json").read_text())
    record["dataset"] |= {"title": "HAM10000", "drawn": False}
    (copy / "training.json").write_text(json.dumps(record | {"decision": None}))
    card = render_card(copy)
    assert unmeasured in card and not any(
        claim in card for claim in (OWN, NO_OTHER, calibrated, "A table below counts", "have few test images")
    )


def test_says_what_goes_in_and_out_how_gaps_were_treated_and_what_nobody_stated(copy: Path) -> None:
    card = render_card(copy)
    assert "**Input:** one dermatoscopic image" in card and "**Output:** a probability for each label" in card
    assert "**Missing values.** An unknown age" in card and "equally good for all sexes" in card
    not_stated = re.search(r"\n## Not stated\n\n(.+)\n", card)[1]
    assert all(what in not_stated for what in ("protocol", "sample size", "ethics", "physicians", "funding"))
    assert "retrospective" not in card  # a program drew these images
    record = json.loads((copy / "training.json").read_text())
    record["dataset"] |= {"title": "HAM10000", "drawn": False}
    (copy / "training.json").write_text(json.dumps(record))
    assert "the study is retrospective." in render_card(copy)
    (copy / "training.json").unlink()
    card = render_card(copy)
    assert "**Input:**" in card and "## Not stated" in card
    assert "**Missing values.**" not in card and "equally good" not in card  # nothing is known of the training


def test_the_snippet_runs_as_printed(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    snippet = re.search(r"```python\n(.*?)```", (run / "README.md").read_text(), flags=re.DOTALL)
    exec(snippet[1], {})
    assert capsys.readouterr().out.count("'score'") == 7


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (("--tag", "v1.0", "--private"), "give --push_to_hub too, without which nothing is pushed: --private, --tag"),
        (("--revision", "new", "--push_space", "you/page"), "nothing is pushed: --revision"),
        (("--export", "folder", "--push_to_hub"), "--export writes a folder instead of a push"),
    ],
)
def test_options_that_would_do_nothing_are_refused(options: tuple[str, ...], reason: str, run: Path) -> None:
    assert reason in in_process("-m", "model_card", run, "--hub_model_id", "you/x", *options, check=2).stderr


def test_refuses_a_folder_that_is_no_run(tmp_path: Path) -> None:
    assert "is not a run folder" in in_process("-m", "model_card", tmp_path, check=2).stderr
    assert list(tmp_path.iterdir()) == []
