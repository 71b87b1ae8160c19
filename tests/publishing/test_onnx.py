"""The ONNX file answers as the model does, and is refused where it belongs to other weights."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import command
from hub_server import HubServer
from in_process import in_process
from safetensors.numpy import load_file, save_file

from lesions.data.sources.sample import draw_lesion
from lesions.diagnoses import CODES
from lesions.evaluation.prediction import Predictor
from lesions.faults import InputError
from lesions.ground_truth import read_predictions
from lesions.model import onnx_file, onnx_runtime
from lesions.model.loading import load_for_prediction

onnx = pytest.importorskip("onnx", reason="requirements-onnx.txt is not installed")
pytest.importorskip("onnxscript")
pytest.importorskip("onnxruntime")


@pytest.fixture(scope="module")
def exported(run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the run with its ONNX file, made by the command."""
    folder = tmp_path_factory.mktemp("onnx") / "run"
    shutil.copytree(run, folder, ignore=shutil.ignore_patterns("checkpoint-*"))
    assert f"wrote {folder}/onnx/model.onnx" in in_process("-m", "model_card", folder, "--onnx").stdout
    return folder


@pytest.fixture
def changed(exported: Path, tmp_path: Path) -> Path:
    shutil.copytree(exported, tmp_path / "changed")
    return tmp_path / "changed"


def test_evaluation_through_onnx_gives_the_same_probabilities(exported: Path, sample: Path, tmp_path: Path) -> None:
    options = ("--model", exported, "--dataset", sample, "--output", tmp_path / "out")
    in_process("evaluate_model.py", *options, "--backend", "onnx")
    expected, images = read_predictions(exported / "evaluation" / "predictions.csv", CODES)
    found, same = read_predictions(tmp_path / "out" / "predictions.csv", CODES)
    assert same == images and len(images) > 100
    assert np.abs(found - expected).max() < 1e-4


def test_gives_features_and_their_distance_from_the_training_images(exported: Path) -> None:
    rows = [{"image": draw_lesion(dx, 1, 0), "label": 0} for dx in ("mel", "nv", "vasc")]
    plain, through_onnx = (Predictor(exported, backend=backend) for backend in ("torch", "onnx"))
    expected, found = (predictor.probabilities(rows, 2) for predictor in (plain, through_onnx))
    assert found.features.shape == expected.features.shape == (3, plain.model.config.hidden_size)
    np.testing.assert_allclose(found.features, expected.features, atol=1e-3)
    side = plain.model.config.image_size
    pixels = np.random.default_rng(0).normal(size=(4, 3, side, side)).astype(np.float32)
    features, distance = through_onnx.model.session.run(["features", "distance"], {"pixel_values": pixels})
    np.testing.assert_allclose(distance, plain.familiarity.distance(features), rtol=1e-3)


@pytest.mark.parametrize("count", [1, 2, 7])
def test_takes_any_batch(exported: Path, count: int) -> None:
    model, through_onnx = load_for_prediction(exported)[0], onnx_runtime.OnnxClassifier(exported)
    side = model.config.image_size
    pixels = torch.randn(count, 3, side, side)
    with torch.inference_mode():
        expected = model(pixel_values=pixels).logits
    torch.testing.assert_close(through_onnx(pixel_values=pixels).logits, expected, atol=1e-4, rtol=1e-4)


def test_weights_are_stored_in_half_heads_in_full(exported: Path) -> None:
    graph = onnx.load(exported / "onnx" / "model.onnx").graph
    kinds = {tensor.name: tensor.data_type for tensor in graph.initializer if tensor.dims}
    heads = {name for name in kinds if "classifier" in name}
    assert len(heads) == 4 and all(kinds[name] == onnx.TensorProto.FLOAT for name in heads)
    assert {kinds[name] for name in kinds if name.endswith("_half")} == {onnx.TensorProto.FLOAT16}
    stored = sum((exported / name).stat().st_size for name in ("onnx/model.onnx", "model.safetensors"))
    assert stored < 2.2 * (exported / "model.safetensors").stat().st_size


def test_names_nothing_of_the_machine(exported: Path) -> None:
    content = (exported / "onnx" / "model.onnx").read_bytes()
    assert b"/lesions/" not in content and b"site-packages" not in content and b".py" not in content


def test_a_push_sends_it_and_the_hub_id_is_enough_to_predict_with_it(
    exported: Path, hub: HubServer, hub_environment: dict[str, str], tmp_path: Path
) -> None:
    command("-m", "model_card", exported, "--push_to_hub", "--hub_model_id", "you/lesions", **hub_environment)
    sent = hub.repositories["you/lesions"].files["onnx/model.onnx"]
    assert sent == (exported / "onnx" / "model.onnx").read_bytes()
    draw_lesion("mel", 1, 0).save(tmp_path / "lesion.png")
    found = []
    for backend, model in (("torch", exported), ("onnx", "you/lesions")):
        options = ("--model", model, "--images", tmp_path / "lesion.png", "--output", tmp_path / backend)
        command("evaluate_model.py", *options, "--backend", backend, **hub_environment)
        found.append(read_predictions(tmp_path / backend / "predictions.csv", CODES)[0])
    assert np.abs(found[0] - found[1]).max() < 1e-4


def test_is_refused_beside_other_weights(
    changed: Path, sample: Path, hub: HubServer, hub_environment: dict[str, str], tmp_path: Path
) -> None:
    weights = load_file(changed / "model.safetensors")
    name = next(name for name in weights if "classifier" in name)
    save_file(weights | {name: weights[name] + 1}, changed / "model.safetensors", {"format": "pt"})
    measure = ("evaluate_model.py", "--model", changed, "--dataset", sample, "--backend", "onnx")
    (changed / "training.json").unlink()  # which is about other weights, too
    shutil.rmtree(changed / "evaluation")
    push = ("-m", "model_card", changed, "--push_to_hub", "--hub_model_id", "you/lesions")
    export = ("-m", "model_card", changed, "--export", tmp_path / "exported")
    for arguments in (measure, push, export):
        error = command(*arguments, check=2, **hub_environment).stderr
        assert "exported from other weights" in error and f"python -m model_card {changed} --onnx" in error
    assert not hub.repositories and not (tmp_path / "exported").exists()


@pytest.mark.parametrize(
    ("file", "name", "value"),
    [("config.json", "layer_norm_eps", 0.5), ("preprocessor_config.json", "image_mean", [0] * 3)],
)
def test_is_refused_beside_another_config_or_preprocessing(file: str, name: str, value: object, changed: Path) -> None:
    """With the same weights, PyTorch would give other answers than the file, or the size would not fit."""
    onnx_file.check_export(changed)
    content = json.loads((changed / file).read_text())
    (changed / file).write_text(json.dumps(content | {name: value}))
    with pytest.raises(InputError, match=r"exported from other weights, or with another config.json"):
        onnx_file.check_export(changed)


def test_a_missing_or_broken_file_is_one_clear_error(changed: Path) -> None:
    file = changed / "onnx" / "model.onnx"
    file.write_bytes(b"not ONNX")
    with pytest.raises(InputError, match=r"can't be read.*--onnx"):
        onnx_file.check_export(changed)
    file.unlink()
    with pytest.raises(InputError, match=r"has no onnx/model.onnx: run .*--onnx"):
        onnx_file.check_export(changed)


@pytest.mark.parametrize(
    ("name", "reason"), [("logits", "does not answer a gray image"), ("features", "gives features")]
)
def test_answers_that_are_not_finite_are_refused(name: str, reason: str, changed: Path) -> None:
    file = changed / "onnx" / "model.onnx"
    model = onnx.load(file)
    for node in model.graph.node:
        for names in (node.input, node.output):
            names[:] = ["before" if one == name else one for one in names]
    model.graph.initializer.append(onnx.numpy_helper.from_array(np.array(np.nan, np.float32), "nan"))
    model.graph.node.append(onnx.helper.make_node("Mul", ["before", "nan"], [name]))
    onnx.save(model, file)
    with pytest.raises(InputError, match=rf"onnx/model\.onnx {reason}"):
        Predictor(changed, backend="onnx")


def test_missing_packages_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onnx_file, "PACKAGES", ("onnx", "no_such_package"))
    with pytest.raises(InputError, match=r"ONNX needs no_such_package: run `pip install -r requirements-onnx.txt`"):
        onnx_file.check_packages()
