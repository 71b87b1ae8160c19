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
    its message and exit code 2, Ctrl-C with 130. No message shows a token."""

    @functools.wraps(main)
    def run() -> None:
        for stream in (sys.stdout, sys.stderr):
            if isinstance(stream, TextIOWrapper):
                stream.reconfigure(errors="shown")
        with redirect_stderr(Redacted(sys.stderr, secrets(sys.argv, os.environ))):
            try:
                main()
            except InputError as error:
                print(f"error: {for_terminal(without_worker(str(error)))}", file=sys.stderr)
                sys.exit(2)
            except KeyboardInterrupt:
                print(INTERRUPTED, file=sys.stderr)
                sys.exit(INTERRUPTED_CODE)
            except Exception as error:
                if killed := killed_worker(error):
                    print(f"error: {killed}", file=sys.stderr)
                    sys.exit(2)
                if refused := refused_file(error):
                    print(f"error: {for_terminal(describe(refused))}", file=sys.stderr)
                    sys.exit(2)
                traceback.print_exc()  # here, where tokens are taken out
                sys.exit(1)

    return run


def refused_file(error: BaseException) -> OSError | None:
    """The error of the operating system that `error` is, or that made a library raise `error`."""
    if isinstance(error, OSError):
        return error
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
