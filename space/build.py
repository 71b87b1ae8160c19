"""Builds the page: its own sources as they are, the model, what its files say, and the runtime."""

from __future__ import annotations

import gzip
import hashlib
import json
import shutil
import subprocess
from io import BytesIO
from pathlib import Path
from typing import Any

from lesions.data.sources.sample import SEED, draw_lesion
from lesions.faults import InputError
from lesions.model.onnx_export import exported
from lesions.model.onnx_file import ONNX_FILE, check_export, check_packages
from lesions.output.files import whole_folder, write_json
from lesions.output.places import check_folder
from lesions.run_folder import check_unchanged, weights_of
from space.facts import model_facts

HERE = Path(__file__).parent
PAGE = HERE / "page"
RUNTIME = HERE / "node_modules" / "onnxruntime-web" / "dist"
SCRIPT, WASM = "ort.wasm.bundle.min.mjs", "ort-wasm-simd-threaded.wasm"
OWN = sorted(path.relative_to(PAGE).as_posix() for path in PAGE.rglob("*") if path.is_file())
# All that a build writes, and the README.md of a Space.
PAGE_FILES = (*OWN, "files.json", "model*.json", "model*.onnx.gz", "runtime/*", "samples/*.jpg", "README.md")
SAMPLES = {"nv": 12, "mel": 3, "bcc": 5, "vasc": 2}  # drawn diagnosis: number of the drawing
SAMPLE_ZOOM = 4  # of the built-in sample's images


def build_page(run: Path, output: Path, link: str | None = None) -> Path:
    """Writes the whole page into the folder `output` and returns it. `link` is the model's address, shown on the page.

    Raises InputError if `run` is not a model folder, or changes meanwhile, if `output` holds other files, or if a
    package or npm is missing.
    """
    if not (run / "config.json").is_file():
        raise InputError(f"{run} is not a model folder: it holds no config.json")
    check_folder(output, PAGE_FILES)
    check_packages()
    weights = weights_of(run)
    facts = model_facts(run, link)
    fetch_runtime()
    model = check_export(run).read_bytes() if (run / ONNX_FILE).is_file() else exported(run)
    check_unchanged(run, weights)  # the facts describe the model that was exported
    with whole_folder(output, PAGE_FILES) as partial:
        shutil.copytree(PAGE, partial, dirs_exist_ok=True)
        write_json(partial / "files.json", write_files(partial, model, facts))
    return output


def fetch_runtime() -> None:
    """Fetches the pinned onnxruntime-web with npm, if it is missing."""
    if (RUNTIME / WASM).is_file():
        return
    if not shutil.which("npm"):
        raise InputError("npm is needed once, to fetch the runtime of the page: install Node.js 20 or newer")
    command = ["npm", "ci", "--omit=dev", "--ignore-scripts"]
    done = subprocess.run(command, cwd=HERE, text=True, capture_output=True)
    if done.returncode:
        raise InputError(f"`{' '.join(command)}` in {HERE} failed: {done.stderr.strip()}")


def write_files(folder: Path, model: bytes, facts: dict[str, Any]) -> dict[str, Any]:
    """Writes runtime, model, facts and samples into `folder`; returns the content of files.json: all that the page
    fetches."""
    import onnxruntime

    (folder / "runtime").mkdir()
    for name in ("LICENSE", "ThirdPartyNotices.txt"):  # the npm package has none, Python's of the same project does
        shutil.copyfile(Path(onnxruntime.__file__).with_name(name), folder / "runtime" / name)
    files: dict[str, Any] = {
        "runtime": {
            "script": write(folder, f"runtime/{SCRIPT}", (RUNTIME / SCRIPT).read_bytes()),
            "wasm": write(folder, f"runtime/{WASM}.gz", gzip.compress((RUNTIME / WASM).read_bytes(), mtime=0)),
        },
        "model": write(folder, "model.onnx.gz", gzip.compress(model, mtime=0)),
        "facts": write(folder, "model.json", json.dumps(facts, allow_nan=False).encode()),
        "samples": [draw_sample(folder, dx, number) for dx, number in SAMPLES.items()],
    }
    page = ["./", *OWN, files["facts"]["path"], "files.json"]
    return {"version": version_of(folder), "page": page, **files}


def write(folder: Path, path: str, content: bytes) -> dict[str, Any]:
    """Writes a file and returns its entry in files.json. Its name holds a hash of its content: whatever a browser, a
    proxy or a half-finished upload gives for it, it is the file that files.json means."""
    stem, dot, suffix = path.partition(".")
    path = f"{stem}-{hashlib.sha256(content).hexdigest()[:12]}{dot}{suffix}"
    (folder / path).parent.mkdir(exist_ok=True)
    (folder / path).write_bytes(content)
    return {"path": path, "bytes": len(content)}


def draw_sample(folder: Path, dx: str, number: int) -> dict[str, Any]:
    encoded = BytesIO()
    draw_lesion(dx, SEED + number, view=0, zoom=SAMPLE_ZOOM).save(encoded, "JPEG", quality=88)
    return write(folder, f"samples/{dx}.jpg", encoded.getvalue())


def version_of(folder: Path) -> str:
    """A short hash over the names and contents of all files."""
    digest = hashlib.sha256()
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        content = path.read_bytes()
        digest.update(f"{path.relative_to(folder).as_posix()} {len(content)}\n".encode() + content)
    return digest.hexdigest()[:16]
