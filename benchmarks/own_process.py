"""One measurement in a process of its own, so that none finds memory, caches or threads of another."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterable
from typing import Any


def measured_by(module: str, words: Iterable[object]) -> dict[str, Any]:
    """The JSON that `python -m module words...` prints in its last line. Exits with its error where it fails."""
    done = subprocess.run([sys.executable, "-m", module, *map(str, words)], text=True, capture_output=True)
    if done.returncode:
        sys.exit(f"{module} {' '.join(map(str, words))} failed:\n{done.stderr}")
    return json.loads(done.stdout.splitlines()[-1])
