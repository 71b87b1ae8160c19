"""The faster ways to predict give what the plain ones give."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from lesions.onednn import OneDnnLinear
from lesions.prediction import VIEWS, one_ahead


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
