"""A visitor of the page in a browser that Playwright drives: for the page's tests and its benchmark."""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from playwright.sync_api import BrowserContext, FilePayload

PATIENCE = 120_000  # milliseconds; on a busy machine the model takes a while to start
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")


def find_chromium() -> str | None:
    """The path of Chromium: what the environment's CHROMIUM names, else an installed one."""
    return os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, BROWSERS)), None)


class Visitor:
    """A person at the page, in a browser profile of their own.

    `connection`: the speed of their network, as the DevTools protocol's `Network.emulateNetworkConditions` takes it.
    """

    def __init__(self, context: BrowserContext, url: str, connection: dict[str, Any] | None = None) -> None:
        self.page = context.new_page()
        if connection:
            context.new_cdp_session(self.page).send("Network.emulateNetworkConditions", connection)
        self.errors: list[str] = []
        self.page.set_default_timeout(PATIENCE)
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.goto(url)

    def wait_until_ready(self) -> None:
        self.page.wait_for_selector("html[data-ready]")

    def give(self, content: bytes | list[bytes], name: str = "lesion.jpg", mime: str = "image/jpeg") -> None:
        """Chooses a file by the page's button."""
        content = [content] if isinstance(content, bytes) else content
        files: list[FilePayload] = [{"name": name, "mimeType": mime, "buffer": part} for part in content]
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
