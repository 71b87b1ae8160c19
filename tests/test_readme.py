"""What the README promises holds: its results come from a file in the repository, its commands exist."""

from __future__ import annotations

import json
import re

import pytest
from conftest import ROOT, command

README = (ROOT / "README.md").read_text()


def test_every_number_of_the_results_table_comes_from_its_metrics_json() -> None:
    rows = re.findall(r"^\| \[[^\]]+\]\((release/[^)]+)\)[^|]*\|(.+)\|$", README, re.MULTILINE)
    assert rows
    for file, cells in rows:
        report = json.loads((ROOT / file).read_text())
        metrics = [report["metrics"][name] for name in ("accuracy", "balanced_accuracy", "f1_macro", "roc_auc_macro")]
        expected = ["{value:.3f} [{low:.3f}, {high:.3f}]".format(**figure) for figure in metrics]
        expected += [f"{report['n_images']} ({report['n_lesions']})", f"`{report['dataset_fingerprint'][:12]}`"]
        assert [cell.strip() for cell in cells.split("|")] == expected


def test_the_share_of_each_diagnosis_that_is_found_comes_from_the_release() -> None:
    report = json.loads((ROOT / "release/deit-tiny-ham10000/evaluation/metrics.json").read_text())
    found = re.findall(r"(\d+) % of the (melanomas|actinic keratoses)", README)
    assert len(found) == 2
    for share, diagnosis in found:
        recall = report["per_class"][{"melanomas": "mel", "actinic keratoses": "akiec"}[diagnosis]]["recall"]
        assert int(share) == round(100 * recall)


@pytest.mark.parametrize("script", ["data_prep.py", "train.py", "evaluate_model.py", "-m model_card"])
def test_every_command_teaches(script: str) -> None:
    help_text = command(*script.split(), "--help").stdout
    shown = re.findall(rf"python {re.escape(script)} .*|accelerate launch {re.escape(script)} .*", README)
    assert shown
    for option in set(re.findall(r"--\w+", " ".join(shown))):
        assert option in help_text, option
