"""What two stages or more share, one idea a file."""

import sys

if sys.version_info < (3, 11):  # noqa: UP036 - said before an import fails
    print(f"error: Python 3.11 or newer is needed; this is {sys.version.split()[0]}", file=sys.stderr)
    sys.exit(2)

from lesions.faults import ensure_home

ensure_home()  # before a library, as it is imported, looks for one
