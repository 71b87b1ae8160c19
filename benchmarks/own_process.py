"""Measurements in processes of their own: none finds the memory, caches or threads of another."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

from tqdm import tqdm

Way = TypeVar("Way")


def measured_by(module: str, words: Iterable[object]) -> dict[str, Any]:
    """The JSON that `python -m module words...` prints in its last line. Exits with its error if it fails."""
    done = subprocess.run([sys.executable, "-m", module, *map(str, words)], text=True, capture_output=True)
    if done.returncode:
        sys.exit(f"{module} {' '.join(map(str, words))} failed:\n{done.stderr}")
    return json.loads(done.stdout.splitlines()[-1])


def in_turns(ways: Iterable[Way], rounds: int, measure: Callable[[Way], dict[str, Any]]) -> dict[Way, list[dict]]:
    """What `measure` returns for each way, `rounds` times. The ways take turns: a machine that slows down slows all."""
    measured: dict[Way, list[dict]] = {way: [] for way in ways}
    for number in tqdm(range(rounds * len(measured)), unit="measurement", leave=False):
        way = list(measured)[number % len(measured)]
        measured[way].append(measure(way))
    return measured
