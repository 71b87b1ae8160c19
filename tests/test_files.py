"""Folders that appear whole or not at all."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from conftest import ROOT, held

from lesions import demo
from lesions.faults import InputError
from lesions.output.files import read_json, scratch_folder, whole_file, whole_folder, write_json
from lesions.output.places import alone, check_folder, check_writable, listed, plain_name

HOLD = """
import sys, time
from pathlib import Path
from lesions.output.files import whole_folder
with whole_folder(Path(sys.argv[1])) as partial:
    (partial / "file").write_text("first")
    print("holding", flush=True)
    sys.stdin.read()
"""


def test_a_folder_is_replaced_when_the_new_one_is_whole_and_not_before(tmp_path: Path) -> None:
    place = tmp_path / "data"
    for text in ("first", "second"):
        with whole_folder(place) as partial:
            (partial / "file").write_text(text)
        assert (place / "file").read_text() == text
    with pytest.raises(FileNotFoundError), whole_folder(place) as partial:
        (partial / "no such folder" / "file").write_text("third")
    assert (place / "file").read_text() == "second" and list(tmp_path.iterdir()) == [place]


def test_a_kill_between_the_two_renames_loses_nothing(tmp_path: Path) -> None:
    place, old, partial = tmp_path / "data", tmp_path / ".data.old", tmp_path / ".data.0badcafe.partial"
    for folder in (old, partial):
        folder.mkdir()
        (folder / "file").write_text(folder.name)
    with pytest.raises(ValueError, match="bad input"), whole_folder(place):
        raise ValueError("bad input")
    assert (place / "file").read_text() == ".data.old" and list(tmp_path.iterdir()) == [place]


def test_what_stops_between_the_two_renames_loses_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place, rename = tmp_path / "data", Path.rename
    place.mkdir()
    (place / "file").write_text("first")

    def interrupted(self: Path, target: Path) -> Path:
        if self.name.endswith(".partial"):
            raise KeyboardInterrupt
        return rename(self, target)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt), whole_folder(place):
        patch.setattr(Path, "rename", interrupted)
    assert (place / "file").read_text() == "first" and list(tmp_path.iterdir()) == [place]


def test_somebodys_hidden_folder_beside_the_output_stays(tmp_path: Path) -> None:
    (tmp_path / ".data.my partial").mkdir()
    with whole_folder(tmp_path / "data"):
        pass
    assert (tmp_path / ".data.my partial").is_dir()


def test_a_scratch_folder_goes_with_those_of_killed_runs_and_not_with_one_in_use(tmp_path: Path) -> None:
    program = HOLD.replace("whole_folder", "scratch_folder").replace("(sys.argv[1])", "(sys.argv[1]), 'hub'")
    first, second = (
        subprocess.Popen(
            [sys.executable, "-c", program, tmp_path], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        for _ in range(2)
    )
    for process in (first, second):
        assert process.stdout.readline() == b"holding\n"
    assert len(list(tmp_path.glob("hub-*"))) == 2
    first.kill()
    first.wait()
    with scratch_folder(tmp_path, "hub") as own:
        assert own.is_dir() and len(list(tmp_path.glob("hub-*"))) == 2
    second.communicate()
    assert second.returncode == 0 and not list(tmp_path.iterdir())


def test_two_writers_of_one_file_publish_one_of_the_two_and_never_a_mix(tmp_path: Path) -> None:
    place = tmp_path / "weights.bin"
    with whole_file(place) as first, whole_file(place) as second:
        for partial, content in ((first, b"1" * 100), (second, b"2" * 50)):
            with partial.open("wb") as file:
                file.write(content)
        assert not place.exists()
    assert place.read_bytes() == b"1" * 100 and list(tmp_path.iterdir()) == [place]  # the last to end


def test_remains_of_a_killed_run_go_after_a_day_and_those_of_a_running_one_stay(tmp_path: Path) -> None:
    old, new = tmp_path / ".a [1].csv.0badcafe.partial.csv", tmp_path / ".a [1].csv.1badcafe.partial.csv"
    for file in (old, new):
        file.touch()
    os.utime(old, (time.time() - 2 * 86400,) * 2)
    with whole_file(tmp_path / "a [1].csv") as partial:
        partial.touch()
    assert not old.exists() and new.exists()


def holding(place: Path, **environment: str) -> subprocess.Popen[bytes]:
    """A process that is in the middle of writing the folder `place`, until its input ends."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, place],
        cwd=ROOT,
        env={**os.environ, **environment},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert process.stdout.readline() == b"holding\n"
    return process


@pytest.mark.parametrize("temporary", ["", "elsewhere"])  # as jobs of a cluster and containers have
def test_a_second_process_does_not_write_to_the_same_folder(temporary: str, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    place = tmp_path / "new" / "data"
    with holding(place, **({"TMPDIR": str(tmp_path / temporary)} if temporary else {})) as first:
        assert (place.parent / ".data.lock").stat().st_mode & 0o777 == 0o666  # for others who may write there
        with pytest.raises(InputError, match="another process is writing there"), whole_folder(place):
            raise AssertionError("unreachable")
        first.communicate()
    assert first.returncode == 0 and (place / "file").read_text() == "first"
    assert list(place.parent.iterdir()) == [place]


def test_a_process_may_ask_twice_for_a_place_and_keeps_it_until_the_end(tmp_path: Path) -> None:
    place = tmp_path / "data"
    with alone(place):
        with alone(place):
            pass
        assert subprocess.run([sys.executable, "-c", HOLD, place], cwd=ROOT, capture_output=True).returncode == 1
    holding(place).communicate()
    assert list(tmp_path.iterdir()) == [place]


@pytest.mark.parametrize("place", ["runs/demo", "runs/demo/training.json"])  # another demo, or a training there
def test_the_demo_does_not_replace_a_run_that_another_process_writes(
    place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs" / "demo").mkdir(parents=True)
    (tmp_path / "runs" / "demo" / "model.safetensors").touch()
    with held(tmp_path / place), pytest.raises(SystemExit, match="2"):
        demo.main()
    assert f"{tmp_path / place}: another process is writing there" in capsys.readouterr().err
    assert (tmp_path / "runs" / "demo" / "model.safetensors").exists()


def test_a_drive_that_locks_no_files_is_said_and_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(*_: int) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr("fcntl.flock", refuse)
    with whole_folder(tmp_path / "data"):
        pass
    assert f"{tmp_path} is on a drive without file locks: let no other process" in capsys.readouterr().out
    assert [path.name for path in tmp_path.iterdir()] == ["data"]


def test_a_killed_process_holds_no_lock_and_leaves_nothing_for_long(tmp_path: Path) -> None:
    place = tmp_path / "data"
    first = subprocess.Popen(
        [sys.executable, "-c", HOLD, place], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert first.stdout.readline() == b"holding\n"
    first.kill()
    first.wait()
    with whole_folder(place) as partial:
        (partial / "file").write_text("second")
    assert (place / "file").read_text() == "second" and list(tmp_path.iterdir()) == [place]


def test_a_folder_with_somebodys_files_is_not_replaced(tmp_path: Path) -> None:
    place, ours = tmp_path / "data", ["README.md", "data/*.parquet"]
    for name in ("README.md", "data/train.parquet", "notes.txt", "data/model/weights.parquet", "sub/README.md"):
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        (place / name).touch()
    with pytest.raises(InputError) as error, whole_folder(place, ours):
        raise AssertionError("unreachable")
    assert "notes.txt" in str(error.value) and "data/model/weights.parquet" in str(error.value)
    assert "sub/README.md" in str(error.value) and "train" not in str(error.value) and (place / "notes.txt").exists()
    for name in ("notes.txt", "data/model/weights.parquet", "sub/README.md"):
        (place / name).unlink()
    with whole_folder(place, ours) as partial:
        (partial / "README.md").touch()
    assert [path.name for path in place.iterdir()] == ["README.md"]


def test_a_link_is_kept_and_its_target_replaced(tmp_path: Path) -> None:
    (tmp_path / "big disk").mkdir()
    link = tmp_path / "data"
    link.symlink_to("big disk")
    with whole_folder(link) as partial:
        (partial / "file").touch()
    assert link.is_symlink() and (tmp_path / "big disk" / "file").exists()


def test_places_that_can_not_be_replaced_are_refused_before_the_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    for place in (Path(), tmp_path, Path("..")):
        with pytest.raises(InputError, match="is the current folder"):
            check_folder(place)
    with pytest.raises(InputError, match="/proc is a mount point and can't be replaced; give a folder inside it"):
        check_folder(Path("/proc"))
    Path("file").touch()
    with pytest.raises(InputError, match="file is a file, not a folder"):
        check_folder(Path("file"))
    with pytest.raises(InputError, match="file is a file, not a folder"):
        check_writable(Path("file/below"))
    with pytest.raises(InputError, match=r"/proc can't be written to: .*; give another place"):
        check_writable(Path("/proc/below"))  # which takes no file, even from root
    with pytest.raises(InputError, match="is too long; give one of at most 200 bytes"):
        check_folder(Path("x" * 230))
    check_writable(Path("new/and/below"))
    assert not Path("new").exists()


def test_files_are_listed_by_place_and_links_never_followed(tmp_path: Path) -> None:
    (tmp_path / "secret").mkdir()
    for name in ("token.json", "a.json", "sub/b.json", "sub/deep/c.json"):
        (tmp_path / "run" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "run" / name).touch()
    (tmp_path / "secret" / "b.json").touch()
    (tmp_path / "run" / "linked").symlink_to(tmp_path / "secret")
    (tmp_path / "run" / "link.json").symlink_to(tmp_path / "secret" / "b.json")
    named, others = listed(tmp_path / "run", ["[ab].json", "sub/*.json", "linked/*.json", "link.json"])
    assert named == ["a.json", "sub/b.json"]
    assert others == ["link.json", "linked", "sub/deep/c.json", "token.json"]


@pytest.mark.parametrize("name", ["", ".", "..", "../up", "/etc/passwd", "a/b", "a\\b", "C:x", "a\nb", "a\0"])
def test_a_name_from_outside_leads_nowhere(name: str) -> None:
    with pytest.raises(InputError, match=r"the split of x\.json is .*, which is not a plain file name"):
        plain_name(name, "the split of x.json")
    assert plain_name("test [2] é", "") == "test [2] é"


def test_names_in_another_encoding_are_written_and_read_back(tmp_path: Path) -> None:
    name = os.fsdecode(b"l\xe9sion.jpg")
    write_json(tmp_path / "names.json", [name])
    assert read_json(tmp_path / "names.json") == [name]


def test_a_broken_json_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "metrics.json").write_text('{"value": ')
    with pytest.raises(InputError, match=r"metrics\.json is not JSON \(.*\); write it again"):
        read_json(tmp_path / "metrics.json")
