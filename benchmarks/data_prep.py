"""Time and peak memory of data_prep.py on a folder in HAM10000's layout.

python benchmarks/data_prep.py /path/to/ham10000
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import threading
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import psutil
import pyarrow.parquet as pq

ROOT = Path(__file__).parent.parent


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", type=Path, help="folder with HAM10000_metadata.csv and the pictures")
    source = parser.parse_args().source

    print(f"{'what':<36}{'seconds':>9}{'pictures/s':>12}{'peak MB':>9}")
    with TemporaryDirectory() as folder:
        output = Path(folder) / "data"
        command = [sys.executable, "data_prep.py", "--source", str(source.resolve()), "--output", str(output)]
        started = time.monotonic()
        process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        peak = PeakMemory(process.pid)
        if process.wait():
            sys.exit(f"{' '.join(command)} failed; run it alone to see why")
        seconds = time.monotonic() - started
        pictures = sum(pq.ParquetFile(file).metadata.num_rows for file in output.rglob("*.parquet"))
    print(
        f"{f'data_prep.py on {os.cpu_count()} cores':<36}{seconds:>9.1f}{pictures / seconds:>12.0f}{peak.stop():>9.0f}"
    )


class PeakMemory:
    """Samples, fifty times a second, what a process and its children hold together (pages they share counted once)."""

    def __init__(self, pid: int) -> None:
        self.process, self.peak, self.running = psutil.Process(pid), 0.0, True
        self.thread = threading.Thread(target=self._watch, daemon=True)
        self.thread.start()

    def _watch(self) -> None:
        while self.running:
            try:
                family = [self.process, *self.process.children(recursive=True)]
                self.peak = max(self.peak, sum(member.memory_full_info().pss for member in family) / 2**20)
            except psutil.NoSuchProcess:
                pass  # one of them ended while it was being asked
            time.sleep(0.02)

    def stop(self) -> float:
        """The peak in MiB."""
        self.running = False
        self.thread.join()
        return self.peak


if __name__ == "__main__":
    main()
