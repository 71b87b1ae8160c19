"""Model folders come from outside: broken ones are one clear error, and code that comes with one never runs."""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import ROOT
from in_process import in_process
from other_model import save_model_of_other_classes
from safetensors.torch import load_file, save_file

from lesions.evaluation.prediction import Predictor
from lesions.faults import InputError
from lesions.model.loading import check_trainable, load_for_prediction, load_for_training
from lesions.run_folder import FAMILIARITY, RECORD, record_of
from lesions.seen_images import SEEN, read_seen

LABELS = ["akiec", "bcc", "bkl", "df", "mel", "nv", "vasc"]
CONFIG, PROCESSOR, WEIGHTS = "config.json", "preprocessor_config.json", "model.safetensors"
INDEX, SHARD = "model.safetensors.index.json", "model-00001-of-00001.safetensors"
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


def with_shards(named: str, *there: str) -> Change:
    """An index that names one shard for all weights, and the whole weights in the files `there`."""

    def apply(folder: Path) -> None:
        index = {"metadata": {}, "weight_map": dict.fromkeys(load_file(folder / WEIGHTS), named)}
        (folder / INDEX).write_text(json.dumps(index))
        for name in {*there} - {WEIGHTS}:
            shutil.copy(folder / WEIGHTS, folder / name)
        if WEIGHTS not in there:
            (folder / WEIGHTS).unlink()

    return apply


def in_place_of(name: str, make: Callable[[Path], object]) -> Change:
    def apply(folder: Path) -> None:
        (folder / name).unlink(missing_ok=True)
        make(folder / name)

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
    "weights in another file": (with_values(CONFIG, transformers_weights="x.safetensors"), "(transformers_weights)"),
    "config in another file": (with_values(CONFIG, configuration_files=["config.1.0.json"]), "(configuration_files)"),
    "quantized weights": (with_values(CONFIG, quantization_config={"quant_method": "fp8"}), "(quantization_config)"),
    "fused layers": (with_values(CONFIG, fusion_config={"patch_embeddings": True}), "(fusion_config)"),
    "second preprocessing": (
        with_content("processor_config.json", b'{"image_processor": {}}'), "processor_config.json holds a second",
    ),
    "adapter": (with_content("adapter_config.json", b"{}"), "belongs to an adapter of PEFT"),
    "adapter's weights": (with_content("adapter_model.safetensors", b""), "belongs to an adapter of PEFT"),
    "distributed checkpoint": (
        with_content("shard-00000-model-00001-of-00001.safetensors", b""), "belongs to a distributed checkpoint",
    ),
    "shard above": (with_shards("../model-1.safetensors", SHARD), "not the name of a file beside it"),
    "shard of the system": (with_shards("/tmp/model-1.safetensors", SHARD), "not the name of a file beside it"),
    "shard of no safetensors": (with_shards("model.bin", SHARD), "not the name of a file beside it"),
    "shard that is missing": (with_shards("model-2.safetensors"), "that is missing (1):\n  model-2.safetensors"),
    "shard that nobody names": (with_shards(SHARD, SHARD, "model-2.safetensors"), "that it does not name (1):"),
    "shards and whole weights": (with_shards(SHARD, SHARD, WEIGHTS), "two sets of weights"),
    "index that is a list": (
        lambda folder: (with_shards(SHARD, SHARD)(folder), (folder / INDEX).write_text("[]")), "is not an index",
    ),
    "weights that are a pipe": (in_place_of(WEIGHTS, os.mkfifo), "not a regular file"),
    "weights that are a device": (
        in_place_of(WEIGHTS, lambda path: path.symlink_to("/dev/zero")), "not a regular file",
    ),
    "shard that is a pipe": (
        lambda folder: (with_shards(SHARD, SHARD)(folder), in_place_of(SHARD, os.mkfifo)(folder)), "not a regular file",
    ),
    "config that is a pipe": (in_place_of(CONFIG, os.mkfifo), "it holds no config.json"),
    "processor that is a folder": (in_place_of(PROCESSOR, Path.mkdir), "not a regular file"),
    "config of fewer layers": (with_values(CONFIG, num_hidden_layers=1), "do not fit its config"),
    "config without a bias": (with_values(CONFIG, qkv_bias=False), "do not fit its config"),
    "layers without end": (with_values(CONFIG, num_hidden_layers=10**6), "num_hidden_layers 1000000 is more than"),
    "size that fills the memory too": (with_values(CONFIG, hidden_size=3 * 10**6), "this machine has a memory of"),
}  # fmt: skip


def predict(folder: Path) -> None:
    load_for_prediction(folder)


def train(folder: Path) -> None:
    check_trainable(folder, [], from_scratch=False)
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


def test_shards_that_an_index_names_are_read(copy: Path) -> None:
    whole = load_for_prediction(copy)[0].state_dict()
    with_shards(SHARD, SHARD)(copy)
    assert all(torch.equal(part, whole[name]) for name, part in load_for_prediction(copy)[0].state_dict().items())
    train(copy)


@pytest.mark.parametrize("name", [RECORD, FAMILIARITY, SEEN])
def test_a_pipe_in_place_of_what_train_py_wrote_is_refused(name: str, copy: Path) -> None:
    in_place_of(name, os.mkfifo)(copy)
    for read in (Predictor, read_seen):
        if (read is read_seen) == (name == SEEN):
            with pytest.raises(InputError, match=f"{name} is a folder, a pipe or a device"):
                read(copy)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (
            with_weights(lambda w: w["cls_classifier.weight"].fill_(3e38)),
            "the model in .* does not answer a gray image",
        ),
        (with_values(CONFIG, image_size=70), r"the model in .* can't be used: Input image size"),
    ],
)
def test_a_model_that_can_not_answer_is_refused(change: Change, reason: str, copy: Path, sample: Path) -> None:
    change(copy)
    with pytest.raises(InputError, match=reason):
        load_for_prediction(copy)
    words = ("recipes/demo.yaml", "--model", copy, "--from_scratch", "false", "--dataset", sample)
    error = in_process("train.py", *words, "--output_dir", copy.with_name("out"), check=2).stderr
    assert re.search(reason, error)


def test_a_model_of_several_answers_at_once_is_only_trained_from(copy: Path) -> None:
    with_values(CONFIG, problem_type="multi_label_classification")(copy)
    with pytest.raises(InputError, match="not probabilities of one diagnosis among all"):
        load_for_prediction(copy)
    assert load_for_training(copy, LABELS, from_scratch=False, new_head=False).config.problem_type is None


def test_a_model_of_one_label_would_be_sure_of_every_image(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="a model for one label are not probabilities"):
        load_for_prediction(save_model_of_other_classes(tmp_path / "model", ["mel"]))


def test_weights_that_no_classifier_has_are_left_out(copy: Path) -> None:
    """A pooler, the head of another task, the half of CLIP that reads text, and that a backbone alone has no prefix."""

    def add(weights: dict[str, torch.Tensor]) -> None:
        for name in ("deit.pooler.dense.weight", "lm_head.weight", "text_model.layers.0.fc1.weight", "mask_token"):
            weights[name] = torch.zeros(3, 3)

    with_weights(add)(copy)
    train(copy)
    predict(copy)
    add_layer = {"layers.9.mlp.fc1.weight": torch.zeros(3, 3)}
    with_weights(lambda weights: weights.update(add_layer))(copy)
    with pytest.raises(InputError, match="do not fit its config"):
        train(copy)


def test_a_model_that_fills_the_memory_is_not_made_from_scratch(tmp_path: Path, sample: Path) -> None:
    folder = shutil.copytree(ROOT / "recipes" / "demo-deit", tmp_path / "model")
    with_values(CONFIG, hidden_size=3 * 10**6)(folder)
    words = (
        "recipes/demo.yaml",
        "--model",
        folder,
        "--from_scratch",
        "--dataset",
        sample,
        "--output_dir",
        tmp_path / "run",
    )
    assert "this machine has a memory of" in in_process("train.py", *words, check=2).stderr


@pytest.mark.parametrize("content", [b"", b"[]", b"{}", b'{"status": null, "dataset": null, "settings": []}'])
def test_a_broken_record_is_one_clear_error(content: bytes, copy: Path) -> None:
    (copy / "training.json").write_bytes(content)
    with pytest.raises(InputError, match=r"training\.json is not"):
        record_of(copy)


def test_only_a_deit_learns_from_a_teacher(copy: Path) -> None:
    check_trainable(copy, [copy], from_scratch=False)
    with_values(CONFIG, model_type="vit", architectures=["ViTForImageClassification"])(copy)
    check_trainable(copy, [], from_scratch=False)
    with pytest.raises(InputError, match="--teacher needs a DeiT"):
        check_trainable(copy, [copy], from_scratch=False)


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
