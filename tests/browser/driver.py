"""A visitor of the page in headless Chromium, and the servers that see what is asked of them."""

from __future__ import annotations

from functools import partial
from http.server import SimpleHTTPRequestHandler
from io import BytesIO
from pathlib import Path
from typing import Any

from PIL import Image
from stand_in import StandIn

PATIENCE = 120_000  # milliseconds; on a busy machine the model takes a while to start


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


class Visitor:
    """A person at the page, in a browser profile of their own."""

    def __init__(self, context: Any, url: str) -> None:
        self.page = context.new_page()
        self.errors: list[str] = []
        self.page.set_default_timeout(PATIENCE)
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.goto(url)

    def wait_until_ready(self) -> None:
        self.page.wait_for_selector("html[data-ready]")

    def give(self, content: bytes | list[bytes], name: str = "lesion.jpg", mime: str = "image/jpeg") -> None:
        """Chooses a file by the page's button."""
        content = [content] if isinstance(content, bytes) else content
        files = [{"name": name, "mimeType": mime, "buffer": part} for part in content]
        self.page.set_input_files("#file", files if len(files) > 1 else files[0])

    def answer(self, content: bytes, name: str = "lesion.jpg", mime: str = "image/jpeg") -> dict[str, float]:
        """The probabilities that the page shows for an image."""
        before = self.turn()
        self.give(content, name, mime)
        return self.next_answer(before)

    def turn(self) -> str | None:
        return self.page.get_attribute("#status", "data-answer")

    def next_answer(self, before: str | None) -> dict[str, float]:
        """The probabilities shown after those of the turn `before`."""
        changed = "(before) => (document.getElementById('status').dataset.answer ?? null) !== before"
        self.page.wait_for_function(changed, arg=before)
        read = "(rows) => rows.map((row) => [row.dataset.code, Number(row.dataset.probability)])"
        return dict(self.page.eval_on_selector_all("#ranking li", read))


def jpeg(image: Image.Image, **options: Any) -> bytes:
    return encoded(image, "JPEG", **{"quality": 90, **options})


def encoded(image: Image.Image, format_name: str, **options: Any) -> bytes:
    buffer = BytesIO()
    image.save(buffer, format_name, **options)
    return buffer.getvalue()
