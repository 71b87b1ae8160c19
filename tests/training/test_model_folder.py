"""Model folders come from outside: broken ones are one clear error, and code that comes with one never runs."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from in_process import in_process
from safetensors.torch import load_file, save_file

from lesions.faults import InputError
from lesions.model.loading import check_trainable, load_for_prediction, load_for_training, load_processor
from lesions.run_folder import record_of

LABELS = ["akiec", "bcc", "bkl", "df", "mel", "nv", "vasc"]
CONFIG, PROCESSOR, WEIGHTS = "config.json", "preprocessor_config.json", "model.safetensors"
Change = Callable[[Path], object]


def with_values(name: str, **values: Any) -> Change:
    return lambda folder: (folder / name).write_text(json.dumps(json.loads((folder / name).read_text()) | values))


def with_content(name: str, content: bytes) -> Change:
    return lambda folder: (folder / name).write_bytes(content)


def with_weights(change: Callable[[dict[str, torch.Tensor]], object]) -> Change:
    def apply(folder: Path) -> None:
        weights = load_file(folder / WEIGHTS)
        change(weights)
        save_file(weights, folder / WEIGHTS, {"format": "pt"})

    return apply


LAYER = "deit.encoder.layer.0.output.dense.weight"
BROKEN: dict[str, tuple[Change, str]] = {
    "config that is empty": (with_content(CONFIG, b""), "config.json is not JSON"),
    "config that is a list": (with_content(CONFIG, b"[]"), "config.json can't be used"),
    "architecture that nobody knows": (with_values(CONFIG, model_type="nonsense"), "config.json can't be used"),
    "model of text": (with_values(CONFIG, model_type="bert"), "can't be used: Unrecognized configuration class"),
    "timm model": (with_content(CONFIG, b'{"architecture": "vit_tiny_patch16_224"}'), "can't be used"),
    "size that is a word": (with_values(CONFIG, hidden_size="x"), "config.json can't be used"),
    "size of no pixel": (with_values(CONFIG, hidden_size=0), "can't be used"),
    "labels with a gap": (with_values(CONFIG, id2label={"0": "a", "5": "b"}), "must number the labels from 0"),
    "code of its own": (with_values(CONFIG, auto_map={"AutoConfig": "code.Config"}), "It is never run here"),
    "code at depth": (with_values(CONFIG, parts=[{"auto_map": {}}]), "It is never run here"),
    "pipeline of its own": (with_values(CONFIG, custom_pipelines={"x": {}}), "It is never run here"),
    "attention of the Hub": (with_values(CONFIG, attn_implementation="evil/kernel"), "It is never run here"),
    "labels without end": (with_values(CONFIG, num_labels=10**12), "num_labels 1000000000000 is more than 100000"),
    "images without end": (with_values(CONFIG, image_size=10**9), "image_size 1000000000 is more than 4096"),
    "code in the processor": (with_values(PROCESSOR, auto_map={"AutoImageProcessor": "code.P"}), "never run here"),
    "processor that is cut": (with_content(PROCESSOR, b'{"size": '), "preprocessor_config.json is not JSON"),
    "processor without a size": (with_values(PROCESSOR, size="x"), "preprocessor_config.json can't be used"),
    "size of zero": (with_values(PROCESSOR, size={"height": 0, "width": 0}), "must give square images"),
    "size that fills the memory": (
        with_values(PROCESSOR, size={"height": 10**6, "width": 10**6}), "more than 4096 pixels a side",
    ),
    "size that is not a square": (with_values(PROCESSOR, size={"height": 64, "width": 80}), "must give square images"),
    "size of the image itself": (with_values(PROCESSOR, do_resize=False), "which must be (3, 64, 64)"),
    "filter that Pillow lacks": (with_values(PROCESSOR, resample=99), "resample 99 is not the number of a filter"),
    "filter in words": (with_values(PROCESSOR, resample="bicubic"), "resample 'bicubic' is not the number"),
    "filter that is a yes": (with_values(PROCESSOR, resample=True), "resample True is not the number"),
    "filter between two": (with_values(PROCESSOR, resample=2.5), "resample 2.5 is not the number"),
    "mean of one color": (with_values(PROCESSOR, image_mean=[0.5]), "preprocessor_config.json can't be used"),
    "deviation of zero": (with_values(PROCESSOR, image_std=[0, 0, 0]), "not all finite numbers"),
    "weights without a header": (with_content(WEIGHTS, b"\xff" * 100), "the model in"),
    "weights that are cut": (
        lambda folder: (folder / WEIGHTS).write_bytes((folder / WEIGHTS).read_bytes()[:-99]), "the model in",
    ),
    "weights that are missing": (lambda folder: (folder / WEIGHTS).unlink(), "holds no weights as safetensors"),
    "weight of another shape": (with_weights(lambda w: w.update({LAYER: torch.zeros(3, 5)})), "do not fit its config"),
    "weight left out": (with_weights(lambda w: w.pop(LAYER)), "do not fit its config"),
    "weight that is not a number": (with_weights(lambda w: w[LAYER].fill_(torch.nan)), "are not finite numbers"),
}  # fmt: skip


def predict(folder: Path) -> None:
    load_for_prediction(folder)
    load_processor(folder)


def train(folder: Path) -> None:
    check_trainable(folder, [])
    load_for_training(folder, LABELS, from_scratch=False, new_head=False)


@pytest.mark.parametrize("kind", BROKEN)
def test_a_broken_model_folder_is_one_clear_error(kind: str, copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    change, reason = BROKEN[kind]
    change(copy)
    monkeypatch.setattr("builtins.input", lambda *_: pytest.fail("transformers asked whether to run foreign code"))
    for use in (predict, train):
        with pytest.raises(InputError) as error:
            use(copy)
        assert reason in str(error.value) and str(copy) in str(error.value)


@pytest.mark.parametrize("content", [b"", b"[]", b"{}", b'{"status": null, "dataset": null, "settings": []}'])
def test_a_broken_record_is_one_clear_error(content: bytes, copy: Path) -> None:
    (copy / "training.json").write_bytes(content)
    with pytest.raises(InputError, match=r"training\.json is not"):
        record_of(copy)


def test_only_a_deit_learns_from_a_teacher(copy: Path) -> None:
    check_trainable(copy, [copy])
    with_values(CONFIG, model_type="vit", architectures=["ViTForImageClassification"])(copy)
    check_trainable(copy, [])
    with pytest.raises(InputError, match="--teacher needs a DeiT"):
        check_trainable(copy, [copy])


def test_foreign_code_is_refused_by_the_commands_and_leaves_nothing(copy: Path, sample: Path, tmp_path: Path) -> None:
    (copy / "code.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\n")
    with_values(CONFIG, auto_map={"AutoConfig": "code.Config", "AutoModelForImageClassification": "code.Model"})(copy)
    output = ("--output_dir", tmp_path / "run")
    for model in (("--model", copy), ("--model", "recipes/demo-deit", "--from_scratch", "--teacher", copy)):
        assert "never run" in in_process("train.py", *model, "--dataset", sample, *output, check=2).stderr
    measuring = ("--dataset", sample, "--output", tmp_path / "run")
    assert "never run" in in_process("evaluate_model.py", "--model", copy, *measuring, check=2).stderr
    shutil.rmtree(copy)
    assert list(tmp_path.iterdir()) == []
