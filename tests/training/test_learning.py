"""What a training does to images, targets and learning rates: each against a case done by hand."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import ROOT
from torch import nn
from torch.nn.functional import cross_entropy, interpolate
from transformers import (
    AutoModelForImageClassification,
    CLIPConfig,
    ConvNextConfig,
    EfficientNetConfig,
    EfficientNetForImageClassification,
    EfficientNetImageProcessor,
    MobileNetV1Config,
    MobileNetV1ForImageClassification,
    ResNetConfig,
    ResNetForImageClassification,
    SiglipConfig,
    ViTConfig,
    ViTForImageClassification,
)

from lesions.faults import InputError
from lesions.model.inputs import LesionImages
from lesions.model.loading import load_for_training, load_processor
from lesions.model.resolution import check_low_side, image_side, see_whole_image, size_options, take_images_of
from lesions.training.augmentation import Augmentation, mix
from lesions.training.distillation import Distillation, Teacher, Teachers
from lesions.training.layer_decay import parameter_groups

DEMO = ROOT / "recipes" / "demo-deit"
LABELS = ["akiec", "bcc", "bkl", "df", "mel", "nv", "vasc"]


@pytest.fixture(scope="module")
def rows(sample: Path):
    from datasets import load_dataset

    return load_dataset(str(sample), split="train")


def test_mixing_takes_from_the_target_what_it_takes_from_the_image() -> None:
    # Each image is filled with its number, each target says the number: both must hold the same mixture.
    batch, side, seen = 8, 16, Counter()
    numbers = torch.arange(batch, dtype=torch.float32)
    pixels = numbers[:, None, None, None].expand(batch, 3, side, side)
    targets = torch.eye(batch)
    for seed in range(60):
        mixed, mixed_targets = mix(pixels, targets, 0.5, np.random.default_rng(seed))
        if mixed is pixels:
            assert mixed_targets is targets
            seen["unmixed"] += 1
            continue
        assert torch.allclose(mixed.mean((1, 2, 3)), mixed_targets @ numbers, atol=1e-4)
        assert torch.allclose(mixed_targets.sum(1), torch.ones(batch))
        pasted = all(len(image.unique()) <= 2 and (image == n).any() for n, image in enumerate(mixed))
        seen["CutMix" if pasted and any(len(p.unique()) == 2 for p in mixed) else "mixup"] += 1
    assert 15 < seen["unmixed"] < 45 and seen["mixup"] > 5 and seen["CutMix"] > 5, seen
    assert torch.equal(pixels[3], torch.full((3, side, side), 3.0))  # what the data set keeps is left alone


@pytest.mark.parametrize(
    "config",
    [
        ResNetConfig(embedding_size=8, hidden_sizes=[8, 16], depths=[2, 3], num_labels=7, layer_type="basic"),
        ConvNextConfig(num_stages=2, hidden_sizes=[8, 16], depths=[2, 3], num_labels=7),
    ],
)
def test_stages_that_number_their_layers_from_0_learn_ever_faster(config) -> None:
    model = AutoModelForImageClassification.from_config(config)
    rates = {id(each): group["lr"] for group in parameter_groups(model, 1.0, 0.5, 0.0) for each in group["params"]}
    blocks = [
        {rates[id(each)] for name, each in model.named_parameters() if f"stages.{stage}.layers.{layer}." in name}
        for stage, layer in ((0, 0), (0, 1), (1, 0), (1, 1), (1, 2))
    ]
    assert blocks == [{0.5 ** (5 - depth)} for depth in range(5)]
    between = {rates[id(each)] for name, each in model.named_parameters() if "stages.1.downsampling" in name}
    assert between <= {0.5**4}
    assert {rates[id(each)] for name, each in model.named_parameters() if name.startswith("classifier")} == {1.0}


def test_a_layer_learns_at_its_share_of_the_rate_above_it() -> None:
    model = load_for_training(DEMO, LABELS, from_scratch=True, new_head=False)
    layers = model.config.num_hidden_layers
    by_id = {
        id(parameter): group for group in parameter_groups(model, 1e-3, 0.5, 0.05) for parameter in group["params"]
    }
    groups = {name: by_id[id(parameter)] for name, parameter in model.named_parameters()}
    assert len(by_id) == len(groups)  # every parameter once
    assert groups["cls_classifier.weight"]["lr"] == groups["distillation_classifier.bias"]["lr"] == 1e-3
    assert groups["deit.layernorm.weight"]["lr"] == 1e-3
    for name, group in groups.items():
        if f".{layers - 1}." in name:
            assert group["lr"] == 0.5e-3, name
        if ".layers.0." in name or ".layer.0." in name:
            assert group["lr"] == pytest.approx(1e-3 * 0.5**layers), name
        if "embeddings" in name:
            assert group["lr"] == pytest.approx(1e-3 * 0.5 ** (layers + 1)), name
        spared = name.endswith("bias") or "norm" in name or "token" in name or "position" in name
        assert group["weight_decay"] == (0 if spared else 0.05), name


@pytest.mark.parametrize("kind", [CLIPConfig, SiglipConfig])
def test_a_model_of_text_and_images_takes_smaller_images_too(kind: type) -> None:
    shape = {"hidden_size": 24, "num_attention_heads": 3, "num_hidden_layers": 1, "intermediate_size": 48}
    config = kind(vision_config={**shape, "image_size": 64, "patch_size": 8}, text_config=shape, num_labels=7)
    model = AutoModelForImageClassification.from_config(config)
    assert size_options(model, 64) == {}
    logits = model(pixel_values=torch.rand(2, 3, 48, 48), **size_options(model, 48)).logits
    assert logits.shape == (2, 7) and logits.isfinite().all()
    with pytest.raises(InputError, match="less than one of the model's patches"):
        check_low_side(7, model)


@pytest.mark.parametrize("architecture", ["deit", "vit"])
def test_larger_images_are_seen_as_by_the_same_model_with_stretched_positions(architecture: str) -> None:
    model, processor = load_for_training(DEMO, LABELS, from_scratch=True, new_head=False).eval(), load_processor(DEMO)
    if architecture == "vit":
        model = ViTForImageClassification(ViTConfig(**model.config.to_diff_dict())).eval()
    torch.nn.init.normal_(getattr(model, architecture).embeddings.position_embeddings)
    pixels = torch.rand(2, 3, 96, 96)
    with torch.no_grad():
        stretched = model(pixel_values=pixels, interpolate_pos_encoding=True).logits
        take_images_of(96, model, processor)
        assert torch.allclose(model(pixel_values=pixels).logits, stretched, atol=1e-6)
    assert image_side(processor) == model.config.image_size == 96
    assert all(parameter.requires_grad for parameter in model.parameters())
    with pytest.raises(InputError, match="100 is not a whole number"):
        take_images_of(100, model, processor)
    with pytest.raises(InputError, match="no positions"):
        take_images_of(96, ResNetForImageClassification(ResNetConfig(depths=[1], hidden_sizes=[8])), processor)


@pytest.mark.parametrize(
    ("kind", "config"),
    [
        (EfficientNetForImageClassification, EfficientNetConfig(width_coefficient=0.1, hidden_dim=128)),
        (MobileNetV1ForImageClassification, MobileNetV1Config(depth_multiplier=0.1)),
        (ResNetForImageClassification, ResNetConfig(embedding_size=8, hidden_sizes=[8], depths=[1])),
    ],
)
def test_a_cnn_is_not_evaluated_by_the_statistics_of_its_last_batch(kind: type, config, tmp_path: Path) -> None:
    kind(config).save_pretrained(tmp_path)
    EfficientNetImageProcessor().save_pretrained(tmp_path)
    model = load_for_training(tmp_path, LABELS, from_scratch=False, new_head=False).train()
    norm = next(module for module in model.modules() if isinstance(module, nn.BatchNorm2d))
    seen = []
    norm.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0].mean((0, 2, 3))))
    model(pixel_values=torch.rand(2, 3, 64, 64))
    new = norm.running_mean.norm() / seen[0].norm()  # it began at 0
    assert 0.005 < new <= 0.11


def test_images_that_are_kept_are_what_the_processor_gives(rows) -> None:
    processor = load_processor(DEMO)
    kept = LesionImages(rows.select(range(6)), processor, keep=True)
    for _ in range(2):  # decoded, then from memory
        for index in range(6):
            expected = processor(rows[index]["image"], return_tensors="pt")["pixel_values"][0]
            assert torch.allclose(kept[index]["pixel_values"], expected, atol=1e-6)
            assert kept[index]["labels"] == rows[index]["label"] and kept[index]["rows"] == index
    assert kept.kept["whole"].all()


def test_the_first_epochs_take_smaller_images(rows) -> None:
    images = LesionImages(rows, load_processor(DEMO), Augmentation(seed=1, low_side=48, low_epochs=2))
    for epoch, side in enumerate((48, 48, 64, 64)):
        images.set_epoch(epoch)
        assert images[0]["pixel_values"].shape == (3, side, side)


CROPS = {
    "DeiT": {"size": {"height": 73, "width": 73}, "crop_size": {"height": 64, "width": 64}},
    "ConvNext": {"size": {"shortest_edge": 64}, "crop_pct": 0.875},  # as ConvNeXt and ResNet are published
    "Bit": {"size": {"shortest_edge": 73}, "crop_size": {"height": 64, "width": 64}},
    "PoolFormer": {"size": {"shortest_edge": 64}, "crop_size": {"height": 64, "width": 64}, "crop_pct": 0.9},
}


@pytest.mark.parametrize("kind", CROPS)
def test_the_whole_frame_is_seen_where_imagenet_would_crop_it(kind: str, tmp_path: Path) -> None:
    about = {"image_processor_type": f"{kind}ImageProcessor", "image_mean": [0.5] * 3, "image_std": [0.5] * 3}
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(about | CROPS[kind]))
    see_whole_image(load_processor(tmp_path)).save_pretrained(tmp_path)
    processor = load_processor(tmp_path)
    frame = np.zeros((100, 150, 3), np.uint8)
    frame[:, :15] = frame[:, -15:] = 255  # the outer tenths
    seen = processor(frame, return_tensors="np")["pixel_values"][0]
    assert seen.shape == (3, 64, 64)
    assert seen[:, :, :5].min() == seen[:, :, -5:].min() == 1 and seen[:, :, 10:-10].max() == -1


def test_distillation_losses_by_hand() -> None:
    student = torch.tensor([[2.0, 0.0, -1.0], [0.0, 1.0, 0.0]])
    teacher = torch.tensor([[0.0, 3.0, 0.0], [0.0, 5.0, 0.0]])
    hard = Distillation("hard", 0.5, 3.0).loss(student, teacher)
    assert torch.allclose(hard, cross_entropy(student, torch.tensor([1, 1]), reduction="none"))
    soft = Distillation("soft", 0.5, 2.0).loss(student, teacher)
    p, q = (torch.softmax(logits / 2, -1) for logits in (teacher, student))
    assert torch.allclose(soft, 4 * (p * (p / q).log()).sum(-1), atol=1e-6)
    assert torch.allclose(Distillation("soft", 0.5, 2.0).loss(teacher, teacher), torch.zeros(2), atol=1e-6)


def test_several_teachers_answer_with_the_mean_of_their_probabilities() -> None:
    logits = torch.tensor([[3.0, 0.0, -1.0], [0.0, 1.0, 0.5]])
    mean = (torch.softmax(logits, -1) + torch.softmax(torch.relu(logits), -1)) / 2
    assert torch.allclose(Teachers([nn.Identity(), nn.ReLU()])(logits), mean.log(), atol=1e-6)
    assert torch.allclose(Teachers([nn.Identity()])(logits).softmax(-1), logits.softmax(-1), atol=1e-6)


def test_the_teacher_answers_in_the_order_of_the_students_labels(run: Path, rows) -> None:
    turned, processor = LABELS[::-1], load_processor(run)
    pixels = torch.stack([LesionImages(rows, processor)[i]["pixel_values"] for i in range(4)])
    straight = Teacher(run, LABELS, processor)(pixels)
    assert torch.allclose(Teacher(run, turned, processor)(pixels), straight.flip(-1))
    processor.image_mean, processor.image_std = [0.4, 0.5, 0.6], [0.2, 0.3, 0.2]  # the student sees other numbers
    pixels = torch.stack([LesionImages(rows, processor)[i]["pixel_values"] for i in range(4)])
    assert torch.allclose(Teacher(run, LABELS, processor)(pixels), straight, atol=1e-4)
    small = interpolate(pixels, size=(32, 32), mode="bilinear", antialias=True)
    teacher = Teacher(run, LABELS, processor)
    assert torch.allclose(teacher(small), teacher.model(small * teacher.scale + teacher.offset,
                                                        interpolate_pos_encoding=True).logits)  # fmt: skip
    large, own = torch.rand(2, 3, 96, 96), (teacher.side, teacher.side)
    shrunk = interpolate(large, size=own, mode="bilinear", antialias=True)
    assert torch.allclose(teacher(large), teacher(shrunk), atol=1e-5)
    with pytest.raises(InputError, match="the teacher in"):
        Teacher(run, ["mel", "nv"], processor)
    processor.do_flip_channel_order = True  # as MobileViT's
    with pytest.raises(InputError, match="red and blue in different orders"):
        Teacher(run, LABELS, processor)


def test_a_cnn_can_teach_and_sees_small_images_enlarged(run: Path, tmp_path: Path) -> None:
    config = ResNetConfig(embedding_size=8, hidden_sizes=[8, 16], depths=[1, 1], layer_type="basic")
    config.id2label = dict(enumerate(LABELS))
    ResNetForImageClassification(config).save_pretrained(tmp_path)
    processor = load_processor(run)
    processor.save_pretrained(tmp_path)
    teacher, small = Teacher(tmp_path, LABELS, processor), torch.rand(2, 3, 32, 32)
    large = interpolate(small, size=(teacher.side, teacher.side), mode="bilinear", antialias=True)
    assert teacher.side > 32 and torch.equal(teacher(small), teacher(large))
    assert not teacher.model.training  # its batch norm answers with what it learnt


@pytest.mark.parametrize("options", [{}, {"rescale_factor": 1 / 127.5}, {"do_normalize": False}, {"include_top": True}])
def test_a_teacher_gets_the_images_as_its_own_preprocessing_makes_them(options: dict, tmp_path: Path) -> None:
    config = EfficientNetConfig(width_coefficient=0.1, hidden_dim=128, image_size=64, id2label=dict(enumerate(LABELS)))
    EfficientNetForImageClassification(config).save_pretrained(tmp_path)
    size = {"size": {"height": 64, "width": 64}, "image_mean": [0.1, 0.2, 0.3], "image_std": [0.4, 0.5, 0.6]}
    EfficientNetImageProcessor(**size, **{"include_top": False, **options}).save_pretrained(tmp_path)
    student, processor = load_processor(DEMO), load_processor(tmp_path)
    teacher = Teacher(tmp_path, LABELS, student)
    pixels = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    seen, own = (torch.from_numpy(one(pixels, return_tensors="np")["pixel_values"]) for one in (student, processor))
    assert torch.allclose(seen * teacher.scale + teacher.offset, own, atol=1e-5)
