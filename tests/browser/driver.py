"""The server that sees what is asked of it, and images as the files that visitors choose."""

from __future__ import annotations

from functools import partial
from http.server import SimpleHTTPRequestHandler
from io import BytesIO
from pathlib import Path
from typing import Any

from PIL import Image
from stand_in import StandIn


class PageServer(StandIn):
    """Serves a folder, and notes every request with its method."""

    def __init__(self, folder: Path) -> None:
        super().__init__(partial(_Handler, directory=str(folder)))  # type: ignore[arg-type]

    def stop(self) -> None:
        """From now on nobody answers at this address."""
        self.shutdown()
        self.server_close()


class _Handler(SimpleHTTPRequestHandler):
    server: StandIn

    def log_message(self, *_: Any) -> None: ...

    def do_GET(self) -> None:
        self.server.requests.append(f"{self.command} {self.path}")
        super().do_GET()

    do_HEAD = do_GET

    def do_POST(self) -> None:
        self.server.requests.append(f"{self.command} {self.path}")
        self.send_error(405)


def jpeg(image: Image.Image, **options: Any) -> bytes:
    return encoded(image, "JPEG", **{"quality": 90, **options})


def encoded(image: Image.Image, format_name: str, **options: Any) -> bytes:
    buffer = BytesIO()
    image.save(buffer, format_name, **options)
    return buffer.getvalue()
