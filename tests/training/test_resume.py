"""A training that is killed, runs out of disk, or diverges: what it leaves, and how it goes on."""

from __future__ import annotations

import json
import resource
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from conftest import ROOT, held
from in_process import in_process
from safetensors.torch import load_file

from lesions.metrics.names import METRICS
from lesions.seen_images import SeenImages, read_seen, write_seen
from lesions.training.saved.checkpoints import best_of, find_checkpoints, last_whole_checkpoint, what_is_broken

# Mixing, smaller images at first and a rate a layer: all that a resume has to bring back.
OPTIONS = ("--mixing", "0.5", "--low_side", "48", "--low_epochs", "1", "--layer_decay", "0.9", "--seed", "7")
STEPS = (
    *("--save_strategy", "steps", "--save_steps", "5", "--eval_strategy", "steps", "--eval_steps", "5"),
    *("--max_steps", "15", "--save_total_limit", "3"),
)


def arguments(output: Path, sample: Path, *more: str) -> list[str]:
    return ["train.py", "recipes/demo.yaml", "--dataset", str(sample), "--output_dir", str(output), *OPTIONS, *STEPS,
            *more]  # fmt: skip


@pytest.fixture(scope="module")
def whole(sample: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of 15 steps that nothing interrupted."""
    output = tmp_path_factory.mktemp("whole") / "run"
    in_process(*arguments(output, sample))
    return output


@pytest.fixture(scope="module")
def killed(sample: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same run, killed some time after its first checkpoint."""
    output = tmp_path_factory.mktemp("killed") / "run"
    process = subprocess.Popen(
        [sys.executable, *arguments(output, sample)], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    deadline = time.monotonic() + 120
    while not (output / "model.safetensors").exists():  # the best model so far: saved after its checkpoint
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert json.loads((output / "training.json").read_text())["status"] == "running"
    return output


def assert_alike(first: Path, second: Path) -> None:
    one, other = (load_file(folder / "model.safetensors") for folder in (first, second))
    assert one.keys() == other.keys() and all(one[name].equal(other[name]) for name in one)


def test_the_same_seed_gives_the_same_weights(whole: Path, sample: Path, tmp_path: Path) -> None:
    in_process(*arguments(tmp_path / "again", sample))
    assert_alike(whole, tmp_path / "again")


def test_a_killed_run_goes_on_where_it_was_and_ends_alike(
    whole: Path, killed: Path, sample: Path, tmp_path: Path
) -> None:
    run = shutil.copytree(killed, tmp_path / "run")
    different = in_process(*arguments(run, sample, "--learning_rate", "0.5"), check=2).stderr
    assert "learning_rate: 0.001 there, 0.5 now" in different
    assert "continuing" in in_process(*arguments(run, sample)).stdout
    assert_alike(whole, run)


def test_a_truncated_checkpoint_is_passed_over(
    whole: Path, sample: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = shutil.copytree(whole, tmp_path / "run")
    record = json.loads((run / "training.json").read_text())
    (run / "training.json").write_text(json.dumps(record | {"status": "running"}))
    latest, before = find_checkpoints(run)[:2]
    assert what_is_broken(latest) is None
    for name in ("config.json", "optimizer.pt", "scheduler.pt", "rng_state.pth", "trainer_state.json"):
        (latest / name).rename(run / "aside")
        assert what_is_broken(latest).startswith(name.split(".")[0])
        (run / "aside").rename(latest / name)
    state = json.loads((latest / "trainer_state.json").read_text())
    for change in ({"global_step": 5}, {"log_history": None}, {"epoch": "x"}, {"unknown": 1}, {"max_steps": {}}):
        (latest / "trainer_state.json").write_text(json.dumps({**state, **change}))
        assert what_is_broken(latest).startswith("trainer_state.json")
    (latest / "trainer_state.json").write_text(json.dumps(state))
    for content in ("[" * 100_000, f'{{"global_step": {"9" * 5000}}}'):
        (latest / "trainer_state.json").write_text(content)
        assert what_is_broken(latest).startswith("trainer_state.json")
    (latest / "trainer_state.json").write_text(json.dumps(state))
    best = best_of(latest)
    if best.name != latest.name:
        (best / "model.safetensors").rename(run / "aside")
        assert f"its best one, {best}, is not whole: no weights" in what_is_broken(latest)
        (run / "aside").rename(best / "model.safetensors")
    for name in ("model.safetensors", "optimizer.pt", "trainer_state.json", "rng_state.pth", "config.json"):
        content = (latest / name).read_bytes()
        (latest / name).write_bytes(content[: len(content) // 2])
        assert name in what_is_broken(latest)
        assert last_whole_checkpoint(run) == before
        assert f"{latest} is not whole ({name}" in capsys.readouterr().out
        (latest / name).write_bytes(content)
    (latest / "scheduler.pt").unlink()
    stdout = in_process(*arguments(run, sample)).stdout
    assert f"{latest} is not whole" in stdout and f"continuing {before}" in stdout
    assert_alike(whole, run)


def test_the_parts_of_a_checkpoint_of_fsdp_are_weights_and_optimizer(whole: Path, tmp_path: Path) -> None:
    # accelerate's names: folders of torch's distributed checkpoints, the list of whose files is written last.
    checkpoint = shutil.copytree(find_checkpoints(whole)[0], tmp_path / "checkpoint-15")
    for name in ("model.safetensors", "optimizer.pt"):
        (checkpoint / name).unlink()
    state = json.loads((checkpoint / "trainer_state.json").read_text())
    (checkpoint / "trainer_state.json").write_text(json.dumps({**state, "best_model_checkpoint": None}))
    parts = [checkpoint / name for name in ("pytorch_model_fsdp_0", "optimizer_0")]
    for part in parts:
        part.mkdir()
        (part / ".metadata").touch()
    assert what_is_broken(checkpoint) is None
    (parts[1] / ".metadata").unlink()
    assert what_is_broken(checkpoint) == "optimizer_0: not whole"
    parts[1].rmdir()
    assert what_is_broken(checkpoint) == "optimizer*: missing"


def test_a_full_disk_leaves_the_last_checkpoint_usable(whole: Path, killed: Path, sample: Path, tmp_path: Path) -> None:
    run = shutil.copytree(killed, tmp_path / "run")
    kept = last_whole_checkpoint(run)
    limit = 2_000_000  # bytes a file: room for the weights, none for the optimizer
    assert (kept / "model.safetensors").stat().st_size < limit < (kept / "optimizer.pt").stat().st_size
    done = subprocess.run(
        [sys.executable, *arguments(run, sample)],
        cwd=ROOT,
        text=True,
        capture_output=True,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)),
    )
    assert done.returncode == 2 and "Traceback" not in done.stderr, done.stderr
    assert "could not be written" in done.stderr and f"the last whole one: {kept}" in done.stderr
    in_process(*arguments(run, sample))
    assert_alike(whole, run)


def test_a_checkpoint_is_continued_in_a_new_folder_or_its_own_and_never_over_other_files(
    whole: Path, sample: Path, tmp_path: Path
) -> None:
    from_five = ("--resume_from_checkpoint", str(whole / "checkpoint-5"))
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "README.md").write_text("mine")
    error = in_process(*arguments(tmp_path / "mine", sample, *from_five), check=2).stderr
    assert "is not empty and holds no run of train.py" in error
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["README.md"]
    other = shutil.copytree(whole, tmp_path / "other")
    assert "holds another run than" in in_process(*arguments(other, sample, *from_five), check=2).stderr
    assert_alike(whole, other)
    in_process(*arguments(tmp_path / "new", sample, *from_five))
    assert_alike(whole, tmp_path / "new")

    checkpoint = shutil.copytree(whole / "checkpoint-5", tmp_path / "checkpoint-5")
    given = arguments(tmp_path / "newer", sample, "--resume_from_checkpoint", str(checkpoint))
    (checkpoint / "optimizer.pt").unlink()
    assert "optimizer.pt: missing" in in_process(*given, check=2).stderr
    shutil.copy(whole / "checkpoint-5" / "optimizer.pt", checkpoint)
    config = json.loads((checkpoint / "config.json").read_text())
    del config["id2label"]["6"]
    (checkpoint / "config.json").write_text(json.dumps(config))
    assert "distinguishes akiec, bcc, bkl, df, mel, nv; the data set" in in_process(*given, check=2).stderr
    assert not (tmp_path / "newer").exists()


@pytest.mark.parametrize("length", [("--num_train_epochs", 3), STEPS])
def test_a_run_that_was_killed_after_its_last_step_and_moved_ends_with_its_best_weights(
    length: tuple[object, ...], sample: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The best is here the one that has learned least, so that the last is not the best."""
    monkeypatch.setitem(METRICS, "accuracy", METRICS["accuracy"]._replace(better="lower"))
    (tmp_path / "before").mkdir()
    given = ("--dataset", sample, *length, "--metric_for_best_model", "accuracy", "--save_total_limit", 9)
    in_process("train.py", "recipes/demo.yaml", *given, "--output_dir", tmp_path / "before" / "run")
    run = (tmp_path / "before" / "run").rename(tmp_path / "run")
    record = json.loads((run / "training.json").read_text())
    (run / "training.json").write_text(json.dumps(record | {"status": "running"}))
    best, last = record["best"]["step"], record["steps"]
    assert best_of(run / f"checkpoint-{last}") == run / f"checkpoint-{best}" and best < last
    expected = load_file(run / "model.safetensors")
    (run / "model.safetensors").unlink()  # killed after the last step
    in_process("train.py", "recipes/demo.yaml", *given, "--output_dir", run)
    again = json.loads((run / "training.json").read_text())
    assert (again["best"]["step"], again["steps"]) == (best, last) and again["weights_sha256"] == record[
        "weights_sha256"
    ]
    assert all(values.equal(expected[name]) for name, values in load_file(run / "model.safetensors").items())


def test_a_checkpoint_is_not_continued_with_other_steps_images_or_teachers(
    whole: Path, sample: Path, tmp_path: Path
) -> None:
    new, from_ten = tmp_path / "new", ("--resume_from_checkpoint", str(whole / "checkpoint-10"))
    error = in_process(*arguments(new, sample, *from_ten, "--per_device_train_batch_size", "64"), check=2).stderr
    assert "whole_batch: 32 there, 64 now" in error and not new.exists()

    lone = shutil.copytree(whole / "checkpoint-10", tmp_path / "lone" / "checkpoint-10")
    given = arguments(new, sample, "--resume_from_checkpoint", str(lone), "--max_steps", "5")
    assert "has 10 steps behind it; this training has 5 in all" in in_process(*given, check=2).stderr

    images, teachers = read_seen(whole), {"teacher_weights": ["0" * 64]}
    other = SeenImages(frozenset(list(images.contents)[1:]), images.ids, images.cases, images.diagnoses)
    record = json.loads((whole / "training.json").read_text())
    run = shutil.copytree(whole, tmp_path / "run")
    for change, seen, reason in (
        ({}, other, "the same ids, but other contents"), (teachers, images, "teacher_weights: ['000"),
    ):  # fmt: skip
        (run / "training.json").write_text(json.dumps({**record, "status": "running", **change}))
        write_seen(run, seen)
        assert reason in in_process(*arguments(run, sample), check=2).stderr


def test_a_run_that_keeps_no_optimizer_state_says_so_before_it_trains(sample: Path, tmp_path: Path) -> None:
    given = [*arguments(tmp_path / "run", sample, "--save_only_model"), "--max_steps", "5"]
    stdout = in_process(*given).stdout
    assert stdout.index("so an interrupted run can't be continued") < stdout.index("class weights:")
    assert "optimizer.pt" in what_is_broken(tmp_path / "run" / "checkpoint-5")


def test_a_second_training_in_the_same_folder_is_refused(killed: Path, sample: Path, tmp_path: Path) -> None:
    run = shutil.copytree(killed, tmp_path / "run")

    def files() -> dict[Path, bytes]:
        return {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}

    before = files()
    with held(run / "training.json"):
        assert "another process is writing there" in in_process(*arguments(run, sample), check=2).stderr
        assert files() == before


def test_a_run_that_was_killed_before_its_record_was_written_starts_again(
    whole: Path, sample: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    run.mkdir()
    for name in (".training.json.lock", ".training.json.0badcafe.partial.json"):
        (run / name).touch()
    in_process(*arguments(run, sample))
    assert_alike(whole, run)
    assert not (run / ".training.json.lock").exists()


def test_answers_that_are_no_numbers_stop_the_run_at_the_evaluation(sample: Path, tmp_path: Path) -> None:
    diverging = ("--learning_rate", "1e10", "--warmup_steps", "0", "--max_steps", "1", "--eval_strategy", "steps",
                 "--eval_steps", "1", "--save_steps", "1", "--bf16", "false")  # fmt: skip
    error = in_process(*arguments(tmp_path / "run", sample, *diverging), check=2).stderr
    assert "answers to the validation images are not finite numbers" in error and "the learning rate is too" in error


def test_images_smaller_than_a_patch_are_refused(sample: Path, tmp_path: Path) -> None:
    small = arguments(tmp_path / "run", sample, "--low_side", "7", "--low_epochs", "1")
    assert "--low_side 7 is less than one of the model's patches, of 8 pixels" in in_process(*small, check=2).stderr


def test_a_loss_that_is_no_number_stops_the_run_and_names_step_images_and_checkpoint(
    sample: Path, tmp_path: Path
) -> None:
    diverging = ("--learning_rate", "1e30", "--max_grad_norm", "0", "--warmup_steps", "0", "--save_steps", "1")
    never = ("--eval_strategy", "no", "--load_best_model_at_end", "false")
    error = in_process(*arguments(tmp_path / "run", sample, *never, *diverging), check=2).stderr
    assert "the loss of step 2 is nan" in error or "the loss of step 3 is nan" in error
    assert "the batch's images: " in error and error.count("DRAWN_") == 32
    assert "the last good checkpoint: " + str(tmp_path / "run" / "checkpoint-") in error
