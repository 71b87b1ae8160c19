"""One way out for errors: what it says, and what it keeps to itself."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT, command

from lesions.faults import ensure_home
from lesions.redaction import redact, secrets

TOKEN = "hf_" + "x" * 34


def outcome(program: str, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """What a script whose `main` has the body `program` does."""
    body = "\n".join(f"    {line}" for line in program.splitlines())
    script = f"import sys, errno, os\nfrom lesions.faults import *\n@exits_cleanly\ndef main():\n{body}\nmain()"
    return subprocess.run([sys.executable, "-c", script, *arguments], cwd=ROOT, env={**os.environ, **environment},
                          text=True, capture_output=True, encoding="utf-8", errors="surrogateescape")  # fmt: skip


FULL = """
import numpy as np, resource
from lesions.model.familiarity import Familiarity
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
os.chdir(os.environ["PLACE"])
Familiarity(np.eye(99, dtype=np.float32), np.zeros(99, np.float32)).save(Path())
"""


@pytest.mark.parametrize(
    ("program", "expected"),
    [
        ('raise InputError("bad; correct it")', "error: bad; correct it\n"),
        ('open("no such folder/file")', "error: no such folder/file: No such file or directory\n"),
        ('raise OSError(errno.EROFS, "Read-only file system", "a.csv")', "error: a.csv: Read-only file system\nChange"),
        ('try: open("no")\nexcept OSError as e: raise RuntimeError("load") from e', "error: no: No such file"),
        ('raise InputError("no label a\\x1b[31m\\nb")', "error: no label a [31m\nb\n"),
        ('raise OSError(errno.ENOSPC, "No space left", "a.csv")', "error: a.csv could not be written: No space left\n"),
        (FULL, "error: a file could not be written: File too large\nFree some disk space"),
        (
            "sys.modules['torch'] = None\nimport torch",
            "error: import of torch halted; None in sys.modules\nInstall what",
        ),
    ],
)
def test_an_error_names_the_file_and_ends_with_code_2(program: str, expected: str, tmp_path: Path) -> None:
    done = outcome(program, PLACE=str(tmp_path))
    assert done.returncode == 2 and done.stderr.startswith(expected) and "Traceback" not in done.stderr
    assert not list(tmp_path.iterdir())


def test_a_reader_that_leaves_ends_the_command_quietly() -> None:
    """As in `evaluate_model.py ... | head -1`."""
    body = "from lesions.faults import *\n@exits_cleanly\ndef main():\n    print('a line\\n' * 100_000)\nmain()"
    writer = subprocess.Popen([sys.executable, "-c", body], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert writer.stdout and writer.stderr and writer.stdout.readline() == b"a line\n"
    writer.stdout.close()
    assert (writer.stderr.read(), writer.wait()) == (b"", 141)


def test_a_command_without_streams_gives_their_numbers_to_no_file(tmp_path: Path) -> None:
    program = f"""
import os, sys
from lesions.faults import InputError, exits_cleanly
@exits_cleanly
def main():
    with open({str(tmp_path / "file")!r}, "w") as file:
        file.write(str(file.fileno() > 2))
    print("a line")
    raise InputError("bad")
main()
"""
    closed = ["sh", "-c", 'exec "$@" <&- >&- 2>&-', "sh", sys.executable, "-c", program]
    assert subprocess.run(closed, cwd=ROOT).returncode == 2
    assert (tmp_path / "file").read_text() == "True"


@pytest.mark.parametrize(
    "script",
    [
        *(["data_prep.py"], ["train.py"], ["evaluate_model.py"], ["-m", "model_card", "runs/demo"]),
        *(["-m", "lesions.evaluation.limits", "runs/demo"], ["-m", "lesions.data.duplicates", "ham10000"]),
    ],
)
def test_without_the_packages_every_command_says_what_to_install(script: list[str]) -> None:
    bare = [sys.executable, "-S", *script]  # -S: as if nothing were installed
    done = subprocess.run(bare, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 2 and done.stderr.startswith("error: No module named '"), done.stderr
    assert done.stderr.endswith("Install what is needed: pip install -r requirements.txt\n")


@pytest.mark.parametrize("script", ["data_prep.py", "train.py", "evaluate_model.py"])
def test_a_current_folder_that_was_deleted_is_one_clear_error(script: str, tmp_path: Path) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    inside = f"cd {gone} && rmdir {gone} && {sys.executable} {ROOT / script} --help"
    done = subprocess.run(["sh", "-c", inside], capture_output=True, text=True)
    assert done.returncode == 2 and done.stderr.startswith("error: the current folder was deleted; change to another")


def test_a_fault_of_the_program_shows_its_traceback_without_tokens() -> None:
    done = outcome(
        "raise ValueError(f'Illegal header {sys.argv[2]!r}')", "--hub_token", "secret-1\n", HF_TOKEN="hf_a\n"
    )
    assert done.returncode == 1 and "Traceback" in done.stderr and "Illegal header '<token>" in done.stderr
    assert "secret-1" not in done.stderr


@pytest.mark.parametrize(
    "arguments",
    [["--hub_token", "abcd-1"], ["--hub_token=abcd-1"], ["--hub_tokn", "abcd-1"], ["--hubtoken=abcd-1"],
     ["--hub-token", " abcd-1\n"], ["--tokne", "abcd-1"], ["--TOKEN", "abcd-1"]],
)  # fmt: skip
def test_a_token_is_never_printed_however_its_option_is_spelled(arguments: list[str]) -> None:
    found = secrets(["train.py", *arguments, "--output_dir", "runs/x"], {})
    assert redact("unrecognized arguments: --hub_tokn abcd-1 --output_dir runs/x", found).count("abcd-1") == 0
    assert "runs/x" in redact("runs/x", found)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("GET https://me:s3cret@host/a@b failed", "GET https://<token>@host/a@b failed"),
        ("for https://s3cret@huggingface.co/x", "for https://<token>@huggingface.co/x"),
        ("/f?a=1&X-Amz-Signature=s3cret&b=2", "/f?a=1&X-Amz-Signature=<token>&b=2"),
        ("?access_token=s3cret", "?access_token=<token>"),
        ("{'authorization': 'Bearer s3cret'}", "{'authorization': 'Bearer <token>'}"),
        ("mail me@host, see https://host/@me?page=2", "mail me@host, see https://host/@me?page=2"),
    ],
)
def test_a_token_in_an_address_or_a_header_is_taken_out(text: str, shown: str) -> None:
    assert redact(text) == shown


def test_what_looks_like_a_token_is_taken_out_and_nothing_else() -> None:
    assert redact(f"b'Bearer {TOKEN}\\n', {TOKEN}") == "b'Bearer <token>\\n', <token>"
    arguments = ["--push_to_hub", "--hub_model_id", "you/hf_lesions", "--output_dir", "runs/a", "--output", "data/hf_x"]
    assert secrets(arguments, {}) == set()
    assert secrets(["x", "--unknown=hf_abc", "hf_def"], {"HF_TOKEN": " hf_ghi\n", "HOME": "/root"}) == {
        *("hf_abc", "hf_def", "hf_ghi"),
    }


def test_a_terminal_of_another_encoding_gets_what_it_can_show() -> None:
    done = outcome("print('█', os.fsdecode(b'\\xff'), 'é')", PYTHONIOENCODING="cp1252")
    assert done.returncode == 0 and done.stdout.startswith("#") and "\\udcff" in done.stdout


def test_a_user_without_a_home_has_a_place_for_caches(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a container that runs under a user id that is in no passwd file."""
    pwd = pytest.importorskip("pwd")
    monkeypatch.setenv("HOME", "/root")  # so that it is put back
    monkeypatch.delenv("HOME")
    monkeypatch.setattr(pwd, "getpwuid", {}.__getitem__)
    ensure_home()
    assert Path.home().is_dir() and not list(Path.home().iterdir())


def test_libraries_see_that_place_as_they_are_imported() -> None:
    program = """
import os, pwd
pwd.getpwuid = {}.__getitem__
for name in ("HOME", "HF_HOME", "XDG_CACHE_HOME"):
    os.environ.pop(name, None)
import evaluate_model
from huggingface_hub import constants
print(constants.HF_HOME)
"""
    assert Path(command("-c", program).stdout.strip()).is_absolute()


@pytest.mark.parametrize(
    "arguments",
    [
        ("evaluate_model.py", "--model", "release/deit-tiny-ham10000", "--images", "none", "--output", "/proc/out"),
        ("train.py", "recipes/demo.yaml", "--dataset", "none", "--output_dir", "/proc/out"),
    ],
)
def test_a_place_that_takes_no_file_is_refused_before_the_work(arguments: tuple[str, ...]) -> None:
    assert "/proc can't be written to: " in command(*arguments, check=2).stderr
