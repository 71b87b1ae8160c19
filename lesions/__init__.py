"""What two stages or more share, one idea a file."""

from lesions.faults import ensure_home

ensure_home()  # before a library, as it is imported, looks for one
