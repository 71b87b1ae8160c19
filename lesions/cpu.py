"""What makes a CPU compute fast: settings, and questions about the processor."""

from __future__ import annotations

import ctypes
import os
import sys

import psutil
import torch

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # of glibc's malloc.h


def keep_freed_memory() -> None:
    """Lets glibc keep the memory that one step frees for the next step.

    By default it returns every block over 32 MiB to the system and gets it back page by page. That takes a fifth of
    the time of a step of DeiT-tiny with 32 images of 224 pixels on two cores. Other C libraries stay as they are.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt:
        mallopt(M_MMAP_THRESHOLD, 2**30)
        mallopt(M_TRIM_THRESHOLD, 2**31 - 1)


def use_all_cores() -> None:
    """`accelerate launch` without a config gives each process one thread: half the speed on two cores.

    Call it in a process that has the machine to itself. A number of threads that the user chose stays.
    """
    if "ACCELERATE_MIXED_PRECISION" in os.environ and os.environ.get("OMP_NUM_THREADS") == "1":
        torch.set_num_threads(psutil.cpu_count(logical=False) or os.cpu_count() or 1)


def fast_bfloat16() -> bool:
    """Whether this machine trains faster in bfloat16: a GPU since Ampere, a CPU with AMX, or an AMD with AVX-512-BF16.

    AVX-512-BF16 alone does not decide it: a step of DeiT-tiny at 224 pixels takes a third of float32's time on an AMD
    EPYC, and 1.5 times as long on an Intel Xeon that has it without AMX. Not measured, and so a guess: AMX, assumed to
    be fast, and processors other than x86, assumed to be slow. The processor's name decides, not a trial: on a busy
    machine a trial may end differently, and a run that began in one precision is not continued in the other.
    """
    if torch.accelerator.is_available():
        return torch.cuda.is_available() and torch.cuda.is_bf16_supported(including_emulation=False)
    processor = torch.cpu.get_capabilities()
    return bool(processor.get("amx_bf16") or (processor.get("avx512_bf16") and "AMD" in processor.get("cpu_name", "")))
