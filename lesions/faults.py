"""Errors: collect every fault in the input, report all of them once, and exit with code 2 and no traceback."""

from __future__ import annotations

import codecs
import errno
import functools
import os
import re
import sys
import tempfile
import traceback
from collections.abc import Callable
from concurrent.futures import BrokenExecutor
from contextlib import redirect_stderr
from io import TextIOWrapper
from pathlib import Path

from lesions.output.plain_text import SHOWN_OF_A_KIND, for_terminal
from lesions.redaction import Redacted, secrets

INTERRUPTED, INTERRUPTED_CODE = "interrupted; run the same command again to continue", 130
READER_LEFT_CODE = 141  # what a shell reports of `cat` in `cat file | head`
DISK_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class InputError(Exception):
    """The input can't be used. The message says what is wrong, where, and what to do."""


class Faults:
    """Faults found so far, grouped by kind, so that one run reports all of them."""

    def __init__(self) -> None:
        self.by_kind: dict[str, list[str]] = {}

    def add(self, kind: str, *places: str) -> None:
        """Notes the `places` (ids, file names, line numbers) of a fault of this `kind`."""
        if places:
            self.by_kind.setdefault(kind, []).extend(places)

    def raise_if_any(self, advice: str) -> None:
        """Raises InputError with the first 20 places of each kind, a count of the rest, and `advice`."""
        if not self.by_kind:
            return
        lines = []
        for kind, places in self.by_kind.items():
            lines.append(f"{kind} ({len(places)}):")
            lines += [f"  {place}" for place in places[:SHOWN_OF_A_KIND]]
            if len(places) > SHOWN_OF_A_KIND:
                lines.append(f"  ... and {len(places) - SHOWN_OF_A_KIND} more")
        raise InputError("\n".join([*lines, advice]))


def exits_cleanly(main: Callable[[], None]) -> Callable[[], None]:
    """Wraps a script's `main`, the one way out for errors: bad input, or a file that the system refuses, ends with
    its message and exit code 2, Ctrl-C with 130. No message shows a token.

    So `main` itself imports what takes long, or may be missing."""

    @functools.wraps(main)
    def run() -> None:
        prepare_streams()
        try:
            with redirect_stderr(Redacted(sys.stderr, secrets(sys.argv, os.environ))):
                try:
                    check_current_folder()
                    try:
                        main()
                    finally:
                        sys.stdout.flush()  # at the end of Python, its errors can't be caught
                except BrokenPipeError:
                    raise
                except KeyboardInterrupt:
                    print(INTERRUPTED, file=sys.stderr)
                    sys.exit(INTERRUPTED_CODE)
                except Exception as error:
                    if (message := explain(error)) is None:
                        traceback.print_exc()  # here, where tokens are taken out
                        sys.exit(1)
                    print(f"error: {for_terminal(message)}", file=sys.stderr)
                    sys.exit(2)
        except BrokenPipeError:  # the reader has left, as `head` does
            nowhere = os.open(os.devnull, os.O_WRONLY)
            for stream in (1, 2):
                os.dup2(nowhere, stream)
            sys.exit(READER_LEFT_CODE)

    return run


def prepare_streams() -> None:
    """Opens the streams that this process was started without, so that no file gets their numbers and with them what
    a library prints; and lets them show what their encoding lacks."""
    for name in ("stdin", "stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, Path(os.devnull).open("r" if name == "stdin" else "w"))  # noqa: SIM115 - stays open
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="shown")


def check_current_folder() -> None:
    """Raises InputError if the current folder was deleted: libraries ask for it as they are imported."""
    try:
        Path.cwd()
    except FileNotFoundError as error:
        raise InputError("the current folder was deleted; change to another one and run the command again") from error


def explain(error: Exception) -> str | None:
    """What to tell about an error that is not a fault of the program; None for one that is."""
    if isinstance(error, InputError):
        return without_worker(str(error))
    if isinstance(error, ModuleNotFoundError) and not str(error.name).startswith("lesions"):
        return f"{error}\nInstall what is needed: pip install -r requirements.txt"
    if killed := killed_worker(error):
        return killed
    refused = refused_file(error)
    return describe(refused) if refused else None


def refused_file(error: BaseException) -> OSError | None:
    """The error of the operating system that `error` is, or that made a library raise `error`."""
    if isinstance(error, OSError):
        return error
    if told := re.search(r"\(os error (\d+)\)", str(error)):  # by libraries in Rust, as safetensors is
        return OSError(int(told[1]), os.strerror(int(told[1])))
    return refused_file(error.__cause__) if error.__cause__ else None


def without_worker(message: str) -> str:
    """The message of an InputError alone: one from a worker of torch's data loader arrives with a traceback in it."""
    raised = f"{InputError.__module__}.{InputError.__qualname__}: "
    wrapped = message.startswith("Caught InputError in DataLoader worker")
    return message.rpartition(raised)[2].rstrip() if wrapped else message


def killed_worker(error: BaseException) -> str | None:
    """What to say if `error` is that a worker process was killed: of a pool, or of torch's data loader."""
    if isinstance(error, BrokenExecutor) or re.match(r"DataLoader worker \(pid", str(error)):
        return (
            "a worker process was killed, as the system does where memory runs out\n"
            "Free some memory, or use fewer workers (--num_proc 1, --dataloader_num_workers 0), and run the same "
            f"command again\n{error}"
        )
    return None


def show_what_a_terminal_lacks(error: UnicodeError) -> tuple[str, int]:
    """For a terminal without these characters: a bar made of `#`, and any other character as an escape."""
    assert isinstance(error, UnicodeEncodeError)
    lacking = error.object[error.start : error.end]
    return "".join("#" if one == "█" else f"\\u{ord(one):04x}" for one in lacking), error.end


codecs.register_error("shown", show_what_a_terminal_lacks)


def ensure_home() -> None:
    """Gives this process a home folder if the user has none, as in some containers: libraries keep caches there."""
    if not Path(os.path.expanduser("~")).is_absolute():  # noqa: PTH111 - Path.expanduser raises instead
        os.environ["HOME"] = tempfile.mkdtemp(prefix="home-")


def describe(error: OSError) -> str:
    """What is wrong, with which file, and what to do."""
    file = error.filename or "a file"
    if error.errno in DISK_FULL:
        return (
            f"{file} could not be written: {error.strerror}\n"
            "Free some disk space and run the same command again; files that were complete are intact"
        )
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return f"{file}: {error.strerror}\nChange its permissions, or give another place"
    return f"{file}: {error.strerror}" if error.errno else str(error)
