"""Bad input: collect every fault, report them once, exit with code 2 and no traceback."""

from __future__ import annotations

import errno
import functools
import sys
from collections.abc import Callable

SHOWN_OF_A_KIND = 20
DISK_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class InputError(Exception):
    """What the user gave can't be used. The message says what is wrong, where, and what to do next."""


class Faults:
    """Faults found so far, grouped by kind, so that one run reports all of them."""

    def __init__(self) -> None:
        self.by_kind: dict[str, list[str]] = {}

    def add(self, kind: str, *places: str) -> None:
        """Notes `places` (ids, file names, line numbers) at which a fault of this `kind` was seen."""
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
    """Wraps a script's `main`: bad input or a full disk ends with its message and exit code 2,
    Ctrl-C with code 130."""

    @functools.wraps(main)
    def run() -> None:
        try:
            main()
        except InputError as error:
            print(f"error: {error}", file=sys.stderr)
            sys.exit(2)
        except OSError as error:
            if error.errno not in DISK_FULL:
                raise
            print(f"error: {error.filename or 'a file'} could not be written: {error.strerror}", file=sys.stderr)
            print("make room and run the same command again; what was whole before is so still", file=sys.stderr)
            sys.exit(2)
        except KeyboardInterrupt:
            print("interrupted; run the same command again to go on", file=sys.stderr)
            sys.exit(130)

    return run
