"""What a run says that it does not know: stored by train.py or by the command, measured, and printed."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from conftest import held
from datasets import load_dataset
from in_process import in_process
from PIL import Image

from lesions.faults import InputError
from lesions.metrics.conformal import guaranteed_share
from lesions.model.familiarity import Familiarity
from lesions.run_folder import FAMILIARITY

STORED = ("operating_points", "prediction_sets", "familiarity")


def test_distance_by_hand(tmp_path: Path) -> None:
    # Independent features of variance 1 and 4: two standard deviations are 2, or 4, and the squared distance is 4.
    random = np.random.default_rng(0)
    features = (random.normal(size=(200_000, 2)) * [1, 2] + [10, 20]).astype(np.float32)
    familiarity = Familiarity.fit(features)
    new = np.array([[10, 20], [12, 20], [10, 24], [12, 24]], dtype=np.float32)
    assert familiarity.distance(new) == pytest.approx([0, 4, 4, 8], abs=0.1)
    familiarity.save(tmp_path)
    assert Familiarity.load(tmp_path).distance(new).tolist() == familiarity.distance(new).tolist()
    assert Familiarity.load(tmp_path / "nowhere") is None
    (tmp_path / FAMILIARITY).write_bytes(b"no tensors")
    with pytest.raises(InputError, match="is broken"):
        Familiarity.load(tmp_path)
    wide, point, nan = np.zeros((2, 3), np.float32), np.float32(1), np.full(2, np.nan, np.float32)
    for whitening, center in ((wide, wide[0]), (wide, np.array(point)), (np.eye(2, dtype=np.float32), nan)):
        Familiarity(whitening, center).save(tmp_path)
        with pytest.raises(InputError, match="is broken: shapes "):
            Familiarity.load(tmp_path)


def test_the_command_stores_what_training_stored(run: Path, copy: Path, sample: Path) -> None:
    record = json.loads((run / "training.json").read_text())
    familiarity = Familiarity.load(run)
    (copy / "training.json").write_text(json.dumps({key: record[key] for key in record if key not in STORED}))
    (copy / FAMILIARITY).unlink()
    shutil.rmtree(copy / "evaluation")
    in_process("evaluate_model.py", "--model", copy, "--dataset", sample)  # an old run still evaluates
    report = json.loads((copy / "evaluation" / "metrics.json").read_text())
    assert report["prediction_sets"] == [] and report["unfamiliar"] is None
    assert "rule out" not in (copy / "evaluation" / "report.html").read_text()

    in_process("-m", "lesions.evaluation.limits", copy, "--dataset", sample)
    again = json.loads((copy / "training.json").read_text())
    assert {key: again[key] for key in record} == record
    assert np.array_equal(Familiarity.load(copy).whitening, familiarity.whitening)
    broken = in_process("-m", "lesions.evaluation.limits", sample, "--dataset", sample, check=2).stderr
    assert "not a run folder" in broken
    limits = ("-m", "lesions.evaluation.limits", copy, "--dataset", sample)
    assert "--batch_size must be at least 1" in in_process(*limits, "--batch_size", 0, check=2).stderr
    with held(copy / "training.json"):  # as a training that still runs does
        assert "another process is writing there" in in_process(*limits, check=2).stderr
    assert json.loads((copy / "training.json").read_text()) == again
    nowhere = in_process("-m", "lesions.evaluation.limits", copy / "nowhere", "--dataset", sample, check=2).stderr
    assert "not a run folder" in nowhere and not (copy / "nowhere").exists()
    (copy / "training.json").write_text(json.dumps({**again, "weights_sha256": "0" * 64}))
    measuring = ("evaluate_model.py", "--model", copy, "--dataset", sample)
    assert "is about other weights than those that lie beside it" in in_process(*measuring, check=2).stderr


def test_metrics_json_and_report_say_how_far_they_hold(run: Path) -> None:
    report = json.loads((run / "evaluation" / "metrics.json").read_text())
    levels = report["prediction_sets"]
    assert [level["level"] for level in levels] == [0.9, 0.95] and all(level["guaranteed"] for level in levels)
    smaller, larger = levels
    assert smaller["coverage"]["value"] <= larger["coverage"]["value"]
    assert 1 <= smaller["mean_size"]["value"] <= larger["mean_size"]["value"] <= 7
    assert larger["coverage"]["value"] > 0.8 and set(larger["subgroups"]) == {"site"}
    unfamiliar = report["unfamiliar"]
    assert 0 <= unfamiliar["refused"]["value"] < 0.3 and unfamiliar["accepted"] == 0.99
    page = (run / "evaluation" / "report.html").read_text()
    for title in ("What it can't rule out", "Unlike the training images"):
        assert f"<h2>{title.replace(chr(39), '&#39;')}</h2>" in page
        assert f"\n### {title}\n" in (run / "README.md").read_text()


def test_answers_name_what_cannot_be_ruled_out_and_refuse_noise(run: Path, sample: Path, tmp_path: Path) -> None:
    rows = load_dataset(str(sample), split="test").select(range(6))
    for number, row in enumerate(rows):
        row["image"].save(tmp_path / f"lesion{number}.png")
    noise = np.random.default_rng(0).integers(0, 256, (120, 160, 3)).astype(np.uint8)
    Image.fromarray(noise).save(tmp_path / "noise.png")
    lines = in_process("evaluate_model.py", "--model", run, "--images", tmp_path).stdout.splitlines()
    table = {line.split()[0]: line for line in lines if line}
    assert "can't rule out" in table["image"] and "unlike the training images" in table["image"]
    assert table["noise"].endswith("don't trust")
    assert sum(table[f"lesion{number}"].endswith("don't trust") for number in range(6)) <= 2
    shown = in_process("evaluate_model.py", "--model", run, "--images", tmp_path / "noise.png").stdout
    assert "unlike the training images: don't trust this answer" in shown and "Can't rule out: " in shown
    record = json.loads((run / "training.json").read_text())
    (chosen,) = (sets for sets in record["prediction_sets"] if sets["level"] == 0.95)
    share = f"holds the diagnosis of {100 * guaranteed_share(chosen):.0f} % of the lesions"
    assert share in shown and any(share in line for line in lines) and "95 %" not in share
