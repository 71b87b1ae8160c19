"""Linear layers through oneDNN, in full float32, on CPUs where torch's own choice is slower.

torch multiplies float32 matrices through MKL, which gives an AMD processor with AVX-512 less than half of what it can
do; through oneDNN, which torch carries too, DeiT-tiny predicts nearly twice as fast, with the same result to the last
digits. torch offers that by an operator of its compiler only.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import torch
from torch import nn


class OneDnnLinear(nn.Module):
    """A linear layer that goes through oneDNN where no gradient is asked for, with weights packed once."""

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__()
        self.linear = linear
        self.packed = torch.ops.mkldnn._reorder_linear_weight(linear.weight.detach())

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        if torch.is_grad_enabled() or inputs.dtype != torch.float32:
            return self.linear(inputs)
        return torch.ops.mkldnn._linear_pointwise(inputs, self.packed, self.linear.bias, "none", [], "")


def speed_up(model: nn.Module) -> None:
    """Sends the linear layers of a float32 model on the CPU through oneDNN, if this machine gains by it.

    To be called when the weights are final: they are packed here.
    """
    if not torch.backends.mkldnn.is_available() or not _gains():
        return
    layers = [(parent, name) for parent in model.modules() for name, child in parent.named_children()
              if type(child) is nn.Linear]  # fmt: skip
    for parent, name in layers:
        setattr(parent, name, OneDnnLinear(getattr(parent, name)))


@torch.no_grad()
def _gains() -> bool:
    """Whether a layer of DeiT-tiny, on the pictures of one batch, is faster that way: a tenth of a second's trial."""
    linear, inputs = nn.Linear(192, 768), torch.randn(6336, 192)
    return _seconds(linear, inputs) > 1.2 * _seconds(OneDnnLinear(linear), inputs)


def _seconds(layer: Callable[[torch.Tensor], torch.Tensor], inputs: torch.Tensor) -> float:
    times = []
    for _ in range(4):
        started = time.perf_counter()
        layer(inputs)
        times.append(time.perf_counter() - started)
    return min(times)
