"""What is told from the kind of processor."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from conftest import EPYC, XEON

from lesions.cpu import fast_bfloat16


@pytest.mark.skipif(torch.accelerator.is_available(), reason="speaks of CPUs")
@pytest.mark.parametrize(
    ("processor", "fast"),
    [
        (EPYC, True),
        ({**EPYC, "avx512_bf16": False}, False),
        (XEON, False),
        ({**XEON, "amx_bf16": True}, True),
        ({"architecture": "aarch64"}, False),
    ],
)
def test_the_kind_of_processor_tells_whether_bfloat16_is_fast(
    processor: dict[str, Any], fast: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: processor)
    assert fast_bfloat16() is fast
