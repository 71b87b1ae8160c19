"""Whether an interrupted run can be continued, and from where."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from lesions.faults import Faults, InputError
from lesions.files import read_json
from lesions.hub import public_name
from lesions.training.checkpoints import last_whole_checkpoint, what_is_broken

if TYPE_CHECKING:
    from lesions.training.arguments import LesionTrainingArguments
    from lesions.training.trainer import WeightedTrainer
from lesions.run_folder import RECORD

# Options that say where, how fast and under which name, not what; and the decision, which is fitted at the end. They
# are not recorded, and may differ when a run is continued.
INCIDENTAL = (
    *("output_dir", "run_name", "resume_from_checkpoint", "push_to_hub", "hub_", "project", "trackio_"),
    *("logging_", "log_", "report_to", "disable_tqdm", "dataloader_num_workers", "dataloader_pin_memory"),
    *("local_rank", "save_total_limit", "recipe", "dataset", "base_model", "decision"),
    *("parallelism_config", "accelerator_config", "debug"),
)


def describe_settings(options: dict[str, Any], training: LesionTrainingArguments) -> dict[str, Any]:
    """Every option that decides what the run computes: the script's own, and those of TrainingArguments not None."""
    merged = {**training.to_dict(), **options, "model": public_name(options["model"])}
    if options["teacher"]:
        merged["teacher"] = [public_name(name) for name in options["teacher"]]
    return {name: value for name, value in merged.items() if value is not None and not name.startswith(INCIDENTAL)}


def find_checkpoint(training: LesionTrainingArguments, identity: dict[str, Any]) -> str | None:
    """The checkpoint from which the run goes on; None where it begins.

    A folder that holds an unfinished run with the same `identity` (settings and data) is continued, also where
    that was not asked for.
    Raises InputError where `output_dir` holds anything else, or the checkpoint that was asked for is not there.
    """
    output, asked = Path(training.output_dir), training.resume_from_checkpoint
    if asked and asked.lower() not in ("true", "last"):
        if fault := what_is_broken(Path(asked)):
            raise InputError(f"--resume_from_checkpoint {asked} is no whole checkpoint-N folder of a run: {fault}")
        return asked
    if not output.exists() or not any(output.iterdir()):
        if asked:
            raise InputError(f"{output} holds no run to resume; leave --resume_from_checkpoint out to start one")
        return None
    if not (output / RECORD).is_file():
        raise InputError(f"{output} is not empty and holds no run of this program; give another --output_dir")
    _check_same_run(output, identity)
    checkpoint = last_whole_checkpoint(output)
    if checkpoint is None:
        print(f"{output} holds a run without a whole checkpoint: starting it anew")
        return None
    print(f"continuing {checkpoint}")
    return str(checkpoint)


def _check_same_run(output: Path, identity: dict[str, Any]) -> None:
    record = read_json(output / RECORD)
    if record["status"] == "finished":
        raise InputError(
            f"{output} holds a finished run; give another --output_dir, or delete the folder to train it again"
        )
    earlier, faults = {**record["settings"], "dataset_fingerprint": record["dataset_fingerprint"]}, Faults()
    present = {**identity["settings"], "dataset_fingerprint": identity["dataset_fingerprint"]}
    for name in sorted(earlier.keys() | present.keys()):
        before, now = earlier.get(name), present.get(name)
        if before != now:
            faults.add("option that differs from the run's own", f"{name}: {before!r} there, {now!r} now")
    faults.raise_if_any(f"{output} holds another run, unfinished; repeat its options, or give another --output_dir")


def describe_training(trainer: WeightedTrainer) -> dict[str, Any]:
    """What a finished training adds to the record: its length, its validation history and the evaluation that the
    model was chosen by, if any."""
    state = trainer.state
    history = [
        {name.removeprefix("eval_"): value for name, value in entry.items()}
        for entry in state.log_history
        if "eval_loss" in entry
    ]
    best = next((entry for entry in history if entry["step"] == state.best_global_step), None)
    return {
        "seconds": round(state.log_history[-1]["seconds"]),
        "epochs": state.epoch,
        "steps": state.global_step,
        "chosen_by": trainer.args.metric_for_best_model,
        "best": best,
        "history": history,
    }
