"""What a CPU, or the machine around it, has to be asked or told to compute fast."""

from __future__ import annotations

import ctypes
import os
import sys

import psutil
import torch

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # of glibc's malloc.h


def keep_freed_memory() -> None:
    """Lets glibc keep the memory that one step frees for the next step.

    It would hand every block over 32 MiB back to the system at once, and get it again page by page: a fifth of the
    time of a step of DeiT-tiny with 32 images of 224 pixels on two cores. Other C libraries are left alone.
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


# What a processor is told by is its name, not a trial: a trial may end otherwise on a busy machine, and the ways that
# are chosen by it differ in the last digits.


def has_avx512() -> bool:
    """Whether this is an x86 processor with AVX-512."""
    return bool(torch.cpu.get_capabilities().get("avx512_f", False))


def is_amd_with_avx512() -> bool:
    """Whether this is an AMD processor since Zen 4, on which MKL, torch's own choice, is slow."""
    return has_avx512() and "AMD" in torch.cpu.get_capabilities().get("cpu_name", "")


def fast_bfloat16() -> bool:
    """Whether this machine trains faster in bfloat16: a GPU since Ampere, a CPU with AMX, or an AMD with AVX-512-BF16.

    AVX-512-BF16 alone does not tell: a step of DeiT-tiny at 224 pixels takes a third of float32's time on one AMD EPYC,
    and 1.5 times as long on an Intel Xeon that has it without AMX. A run that began in one is not continued in the
    other. Not measured, and so a guess: AMX, taken to be fast, and processors other than x86, taken not to be.
    """
    if torch.accelerator.is_available():
        return torch.cuda.is_available() and torch.cuda.is_bf16_supported(including_emulation=False)
    processor = torch.cpu.get_capabilities()
    return bool(processor.get("amx_bf16") or (processor.get("avx512_bf16") and is_amd_with_avx512()))
