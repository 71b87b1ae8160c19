"""How soon the page for browsers answers, and how far its probabilities are from those of `pipeline()`.

    make space-test                                # once: installs what the page and its tests need
    python -m benchmarks.browser --model RUN --folder DIR

Builds the page of RUN, serves it here, and opens it in headless Chromium, with a connection of 10 Mbit/s and 40 ms. The
times hold for this machine; their ratios to `pipeline()`, on the same images and the same machine, hold elsewhere too.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from threading import Thread
from time import perf_counter
from typing import TYPE_CHECKING, Any

from PIL import Image
from tqdm import tqdm

from lesions.faults import InputError, exits_cleanly
from lesions.hub import local_folder, public_name
from space.build import build_page
from space.visitor import Visitor, find_chromium

if TYPE_CHECKING:
    from playwright.sync_api import BrowserContext, Page

CONNECTION = {"offline": False, "latency": 40, "downloadThroughput": 10e6 / 8, "uploadThroughput": 10e6 / 8}
SIZES = {"600 x 450": (600, 450), "4000 x 3000": (4000, 3000)}  # pixels
ROUNDS = 5  # of each size


@exits_cleanly
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True, help="run, or Hub id")
    parser.add_argument("--folder", type=Path, required=True, help="JPEG images, at any depth")
    parser.add_argument("--count", type=int, default=50, help="images to compare with pipeline() (default: 50)")
    options = parser.parse_args()

    from playwright.sync_api import sync_playwright
    from transformers import pipeline

    found = sorted(options.folder.rglob("*.jpg"))
    if not 0 < options.count <= len(found):
        raise InputError(f"{options.folder} holds {len(found)} JPEG images; --count {options.count} does not fit")
    if not (chromium := find_chromium()):
        raise InputError("Chromium is not installed: install it, or set CHROMIUM to its path")
    images = [path.read_bytes() for path in found[:: len(found) // options.count][: options.count]]
    run = local_folder(options.model, "model")
    classify = pipeline("image-classification", model=str(run))

    with TemporaryDirectory() as scratch, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        site = build_page(run, Path(scratch) / "page")
        print(f"{public_name(options.model)}: model {size_of(site, '*.onnx.gz')}, runtime {size_of(site, 'runtime/*')}")
        with served(site) as url:
            measure(browser.new_context(), url, images, classify)
        browser.close()


def measure(context: BrowserContext, url: str, images: list[bytes], classify: Callable[..., Any]) -> None:
    """Prints times and differences of the page at `url`; `classify` is a `pipeline()` of the same model."""
    first = seconds(visit, context, url, images[0])
    begun = perf_counter()
    visitor = visit(context, url, images[0])
    print(f"first answer: {first:.1f} s; of the second visit: {perf_counter() - begun:.1f} s")
    print(f"map of what the answer depends on: {seconds(draw_map, visitor.page):.1f} s")
    for name, size in SIZES.items():
        image = resized(images[0], size)
        here = median(seconds(visitor.answer, image) for _ in range(ROUNDS))
        there = median(seconds(lambda file: classify(decoded(file)), image) for _ in range(ROUNDS))
        print(f"answer to {name} pixels: {here:.2f} s, {here / there:.1f} times that of pipeline()")
    largest = max(
        difference(visitor.answer(image), classify(decoded(image), top_k=None))
        for image in tqdm(images, unit="image", leave=False)
    )
    print(f"largest difference of a probability from pipeline(), {len(images)} images: {largest:.1e}")


@contextmanager
def served(folder: Path) -> Iterator[str]:
    """The address of a server of `folder` on this machine."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder)))
    Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: Any) -> None: ...


def visit(context: BrowserContext, url: str, image: bytes) -> Visitor:
    """A visit, up to the answer to an image that was chosen while the page still loaded."""
    visitor = Visitor(context, url, CONNECTION)
    visitor.answer(image)
    return visitor


def draw_map(page: Page) -> None:
    page.click("#occlusion-start")
    page.wait_for_function("() => document.getElementById('occlusion-progress').hidden")


def seconds(act: Callable[..., object], *given: object) -> float:
    begun = perf_counter()
    act(*given)
    return perf_counter() - begun


def size_of(site: Path, pattern: str) -> str:
    return f"{sum(path.stat().st_size for path in site.glob(pattern)) / 1e6:.1f} MB"


def decoded(image: bytes) -> Image.Image:
    return Image.open(BytesIO(image)).convert("RGB")


def resized(image: bytes, size: tuple[int, int]) -> bytes:
    buffer = BytesIO()
    decoded(image).resize(size, Image.Resampling.LANCZOS).save(buffer, "JPEG", quality=90)
    return buffer.getvalue()


def difference(shown: dict[str, float], expected: list[dict[str, Any]]) -> float:
    """The largest, in a probability."""
    return max(abs(shown[answer["label"]] - answer["score"]) for answer in expected)


if __name__ == "__main__":
    main()
