"""Batches, the look ahead and the views that predictions are made of."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from in_process import in_process
from other_model import save_model_of_other_classes
from PIL import Image
from transformers import AutoImageProcessor

from lesions.evaluation.prediction import VIEWS, Predictor, in_batches, one_ahead
from lesions.faults import InputError
from lesions.model import loading
from lesions.model.inputs import LesionImages, noise
from lesions.model.loading import load_processor


def test_batches_keep_the_order_of_the_images() -> None:
    class Numbers:
        def __len__(self) -> int:
            return 7

        def __getitem__(self, number: int) -> dict:
            return {"pixel_values": torch.full((1,), float(number)), "labels": number, "rows": number}

    batches = [batch["rows"].tolist() for batch in in_batches(Numbers(), 3)]
    assert batches == [[0, 1, 2], [3, 4, 5], [6]]


def test_one_ahead_keeps_order_and_raises_what_the_batches_raise() -> None:
    assert list(one_ahead(range(5))) == [0, 1, 2, 3, 4] and list(one_ahead([])) == []

    def breaks():
        yield 1
        raise ValueError("broken")

    batches = one_ahead(breaks())
    assert next(batches) == 1
    with pytest.raises(ValueError, match="broken"):
        next(batches)


def test_the_views_are_the_symmetries_of_the_square() -> None:
    pixels = torch.arange(9.0).view(1, 1, 3, 3)
    seen = {view(pixels).flatten().int().tolist().__str__() for view in VIEWS["dihedral"]}
    assert len(seen) == 8
    flips = [view(pixels)[0, 0] for view in VIEWS["flips"]]
    expected = [pixels[0, 0], pixels[0, 0].flip(0, 1), pixels[0, 0].flip(1), pixels[0, 0].flip(0)]
    assert all(torch.equal(one, other) for one, other in zip(flips, expected, strict=True))


def test_the_preprocessing_is_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read, folder = [], save_model_of_other_classes(tmp_path / "model")
    monkeypatch.setattr(loading, "load_processor", lambda folder: read.append(folder) or load_processor(folder))
    assert Predictor(folder).processor.resample == 2 and read == [folder]


SQUARE = {"height": 64, "width": 64}


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("EfficientNet", {"size": SQUARE, "image_std": [0.4, 0.5, 0.6]}),
        ("ConvNext", {"size": {"shortest_edge": 64}}),
        ("ConvNext", {"size": {"shortest_edge": 384}}),
        ("CLIP", {"size": {"shortest_edge": 64}, "crop_size": SQUARE}),
        ("MobileViT", {"size": {"shortest_edge": 72}, "crop_size": SQUARE, "do_normalize": True, "image_std": 0.5}),
    ],
)
def test_the_values_are_those_of_any_processor(kind: str, options: dict[str, Any], tmp_path: Path) -> None:
    about = {"image_processor_type": f"{kind}ImageProcessor", "image_mean": [0.1, 0.2, 0.3], **options}
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(about))
    expected = AutoImageProcessor.from_pretrained(tmp_path)
    rows = [{"image": image, "label": 0} for image in noise(64)]
    for row, found in zip(rows, LesionImages(rows, load_processor(tmp_path)), strict=False):
        assert np.allclose(
            found["pixel_values"], expected(row["image"], return_tensors="np")["pixel_values"][0], atol=1e-5
        )


def test_a_processor_of_other_steps_is_refused(tmp_path: Path) -> None:
    about = {"image_processor_type": "Owlv2ImageProcessor", "size": SQUARE}  # which normalizes before it resizes
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(about))
    with pytest.raises(InputError, match="Owlv2ImageProcessorPil does not resize and crop first"):
        load_processor(tmp_path)


def test_an_error_names_some_of_a_thousand_labels_and_counts_the_others(sample: Path, tmp_path: Path) -> None:
    labels = [f"thing{number}" for number in range(999)] + ["mel"]
    model = save_model_of_other_classes(tmp_path / "model", labels)
    Image.new("RGB", (64, 48)).save(tmp_path / "a.png")
    (tmp_path / "truth.csv").write_text("image_id,dx\na,nv\n")
    (tmp_path / "columns.csv").write_text("image,MEL,NV\na,1,0\n")
    images = ("evaluate_model.py", "--model", model, "--images", tmp_path / "a.png", "--output", tmp_path / "out")
    train = ("train.py", "recipes/demo.yaml", "--dataset", sample, "--output_dir", tmp_path / "run")
    for given in (
        ("evaluate_model.py", "--model", model, "--dataset", sample, "--output", tmp_path / "out"),
        (*images, "--ground_truth", tmp_path / "truth.csv"),
        (*images, "--ground_truth", tmp_path / "columns.csv"),
        (*images, "--malignant", "nv"),
        (*train, "--teacher", model),
        (*train, "--model", model, "--from_scratch", "false"),
    ):
        error = in_process(*given, check=2).stderr
        assert "thing0" in error and " more" in error and len(error) < 1500, error
