"""The page as a Space: built from any run's files, and pushed so that the Space holds it and nothing else."""

from __future__ import annotations

import gzip
import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from conftest import RELEASE, ROOT, command
from hub_server import READ_ONLY_TOKEN, HubServer
from in_process import in_process
from other_model import EIGHT, save_model_of_other_classes
from PIL import Image
from safetensors.torch import load_file, save_file
from transformers import AutoImageProcessor

from lesions.faults import InputError
from lesions.model.inputs import noise
from lesions.model.loading import load_processor
from space.facts import preprocessing

pytest.importorskip("onnxscript", reason="requirements-onnx.txt is not installed")
onnxruntime = pytest.importorskip("onnxruntime")
if not shutil.which("npm"):
    pytest.skip("npm, which fetches the runtime of the page, is not installed", allow_module_level=True)


@pytest.fixture(scope="module")
def eight(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_model_of_other_classes(tmp_path_factory.mktemp("model") / "fruits")


@pytest.fixture(scope="module")
def page(eight: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("space") / "page"
    in_process("-m", "space", eight, "--output", folder)
    return folder


def read(path: Path) -> Any:
    return json.loads(path.read_text())


def test_a_model_of_other_classes_without_measurements(page: Path) -> None:
    facts = read(page / read(page / "files.json")["facts"]["path"])
    assert [label["code"] for label in facts["labels"]] == list(EIGHT)
    assert all(label["malignant"] is None for label in facts["labels"])  # of some it is unknown
    levels = facts["preprocessing"].pop("levels")
    assert facts["preprocessing"] == {
        "width": 80, "height": 72, "filter": "bilinear", "crop": {"width": 64, "height": 64},
    }  # fmt: skip
    expected = [(np.arange(256) / 255 - mean) / 0.5 for mean in (0.1, 0.2, 0.3)]
    np.testing.assert_allclose(levels, expected, atol=1e-6)
    assert facts["points"] == facts["metrics"] == facts["recall"] == facts["calibration"] == []
    assert facts["measured_on"] is facts["trained_on"] is facts["shown_point"] is None


def test_lists_all_files_with_their_sizes(page: Path) -> None:
    files = read(page / "files.json")
    large = [files["runtime"]["script"], files["runtime"]["wasm"], files["model"], *files["samples"]]
    for entry in (*large, files["facts"]):
        content = (page / entry["path"]).read_bytes()
        assert len(content) == entry["bytes"] and hashlib.sha256(content).hexdigest()[:12] in entry["path"]
    assert all((page / name).exists() for name in files["page"])
    listed = {*files["page"], *(entry["path"] for entry in large)}
    notices = {"runtime/LICENSE", "runtime/ThirdPartyNotices.txt"}
    assert {path.relative_to(page).as_posix() for path in page.rglob("*") if path.is_file()} == listed - {
        "./"
    } | notices
    sources = ROOT / "space" / "page"
    assert (page / "main.js").read_bytes() == (sources / "main.js").read_bytes()  # served as it is written
    session = onnxruntime.InferenceSession(gzip.decompress((page / files["model"]["path"]).read_bytes()))
    assert session.run(["logits"], {"pixel_values": np.zeros((1, 3, 64, 64), np.float32)})[0].shape == (1, 8)


def test_the_released_runs_facts_are_those_of_its_files() -> None:
    from space.facts import model_facts

    facts, report = model_facts(RELEASE, None), read(RELEASE / "evaluation" / "metrics.json")
    assert facts["metrics"][1] == {
        "name": "Balanced accuracy (mean recall)",
        **{key: report["metrics"]["balanced_accuracy"][key] for key in ("value", "low", "high")},
    }
    assert len(facts["points"]) == len(report["operating_points"]) == 8
    labels = [label["code"] for label in facts["labels"]]
    for point, measured in zip(facts["points"], report["operating_points"], strict=True):
        assert point["threshold"] == measured["threshold"]
        assert point["measured"]["sensitivity"]["value"] == measured["sensitivity"]["value"]
        members = {labels[number] for number in point["members"]}
        assert members == ({"mel"} if point["target"] == "melanoma" else {"mel", "bcc", "akiec"})
    shown = facts["points"][facts["shown_point"]]
    assert (shown["target"], shown["aim"], shown["level"]) == ("malignant", "sensitivity", 0.95)
    assert {row["code"]: row["value"] for row in facts["recall"]} == {
        code: row["recall"] for code, row in report["per_class"].items()
    }


def test_bad_models_and_places_are_refused(eight: Path, tmp_path: Path) -> None:
    shutil.copytree(eight, tmp_path / "model")
    file = tmp_path / "model" / "preprocessor_config.json"
    file.write_text(json.dumps(read(file) | {"resample": 0}))
    error = in_process("-m", "space", tmp_path / "model", "--output", tmp_path / "page", check=2).stderr
    assert "processor does: resample nearest" in error and not (tmp_path / "page").exists()
    for resample, reason in ((99, "resample 99 is not the number of a filter"), ("x", "resample 'x' is not")):
        file.write_text(json.dumps(read(eight / file.name) | {"resample": resample}))
        error = in_process("-m", "space", tmp_path / "model", "--output", tmp_path / "page", check=2).stderr
        assert reason in error and not (tmp_path / "page").exists()
    (tmp_path / "page").mkdir()
    (tmp_path / "page" / "notes.txt").write_text("mine")
    error = in_process("-m", "space", eight, "--output", tmp_path / "page", check=2).stderr
    assert "files that this program did not write" in error and (tmp_path / "page" / "notes.txt").exists()
    assert "no config.json" in in_process("-m", "space", tmp_path, "--output", tmp_path / "page", check=2).stderr


def test_facts_and_weights_of_a_page_are_of_one_time(
    eight: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As those of a running training are not: the page reads its facts first, and the weights last."""
    run = shutil.copytree(eight, tmp_path / "model")

    def export_others(folder: Path) -> bytes:
        tensors = load_file(folder / "model.safetensors")
        save_file(
            {name: values + 1 for name, values in tensors.items()}, folder / "model.safetensors", {"format": "pt"}
        )
        return b""

    monkeypatch.setattr("space.build.exported", export_others)
    error = in_process("-m", "space", run, "--output", tmp_path / "page", check=2).stderr
    assert f"the weights in {run} changed" in error and not (tmp_path / "page").exists()


SQUARE = {"height": 64, "width": 64}


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("ViT", {"size": SQUARE, "image_mean": 0.4, "image_std": 0.3}),
        ("ViT", {"size": SQUARE, "do_normalize": False}),
        ("ViT", {"size": SQUARE, "do_rescale": False}),
        ("EfficientNet", {"size": SQUARE}),
        ("EfficientNet", {"size": SQUARE, "rescale_offset": True, "rescale_factor": 1 / 127.5, "include_top": False}),
    ],
)
def test_the_levels_are_those_of_any_processor(kind: str, options: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "preprocessor_config.json").write_text(
        json.dumps({"image_processor_type": f"{kind}ImageProcessor", **options})
    )
    how = preprocessing(load_processor(tmp_path))
    image = noise(64)[0]
    expected = AutoImageProcessor.from_pretrained(tmp_path)(image, return_tensors="np")["pixel_values"][0]
    resized = np.asarray(image.resize((64, 64), Image.Resampling[how["filter"].upper()]))
    found = [np.array(how["levels"][channel])[resized[..., channel]] for channel in range(3)]
    np.testing.assert_allclose(found, expected, atol=1e-5)


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("DeiT", {"size": SQUARE, "crop_size": {"height": 72, "width": 72}}),
        ("PoolFormer", {"size": SQUARE, "crop_size": SQUARE}),
        ("MobileViT", {"size": SQUARE, "crop_size": SQUARE, "do_normalize": True, "image_mean": [0.1, 0.2, 0.3]}),
        ("ConvNext", {"size": {"shortest_edge": 64}}),
        ("CLIP", {"size": {"shortest_edge": 64}, "crop_size": SQUARE}),
        ("ViT", {"size": SQUARE, "resample": 0}),
    ],
)
def test_what_the_page_does_not_do_is_refused(kind: str, options: dict[str, Any], tmp_path: Path) -> None:
    about = {"image_processor_type": f"{kind}ImageProcessor", "image_std": [0.5] * 3, **options}
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(about))
    with pytest.raises(InputError, match="the page can't prepare images as this model's processor does"):
        preprocessing(load_processor(tmp_path))


def named_facts(files: dict[str, bytes]) -> str:
    return json.loads(files["files.json"])["facts"]["path"]


def test_a_space_is_created_updated_and_left_alone(
    eight: Path, page: Path, hub: HubServer, hub_environment: dict[str, str]
) -> None:
    arguments = ("-m", "model_card", eight, "--push_space", "you/lesions", "--hub_model_id", "you/fruits")
    done = command(*arguments, "--onnx", **hub_environment)  # the next two take the file that this one exports
    assert f"published at {hub.url}/spaces/you/lesions" in done.stdout
    assert "Warning" not in done.stderr  # users can do nothing about the exporter's warnings
    space = hub.repositories["you/lesions"]
    built = {path.relative_to(page).as_posix(): path.read_bytes() for path in page.rglob("*") if path.is_file()}
    assert space.sdk == "static"
    expected = {*built, "README.md", named_facts(space.files)} - {named_facts(built)}
    assert set(space.files) == expected
    assert {name for name in built if space.files.get(name) != built[name]} == {named_facts(built), "files.json"}
    facts = json.loads(space.files[named_facts(space.files)])  # which names the model
    assert facts["link"] == f"{hub.url}/you/fruits" and facts["name"] == "fruits"
    _, metadata, text = space.files["README.md"].decode().split("---\n")
    about = yaml.safe_load(metadata)
    assert (about["sdk"], about["app_file"], about["models"]) == ("static", "index.html", ["you/fruits"])
    assert len(about["short_description"]) <= 60  # the Hub's limit
    assert "[you/fruits]" in text
    assert "https://huggingface.co/spaces/you/lesions" in (eight / "README.md").read_text()

    commits = len(space.commits)
    command(*arguments, **hub_environment)
    assert len(space.commits) == commits  # nothing has changed
    space.files["old.js"] = b"of an earlier version"
    command(*arguments, **hub_environment)
    assert set(space.files) == expected and len(space.commits) == commits + 1


def test_without_write_access_there_is_one_clear_error(
    eight: Path, hub: HubServer, hub_environment: dict[str, str]
) -> None:
    environment = hub_environment | {"HF_TOKEN": READ_ONLY_TOKEN}
    error = command("-m", "model_card", eight, "--push_space", "you/lesions", check=2, **environment).stderr
    assert "your token may not write to you/lesions" in error and "--push_space you/lesions" in error
