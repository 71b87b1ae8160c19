"""Checkpoints of a run: which ones are whole, and which one to resume."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field
from typing_extensions import TypedDict

from lesions.faults import InputError
from lesions.output.files import Number, check_form

STATE = "trainer_state.json"


class State(TypedDict):
    """What a continued training relies on of STATE. Its log may hold NaN, such as a gradient in float16."""

    global_step: Annotated[int, Field(ge=1)]
    max_steps: int
    epoch: Number
    best_model_checkpoint: str | None
    log_history: list[dict[str, Any]]


def find_checkpoints(run: Path) -> list[Path]:
    """The checkpoint-N folders of a run, the latest first."""
    found = [path for path in run.glob("checkpoint-*") if path.name.removeprefix("checkpoint-").isdecimal()]
    return sorted(found, key=lambda path: -int(path.name.removeprefix("checkpoint-")))


def what_is_broken(checkpoint: Path) -> str | None:
    """The first fault of a checkpoint; None if a training can continue from it exactly as it would have gone on.

    A killed run may have saved a part only, and --save_only_model leaves the optimizer out.
    """
    from safetensors import SafetensorError, safe_open

    for name, read in ((STATE, _read_state), ("config.json", read_dictionary)):  # the first is saved last
        try:
            read(checkpoint / name)
        except (OSError, ValueError, TypeError, InputError) as error:
            return f"{name}: {error}"
    weights = list(checkpoint.glob("*.safetensors"))
    for path in weights:
        try:
            safe_open(path, "pt")  # compares the length with what the header says
        except (OSError, SafetensorError) as error:
            return f"{path.name}: {error}"
    # torch.save writes a zip archive, which ends with its directory.
    states = [*checkpoint.glob("*.pt"), *checkpoint.glob("*.pth")]
    broken = [path.name for path in states if not zipfile.is_zipfile(path)]
    # With FSDP, weights and optimizer lie in folders of torch's distributed checkpoints, each with a list of its files.
    parts = [path for path in checkpoint.iterdir() if path.is_dir()]
    broken += [path.name for path in parts if not (path / ".metadata").is_file()]
    if broken:
        return f"{', '.join(sorted(broken))}: not whole"
    if not weights and not parts:
        return "no weights"
    needed = ["scheduler.pt", "rng_state*.pth", "optimizer*" if parts else "optimizer.pt"]
    missing = [name for name in needed if not any(checkpoint.glob(name))]
    if missing:
        return f"{', '.join(missing)}: missing"
    best = best_of(checkpoint)  # it is loaded at the end
    fault = what_is_broken(best) if best and best.name != checkpoint.name else None
    return f"its best one, {best}, is not whole: {fault}" if fault else None


def best_of(checkpoint: Path) -> Path | None:
    """The best checkpoint so far of the run of `checkpoint`, wherever it lies by now; None if it chooses none."""
    recorded = read_dictionary(checkpoint / STATE)["best_model_checkpoint"]
    if recorded is None:
        return None
    beside = checkpoint.resolve().with_name(Path(recorded).name)
    return beside if beside.is_dir() else Path(recorded)


def _read_state(path: Path) -> None:
    """Raises OSError, ValueError, TypeError or InputError unless transformers can read STATE from `path`."""
    from transformers import TrainerState

    state = read_dictionary(path)
    check_form(state, State, "not what a training saves")
    TrainerState(**state)  # takes no other keys
    number = path.parent.name.removeprefix("checkpoint-")
    if number.isdecimal() and int(number) != state["global_step"]:
        raise ValueError(f"of step {state['global_step']}")


def read_dictionary(path: Path) -> dict[str, Any]:
    """The content of a JSON file. Raises OSError, or ValueError unless it holds a dictionary."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except RecursionError as error:
        raise ValueError("nested too deep") from error
    if not isinstance(content, dict):
        raise ValueError("not a JSON dictionary")
    return content


def last_whole_checkpoint(run: Path) -> Path | None:
    """The latest whole checkpoint of a run. Prints which ones it skips, and why."""
    for checkpoint in find_checkpoints(run):
        fault = what_is_broken(checkpoint)
        if fault is None:
            return checkpoint
        print(f"{checkpoint} is not whole ({fault}), so it is skipped")
    return None
