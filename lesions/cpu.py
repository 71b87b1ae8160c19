"""What a CPU, or the machine around it, has to be asked or told to compute fast."""

from __future__ import annotations

import ctypes
import os
import sys
import time

import psutil
import torch

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # of glibc's malloc.h


def keep_freed_memory() -> None:
    """Lets glibc keep the memory that one step frees for the next step.

    It would hand every block over 32 MiB back to the system at once, and get it again page by page: a fifth of the
    time of a step of DeiT-tiny with 32 pictures of 224 pixels on two cores. Other C libraries are left alone.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt:
        mallopt(M_MMAP_THRESHOLD, 2**30)
        mallopt(M_TRIM_THRESHOLD, 2**31 - 1)


def use_all_cores() -> None:
    """`accelerate launch` without a config gives each process one thread: half the speed on two cores.

    To be called by a process that has the machine to itself. Where the user chose the threads, they stay.
    """
    if "ACCELERATE_MIXED_PRECISION" in os.environ and os.environ.get("OMP_NUM_THREADS") == "1":
        torch.set_num_threads(psutil.cpu_count(logical=False) or os.cpu_count() or 1)


def fast_bfloat16() -> bool:
    """Whether this machine computes faster in bfloat16: a GPU since Ampere, or a CPU that is seen to.

    What a CPU says of itself does not tell: with AVX-512-BF16 and without AMX, one multiplied matrices at a fifth
    of the time of float32 and another took longer. So a layer of DeiT-tiny is timed, which takes 0.1 seconds.
    """
    if torch.accelerator.is_available():
        return torch.cuda.is_available() and torch.cuda.is_bf16_supported(including_emulation=False)

    def seconds(dtype: torch.dtype) -> float:
        inputs, weights = torch.randn(4096, 192, dtype=dtype), torch.randn(768, 192, dtype=dtype)
        times = []
        for _ in range(5):
            started = time.perf_counter()
            torch.nn.functional.linear(inputs, weights)
            times.append(time.perf_counter() - started)
        return min(times)

    return seconds(torch.float32) > 1.5 * seconds(torch.bfloat16)
