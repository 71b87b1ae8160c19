"""Worker processes: they end with the command, and a killed one ends the command with one clear error."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from conftest import ROOT
from torch.utils.data import DataLoader

from lesions.faults import killed_worker
from lesions.training.workers import with_quiet_workers

# Each starts workers that wait, and says so when they all run.
BODIES = {
    "reading images": """
from lesions.data.workers import each_image
list(each_image(task, [Path(str(n)) for n in range(64)], 2, "reading"))
""",
    "searching copies": """
from lesions.data.duplicates import verification
verification._verify = task
verification.score_pairs(None, np.zeros((4000, 2), np.int64), 2)
""",
}
PROGRAM = """
import os, sys, time
from pathlib import Path
import numpy as np
from lesions.faults import exits_cleanly

def task(*arguments):
    Path(sys.argv[1], str(os.getpid())).touch()
    time.sleep(600)

@exits_cleanly
def main():
    {body}

if __name__ == "__main__":
    main()
"""


Running = tuple[subprocess.Popen[str], list[psutil.Process]]


@pytest.fixture(params=BODIES)
def running(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Running]:
    """The command and its workers, all at work."""
    program, seen = tmp_path / "program.py", tmp_path / "seen"
    seen.mkdir()
    program.write_text(PROGRAM.format(body=BODIES[request.param].strip().replace("\n", "\n    ")))
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "LOKY_PICKLER": "cloudpickle"}
    process = subprocess.Popen([sys.executable, program, seen], cwd=ROOT, env=environment, text=True,
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE)  # fmt: skip
    while len(workers := [psutil.Process(int(path.name)) for path in seen.iterdir()]) < 2:
        assert process.poll() is None, process.communicate()[1]
        time.sleep(0.1)
    yield process, workers
    process.kill()
    for worker in workers:
        if worker.is_running():
            worker.kill()


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_workers_end_with_the_command(running: Running, number: int) -> None:
    process, workers = running
    process.send_signal(number)
    process.communicate()  # a reader, like `tee`, that waits until nobody can write any more
    assert process.returncode == -number
    assert not psutil.wait_procs(workers, timeout=30)[1]


def test_a_killed_worker_is_one_clear_error(running: Running) -> None:
    process, workers = running
    workers[0].kill()
    error = process.communicate()[1]
    assert process.returncode == 2 and "Traceback" not in error
    assert "error: a worker process was killed, as the system does where memory runs out" in error
    assert not psutil.wait_procs(workers, timeout=30)[1]


def test_a_worker_shows_no_traceback_of_a_connection_that_another_ones_end_broke(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "excepthook", sys.excepthook)  # so that it is put back
    started: list[int] = []
    loader = with_quiet_workers(DataLoader([], num_workers=1, worker_init_fn=started.append))
    loader.worker_init_fn(3)
    for error in (EOFError(), ConnectionResetError(104, "reset"), ValueError("shown")):
        sys.excepthook(type(error), error, None)
    assert started == [3] and capsys.readouterr().err == "ValueError: shown\n"


def test_what_torch_says_of_a_killed_worker() -> None:
    killed = RuntimeError("DataLoader worker (pid 7) is killed by signal: Killed. ")
    assert "--dataloader_num_workers 0" in str(killed_worker(killed))
    assert killed_worker(RuntimeError("Caught ValueError in DataLoader worker process 0.")) is None


def test_a_killed_worker_of_the_data_loader_is_one_clear_error(sample: Path, tmp_path: Path) -> None:
    options = [
        "recipes/demo.yaml",
        "--dataset",
        sample,
        "--output_dir",
        tmp_path / "run",
        "--dataloader_num_workers",
        2,
    ]
    process = subprocess.Popen([sys.executable, "train.py", *map(str, options), "--num_train_epochs", "1000"], cwd=ROOT,
                               text=True, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)  # fmt: skip
    parent = psutil.Process(process.pid)
    # In its first step, torch catches the error of a killed worker beside one that it expects, and warns of both.
    while not any((tmp_path / "run").glob("checkpoint-*")) or len(workers := parent.children()) < 2:
        assert process.poll() is None
        time.sleep(0.1)
    workers[0].kill()
    error = process.communicate()[1]
    assert process.returncode == 2 and "Traceback" not in error
    assert "error: a worker process was killed" in error and "DataLoader worker (pid" in error
