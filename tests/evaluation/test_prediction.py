"""The faster ways to predict give what the plain ones give."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from conftest import EPYC, XEON
from torch import nn
from torch.nn.functional import scaled_dot_product_attention
from transformers import (
    DeiTConfig,
    DeiTForImageClassificationWithTeacher,
)
from transformers.activations import GELUActivation

from lesions.evaluation.prediction import VIEWS, in_batches, one_ahead
from lesions.model.onednn import OneDnnLinear, attention, speed_up

SMALL = {"hidden_size": 24, "num_attention_heads": 3, "num_hidden_layers": 2, "intermediate_size": 48, "image_size": 32}


def test_a_layer_through_onednn_is_the_same_layer() -> None:
    linear, inputs = nn.Linear(24, 40), torch.randn(3, 7, 24)
    layer = OneDnnLinear(linear)
    with torch.inference_mode():
        assert layer(inputs).shape == (3, 7, 40) and torch.allclose(layer(inputs), linear(inputs), atol=1e-6)
    without_bias = OneDnnLinear(nn.Linear(24, 40, bias=False))
    with torch.no_grad():
        assert torch.allclose(without_bias(inputs), inputs @ without_bias.linear.weight.T, atol=1e-6)
    inputs.requires_grad_()
    layer(inputs).sum().backward()
    assert torch.allclose(inputs.grad[0, 0], linear.weight.sum(0), atol=1e-5)


def test_a_layer_with_its_gelu_is_both() -> None:
    linear, gelu, inputs = nn.Linear(24, 40), GELUActivation(), torch.randn(3, 7, 24)
    layer = OneDnnLinear(linear, gelu)
    assert torch.equal(layer(inputs), gelu(linear(inputs)))  # with a gradient
    with torch.inference_mode():
        assert torch.allclose(layer(inputs), gelu(linear(inputs)), atol=1e-6)


@pytest.mark.parametrize("images", [1, 5, 9])
def test_attention_by_convolution_is_attention(images: int) -> None:
    parts = [torch.randn(images, 11, 3, 8).transpose(1, 2) for _ in range(3)]
    expected = scaled_dot_product_attention(*parts, scale=0.3).transpose(1, 2)
    with torch.inference_mode():
        answer, weights = attention(nn.Module(), *parts, None, scaling=0.3)
    assert answer.shape == (images, 11, 3, 8) and weights is None
    assert torch.allclose(answer, expected, atol=1e-5)
    masked = torch.zeros(images, 1, 11, 11).masked_fill(torch.eye(11) == 1, -torch.inf)
    with torch.inference_mode():
        answer = attention(nn.Module(), *parts, masked, scaling=0.3)[0]
    expected = scaled_dot_product_attention(*parts, attn_mask=masked, scale=0.3).transpose(1, 2)
    assert torch.allclose(answer, expected, atol=1e-5)


@pytest.mark.parametrize(("processor", "attention_of"), [(EPYC, "onednn"), (XEON, "sdpa")])
def test_a_model_that_was_sped_up_answers_as_before(
    processor: dict[str, Any], attention_of: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = DeiTForImageClassificationWithTeacher(DeiTConfig(**SMALL)).eval()
    pixels = torch.randn(2, 3, 32, 32)
    with torch.inference_mode():
        before = model(pixel_values=pixels).logits
        monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: processor)  # whatever this machine is
        speed_up(model)
        assert torch.allclose(model(pixel_values=pixels).logits, before, atol=1e-5)
    assert model.config._attn_implementation == attention_of
    assert sum(isinstance(module, OneDnnLinear) for module in model.modules()) == 2 * 6 + 2
    assert not any(isinstance(module, GELUActivation) for name, module in model.named_modules() if "gelu" not in name)
    model.set_attn_implementation("eager")  # with a gradient
    assert torch.allclose(model(pixel_values=pixels).logits, before, atol=1e-5)


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
