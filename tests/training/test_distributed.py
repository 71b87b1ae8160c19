"""Several processes, on one machine and on two, through `accelerate launch` and the configs that users get."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import ROOT
from in_process import in_process

from lesions.training.saved.checkpoints import last_whole_checkpoint

CONFIGS = ROOT / "recipes" / "accelerate"
LAUNCH = (sys.executable, "-m", "accelerate.commands.launch", "--config_file")
TWO_PROCESSES = (*LAUNCH, str(CONFIGS / "cpu_processes.yaml"))
# 13 images at a time divide no split evenly, so the processes' last batches are padded.
OPTIONS = (
    *("--max_steps", "6", "--logging_steps", "1", "--eval_strategy", "steps", "--eval_steps", "3"),
    *("--save_strategy", "steps", "--save_steps", "3", "--save_total_limit", "3"),
    *("--per_device_eval_batch_size", "13", "--bf16", "false", "--disable_tqdm", "true"),
)

CLOSE = {
    "grad_norm": {"abs": 1e-5, "rel": 1e-6},  # a thousand, here
    # What every probability goes into, so that the two below need not be held as closely.
    "eval_log_loss": {"abs": 1e-6},
    "eval_brier": {"abs": 1e-6},
    # A step counts micro-batches, of which the last may be smaller.
    "epoch": {"abs": 2e-3},
    # Two images whose scores differ by rounding alone may change places: seen once, 9e-5 of the AUC.
    "eval_roc_auc_macro": {"abs": 2e-4},
    "eval_average_precision_macro": {"abs": 2e-4},
}


def arguments(output: Path, sample: Path, batch: int, script: str = "train.py") -> list[str]:
    return [script, "recipes/demo.yaml", "--dataset", str(sample), "--output_dir", str(output), *OPTIONS,
            "--per_device_train_batch_size", str(batch)]  # fmt: skip


def history(output: Path) -> list[dict[str, float]]:
    return json.loads((output / "checkpoint-6" / "trainer_state.json").read_text())["log_history"]


@pytest.fixture(scope="module")
def alone(sample: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of one process with 16 images a step."""
    output = tmp_path_factory.mktemp("alone") / "run"
    in_process(*arguments(output, sample, 16))
    return output


def assert_same_curve(first: Path, second: Path) -> None:
    one, other = history(first), history(second)
    assert len(one) == len(other) == 8  # six losses and two evaluations
    # eval_loss is the mean of the batches' own weighted means, so it depends on how they are cut; log_loss does not.
    passed_over = {"seconds", "eval_loss", "eval_runtime", "eval_samples_per_second", "eval_steps_per_second"}
    for mine, theirs in zip(one, other, strict=True):
        for name in mine.keys() - passed_over:
            assert theirs[name] == pytest.approx(mine[name], **CLOSE.get(name, {"abs": 1e-5})), (mine["step"], name)


def test_two_processes_give_the_loss_curve_of_one_and_evaluate_every_image_once(
    alone: Path, sample: Path, tmp_path: Path
) -> None:
    output = tmp_path / "run"
    done = subprocess.run(
        [*TWO_PROCESSES, *arguments(output, sample, 8)], cwd=ROOT, text=True, capture_output=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    assert json.loads((output / "training.json").read_text())["processes"] == 2
    assert_same_curve(alone, output)
    assert done.stdout.count("class weights:") == 1  # one process tells


def interrupted(whole: Path, run: Path) -> Path:
    """`run`, a copy of `whole` that was killed after step 3 of 6."""
    shutil.copytree(whole, run, ignore=shutil.ignore_patterns("checkpoint-6"))
    record = json.loads((run / "training.json").read_text())
    (run / "training.json").write_text(json.dumps(record | {"status": "running"}))
    return run


def test_a_run_continues_with_its_batch_divided_otherwise_and_with_no_other_batch(
    alone: Path, sample: Path, tmp_path: Path
) -> None:
    run = interrupted(alone, tmp_path / "processes")
    done = subprocess.run(
        [*TWO_PROCESSES, *arguments(run, sample, 16)], cwd=ROOT, text=True, capture_output=True, timeout=300
    )
    assert done.returncode != 0 and "whole_batch: 16 there, 32 now" in done.stderr
    done = subprocess.run(
        [*TWO_PROCESSES, *arguments(run, sample, 8)], cwd=ROOT, text=True, capture_output=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    assert_same_curve(alone, run)

    run = interrupted(alone, tmp_path / "accumulation")
    assert "whole_batch: 16 there, 8 now" in in_process(*arguments(run, sample, 8), check=2).stderr
    in_process(*arguments(run, sample, 4), "--gradient_accumulation_steps", 4, "--dataloader_prefetch_factor", 2,
               "--dataloader_num_workers", 1)  # fmt: skip
    assert_same_curve(alone, run)


def test_a_process_that_dies_stops_the_job_and_leaves_its_checkpoints(sample: Path, tmp_path: Path) -> None:
    output, started = tmp_path / "run", time.monotonic()
    worker = arguments(output, sample, 8, "tests/training/dying_worker.py")
    worker[worker.index("--save_steps") + 1] = worker[worker.index("--eval_steps") + 1] = "2"
    done = subprocess.run([*TWO_PROCESSES, *worker], cwd=ROOT, text=True, capture_output=True, timeout=300)
    assert done.returncode != 0 and "SIGKILL" in done.stderr and time.monotonic() - started < 120
    assert last_whole_checkpoint(output) == output / "checkpoint-2"


@pytest.fixture
def two_hosts() -> Iterator[list[str]]:
    """The names of two network namespaces, joined by a cable and by nothing else."""
    if os.name != "posix" or os.geteuid() != 0 or not shutil.which("ip"):
        pytest.skip("network namespaces need root and the ip command")
    hosts = [f"lesions-{os.getpid()}-{number}" for number in (1, 2)]

    def ip(*words: str, check: bool = True) -> subprocess.CompletedProcess[bytes]:
        return subprocess.run(["ip", *words], capture_output=True, check=check)

    if ip("netns", "add", hosts[0], check=False).returncode:
        pytest.skip("network namespaces are not allowed here")
    try:
        ip("netns", "add", hosts[1])
        ip("link", "add", "cable", "netns", hosts[0], "type", "veth", "peer", "name", "cable", "netns", hosts[1])
        for number, host in enumerate(hosts, start=1):
            ip("-n", host, "address", "add", f"10.77.0.{number}/24", "dev", "cable")
            for device in ("cable", "lo"):
                ip("-n", host, "link", "set", device, "up")
        yield hosts
    finally:
        for host in hosts:
            ip("netns", "delete", host, check=False)


def test_two_machines_train_together(alone: Path, sample: Path, two_hosts: list[str], tmp_path: Path) -> None:
    output = tmp_path / "run"  # on storage that both share
    processes = [
        subprocess.Popen(
            ["ip", "netns", "exec", host, *LAUNCH, str(CONFIGS / "several_machines.yaml"), "--machine_rank", str(rank),
             "--num_machines", "2", "--num_processes", "2", "--main_process_ip", "10.77.0.1",
             *arguments(output, sample, 8)],
            cwd=ROOT, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            env={**os.environ, "GLOO_SOCKET_IFNAME": "cable"},
        )
        for rank, host in enumerate(two_hosts)
    ]  # fmt: skip
    told = [process.communicate(timeout=300)[0] for process in processes]
    assert [process.returncode for process in processes] == [0, 0], told
    assert_same_curve(alone, output)
