"""What the tests share: a prepared sample and a trained run, each made once, by the real commands."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

# Before anything imports a Hugging Face library: no test reads or writes the user's caches, or asks the Hub.
os.environ.update(HF_HOME=mkdtemp(prefix="hf-home-"), HF_HUB_OFFLINE="1", HF_HUB_DISABLE_TELEMETRY="1")
# Processes that test side by side share the cores: threads of torch that wait for each other's core would spin.
if "PYTEST_XDIST_WORKER_COUNT" in os.environ:
    os.environ["OMP_NUM_THREADS"] = str(max((os.cpu_count() or 1) // int(os.environ["PYTEST_XDIST_WORKER_COUNT"]), 1))

import pytest
from filelock import FileLock
from hub_server import GOOD_TOKEN, HubServer

from space.visitor import find_chromium

ROOT = Path(__file__).parent.parent
SHARED = ROOT.parent / "shared"
RELEASE = ROOT / "release" / "deit-tiny-ham10000"
# What two kinds of processor say of themselves, as torch tells it.
EPYC = {"cpu_name": "AMD EPYC", "avx512_f": True, "avx512_bf16": True}
XEON = {**EPYC, "cpu_name": "Intel Xeon"}


def command(*arguments: object, check: int = 0, **environment: str) -> subprocess.CompletedProcess[str]:
    """Runs a script of the project as a user would, and checks its exit code."""
    done = subprocess.run(
        [sys.executable, *map(str, arguments)],
        cwd=ROOT,
        env={**os.environ, **environment},
        text=True,
        capture_output=True,
    )
    assert done.returncode == check, f"exit code {done.returncode}\n{done.stdout}\n{done.stderr}"
    if check == 2:
        assert "Traceback" not in done.stderr, done.stderr
    return done


@contextmanager
def held(path: Path) -> Iterator[None]:
    """Another process writes to `path` until the block ends."""
    program = "import sys; from pathlib import Path; from lesions.output.places import alone\n"
    program += "with alone(Path(sys.argv[1])): print('held', flush=True); sys.stdin.read()"
    pipes: dict[str, int] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen([sys.executable, "-c", program, path], cwd=ROOT, text=True, **pipes) as other:
        assert other.stdout.readline() == "held\n"
        yield


def made_once(factory: pytest.TempPathFactory, name: str, make: Callable[[Path], object]) -> Path:
    """The folder `name`, which `make` fills: in the first of the test processes that asks for it. The others wait."""
    base = factory.getbasetemp().parent if "PYTEST_XDIST_WORKER" in os.environ else factory.getbasetemp()
    folder, done = base / name, base / f"{name}.done"
    with FileLock(base / f"{name}.lock"):
        if not done.exists():
            make(folder)
            done.touch()
    return folder


@pytest.fixture(scope="session")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The synthetic sample, prepared. For reading only."""

    def make(output: Path) -> None:
        command("data_prep.py", "--source", "sample", "--output", output)

    return made_once(tmp_path_factory, "sample", make)


@pytest.fixture(scope="session")
def run(tmp_path_factory: pytest.TempPathFactory, sample: Path) -> Path:
    """A run of the demo's recipe on the sample, measured on its test split, with its card. For reading only."""

    def make(output: Path) -> None:
        command("train.py", "recipes/demo.yaml", "--dataset", sample, "--output_dir", output, "--num_train_epochs", 10)
        command("evaluate_model.py", "--model", output, "--dataset", sample, "--split", "test")
        command("-m", "model_card", output)

    return made_once(tmp_path_factory, "demo", make)


@pytest.fixture
def copy(run: Path, tmp_path: Path) -> Path:
    """A copy of the run, to be changed."""
    shutil.copytree(run, tmp_path / "copy", ignore=shutil.ignore_patterns("checkpoint-*"))
    return tmp_path / "copy"


@pytest.fixture
def hub() -> Iterator[HubServer]:
    server = HubServer()
    yield server
    server.shutdown()


@pytest.fixture
def hub_environment(hub: HubServer, tmp_path: Path) -> dict[str, str]:
    """Environment variables for a process that is to use the stand-in, logged in, with an empty cache."""
    return {
        "HF_ENDPOINT": hub.url,
        "HF_HOME": str(tmp_path / "hf-home"),
        "HF_TOKEN": GOOD_TOKEN,
        "HF_HUB_DISABLE_XET": "1",
        "HF_HUB_OFFLINE": "0",
    }


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    """Headless Chromium, driven by Playwright; skips the test if it is not installed."""
    path = chromium_or_skip()
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        yield playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])


@pytest.fixture(scope="session")
def site(browser: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page with the released model, built by the command. For reading only."""
    return made_once(tmp_path_factory, "page", lambda output: command("-m", "space", RELEASE, "--output", output))


@pytest.fixture(scope="session")
def real_data() -> Path:
    """HAM10000 itself, where it is at hand."""
    return at_hand("HAM10000", "HAM10000_DIR", SHARED / "data" / "ham10000")


@pytest.fixture(scope="session")
def deit_tiny() -> Path:
    """Pretrained DeiT-tiny, where it is at hand."""
    return at_hand("pretrained DeiT-tiny", "DEIT_DIR", SHARED / "models" / "deit-tiny-distilled-patch16-224")


def chromium_or_skip() -> str:
    """The path of Chromium; skips the test where that, or what the page is built with, is missing."""
    pytest.importorskip("onnxscript", reason="requirements-onnx.txt is not installed")
    pytest.importorskip("playwright", reason="Playwright is not installed: make space-test does it")
    found = find_chromium()
    if not found:
        pytest.skip("Chromium is not installed: install it, or set CHROMIUM to its path")
    if not shutil.which("npm"):
        pytest.skip("npm, which fetches the runtime of the page, is not installed")
    return found


def at_hand(what: str, variable: str, usual: Path) -> Path:
    """The folder that the environment `variable` names, else the usual one; skips the test where it is absent."""
    folder = Path(os.environ.get(variable, usual))
    if not folder.is_dir():
        pytest.skip(f"{what} is not in {folder} (set {variable})")
    return folder
