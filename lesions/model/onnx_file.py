"""A model's ONNX file: where it lies, and whether it belongs to the model beside it. Light: loads no torch."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

from lesions.faults import InputError
from lesions.output.files import sha256_of

ONNX_FILE = "onnx/model.onnx"  # where optimum and transformers.js look for it
MODEL_HASH = "model_sha256"  # in the file's metadata: of the model that it was exported from
CONFIGS = ("config.json", "preprocessor_config.json")
PACKAGES = ("onnx", "onnxscript", "onnxruntime")


def check_packages() -> None:
    """Raises InputError if a package of requirements-onnx.txt is missing."""
    missing = [name for name in PACKAGES if find_spec(name) is None]
    if missing:
        raise InputError(f"ONNX needs {', '.join(missing)}: run `pip install -r requirements-onnx.txt`")


def model_hash(folder: Path) -> str:
    """The sha256 of everything in a model folder that decides its ONNX file: weights, familiarity, the layers as the
    config says them, and the size of the images."""
    return sha256_of([*sorted(folder.glob("*.safetensors")), *(folder / name for name in CONFIGS)])


def check_export(folder: Path) -> Path:
    """The path of the folder's ONNX file. Raises InputError if it is missing or was made from another model."""
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
    if recorded.get(MODEL_HASH) != model_hash(folder):
        raise InputError(
            f"{file} was exported from other weights, or with another {' or '.join(CONFIGS)}, than "
            f"those beside it: {what_next} again"
        )
    return file
