"""After loading, the page reaches no server, whatever its own scripts try; and it works without one."""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import command
from driver import PageServer
from other_model import EIGHT, save_model_of_other_classes

from space.visitor import Visitor

GRACE = 2  # seconds in which a request would have arrived

# Every way in which a script of a page can reach a server without leaving the page.
PAGE_WAYS = """(url) => {
    const attempt = (act) => { try { act()?.catch?.(() => {}); } catch {} };
    const add = (name, facts) => document.head.append(Object.assign(document.createElement(name), facts));
    attempt(() => fetch(url + "fetch", { mode: "no-cors" }));
    attempt(() => fetch(url + "post", { mode: "no-cors", method: "POST", body: "pixels", keepalive: true }));
    attempt(() => { const request = new XMLHttpRequest(); request.open("GET", url + "xhr"); request.send(); });
    attempt(() => navigator.sendBeacon(url + "beacon", "pixels"));
    attempt(() => void new WebSocket(url.replace("http", "ws") + "socket"));
    attempt(() => void new EventSource(url + "events"));
    attempt(() => { new Image().src = url + "image"; });
    attempt(() => import(url + "import.js"));
    attempt(() => add("script", { src: url + "script.js" }));
    attempt(() => add("link", { rel: "stylesheet", href: url + "style.css" }));
    attempt(() => add("link", { rel: "prefetch", href: url + "prefetch" }));
    attempt(() => add("link", { rel: "modulepreload", href: url + "preload.js" }));
    attempt(() => add("iframe", { src: url + "frame" }));
    attempt(() => add("video", { src: url + "video", preload: "auto" }));
    attempt(() => new FontFace("far", `url(${url}font)`).load());
    attempt(() => { document.body.style.backgroundImage = `url(${url}background)`; });
    attempt(() => void new Worker(url + "worker.js"));
}"""
FORM = """(url) => {
    const form = Object.assign(document.createElement("form"), { action: url + "form", method: "post" });
    document.body.append(form);
    form.submit();
}"""
WORKER_WAYS = """(url) => {
    const attempt = (act) => { try { act()?.catch?.(() => {}); } catch {} };
    attempt(() => fetch(url + "worker-fetch", { mode: "no-cors" }));
    attempt(() => { const request = new XMLHttpRequest(); request.open("GET", url + "worker-xhr"); request.send(); });
    attempt(() => void new WebSocket(url.replace("http", "ws") + "worker-socket"));
    attempt(() => void new EventSource(url + "worker-events"));
    attempt(() => import(url + "worker-import.js"));
}"""


@pytest.fixture
def server(site: Path) -> Iterator[PageServer]:
    server = PageServer(site)
    yield server
    server.stop()


@pytest.fixture
def elsewhere(tmp_path: Path) -> Iterator[PageServer]:
    """Another server, as a tracker's would be."""
    server = PageServer(tmp_path)
    yield server
    server.stop()


def test_the_ways_out_work_on_a_page_without_the_lock(browser: Any, elsewhere: PageServer, tmp_path: Path) -> None:
    """Else the next test could not fail."""
    (tmp_path / "open.html").write_text("<!doctype html><title>no policy</title><body></body>")
    page = browser.new_context().new_page()
    page.goto(f"{elsewhere.url}/open.html")
    page.evaluate(PAGE_WAYS, f"{elsewhere.url}/")
    page.wait_for_timeout(1000 * GRACE)
    page.evaluate(FORM, f"{elsewhere.url}/")
    time.sleep(GRACE)
    names = {request.rsplit("/", 1)[-1] for request in elsewhere.requests}
    ways = ("fetch", "post", "xhr", "beacon", "socket", "events", "image", "import.js", "script.js", "style.css",
            "prefetch", "preload.js", "frame", "video", "font", "background", "worker.js", "form")  # fmt: skip
    assert set(ways) <= names


def test_nothing_leaves_page_or_worker_after_loading(browser: Any, server: PageServer, elsewhere: PageServer) -> None:
    visitor = Visitor(browser.new_context(), server.url)
    visitor.wait_until_ready()
    page = visitor.page
    page.wait_for_timeout(1000)  # the browser may still fetch the service worker's script
    asked = len(server.requests)
    page.locator(".sample").first.click()
    answer = visitor.next_answer(None)
    for target in (elsewhere, server):
        page.evaluate(PAGE_WAYS, f"{target.url}/")
        (worker,) = page.workers
        worker.evaluate(WORKER_WAYS, f"{target.url}/")
    page.wait_for_timeout(1000 * GRACE)
    before = visitor.turn()
    page.locator(".sample").first.click()
    assert visitor.next_answer(before) == answer  # it still works
    page.evaluate(FORM, f"{elsewhere.url}/")  # last: to Playwright, a navigation that never ends
    time.sleep(GRACE)
    assert elsewhere.requests == [] and server.requests[asked:] == []


def test_loading_asks_its_own_server_only_and_for_nothing_twice(browser: Any, server: PageServer) -> None:
    context = browser.new_context()
    asked: list[str] = []
    context.on("request", lambda request: asked.append(request.url))
    Visitor(context, server.url).wait_until_ready()
    assert asked and all(url.startswith((server.url, "blob:", "data:")) for url in asked)
    large = [request for request in server.requests if request.endswith((".gz", ".mjs")) or "samples/nv-" in request]
    assert len(large) == len(set(large)) == 4
    assert context.cookies() == []


def test_a_second_visit_answers_without_a_network(browser: Any, site: Path) -> None:
    server = PageServer(site)
    context = browser.new_context()
    visitor = Visitor(context, server.url)
    visitor.wait_until_ready()
    visitor.page.locator(".sample").first.click()
    answer = visitor.next_answer(None)
    server.stop()
    for _ in range(2):
        visitor.page.reload()
        visitor.wait_until_ready()
        visitor.page.locator(".sample").first.click()
        assert visitor.next_answer(None) == answer
    assert not visitor.errors


def test_a_new_version_replaces_what_was_kept(browser: Any, site: Path, tmp_path: Path) -> None:
    shutil.copytree(site, tmp_path / "site")
    changing = PageServer(tmp_path / "site")
    visitor = Visitor(browser.new_context(), changing.url)
    visitor.wait_until_ready()
    files = tmp_path / "site" / "files.json"
    files.write_text(files.read_text().replace('"version": "', '"version": "f'))
    visitor.page.reload()
    visitor.wait_until_ready()
    kept = visitor.page.evaluate("() => caches.keys()")
    assert len(kept) == 1 and " f" in kept[0]
    assert changing.requests.count("GET /{path}".format(**json.loads(files.read_text())["model"])) == 2
    changing.stop()


def test_another_model_is_never_mixed_with_what_the_browser_cached(browser: Any, site: Path, tmp_path: Path) -> None:
    """Files that were old when they were fetched are taken from the HTTP cache for a while, without a question."""
    shutil.copytree(site, tmp_path / "site")
    for path in (tmp_path / "site").rglob("*"):
        os.utime(path, (time.time() - 1e7, time.time() - 1e7))
    changing = PageServer(tmp_path / "site")
    context = browser.new_context()
    visitor = Visitor(context, changing.url)
    visitor.wait_until_ready()
    visitor.page.close()
    other = save_model_of_other_classes(tmp_path / "fruits")
    command("-m", "space", other, "--output", tmp_path / "page")
    shutil.rmtree(tmp_path / "site")
    shutil.copytree(tmp_path / "page", tmp_path / "site")
    visitor = Visitor(context, changing.url)
    visitor.wait_until_ready()
    visitor.page.locator(".sample").first.click()
    assert set(visitor.next_answer(None)) == set(EIGHT) and not visitor.errors
    changing.stop()


def test_a_failed_download_is_told(browser: Any, site: Path, tmp_path: Path) -> None:
    shutil.copytree(site, tmp_path / "site")
    next((tmp_path / "site").glob("model-*.onnx.gz")).unlink()
    server = PageServer(tmp_path / "site")
    visitor = Visitor(browser.new_context(), server.url)
    visitor.page.locator("#status", has_text="could not be loaded").wait_for()
    server.stop()
