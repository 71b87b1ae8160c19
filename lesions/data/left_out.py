"""Images that are read and do not get into the data set."""

from __future__ import annotations

from typing import NamedTuple


class LeftOut(NamedTuple):
    """An image that is not in the data set, and why."""

    image_id: str
    reason: str
    extra_test: str = ""  # the external test set that lacks it for showing a lesion of the data set; "": unreadable
