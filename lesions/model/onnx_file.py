"""A model's ONNX file: where it lies, and whether it belongs to the weights beside it. Light: loads no torch."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

from lesions.faults import InputError
from lesions.output.files import sha256_of

ONNX_FILE = "onnx/model.onnx"  # where optimum and transformers.js look for it
WEIGHTS_HASH = "weights_sha256"  # in the file's metadata: of the weights that it was exported from
PACKAGES = ("onnx", "onnxscript", "onnxruntime")


def check_packages() -> None:
    """Raises InputError if a package of requirements-onnx.txt is missing."""
    missing = [name for name in PACKAGES if find_spec(name) is None]
    if missing:
        raise InputError(f"ONNX needs {', '.join(missing)}: run `pip install -r requirements-onnx.txt`")


def weights_hash(folder: Path) -> str:
    """The sha256 of everything in a model folder that its ONNX file holds: weights, and familiarity."""
    return sha256_of(sorted(folder.glob("*.safetensors")))


def check_export(folder: Path) -> Path:
    """The path of the folder's ONNX file. Raises InputError if it is missing or was made from other weights."""
    check_packages()
    import onnx
    from google.protobuf.message import DecodeError

    file = folder / ONNX_FILE
    what_next = f"run `python -m model_card {folder} --onnx`"
    if not file.is_file():
        raise InputError(f"{folder} has no {ONNX_FILE}: {what_next}")
    try:
        recorded = {entry.key: entry.value for entry in onnx.load(file, load_external_data=False).metadata_props}
    except DecodeError as error:
        raise InputError(f"{file} can't be read ({error}): {what_next} again") from error
    if recorded.get(WEIGHTS_HASH) != weights_hash(folder):
        raise InputError(f"{file} was exported from other weights than those beside it: {what_next} again")
    return file
