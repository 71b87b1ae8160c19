"""Images that are read and do not get into the data set."""

from __future__ import annotations

from typing import NamedTuple

UNREADABLE, IMAGE_TYPE, DIAGNOSIS, COPY = "unreadable", "image type", "diagnosis", "copy"


class LeftOut(NamedTuple):
    """An image that is not in the data set, and why."""

    image_id: str
    split: str  # where it would be; "" for an image of the source, which has no split yet
    source: str
    kind: str  # UNREADABLE, of another IMAGE_TYPE, with a DIAGNOSIS outside the classes, or a COPY of another image
    reason: str
