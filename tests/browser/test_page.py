"""The real page with the released model, used as visitors use it."""

from __future__ import annotations

import json
import struct
import sys
import zlib
from collections.abc import Callable, Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import RELEASE, ROOT, SHARED, command
from driver import PageServer, encoded, jpeg
from other_model import EIGHT, save_model_of_other_classes
from PIL import Image, ImageCms, ImageOps

from lesions.data.sources.sample import LOOKS, draw_lesion
from lesions.diagnoses import name_of
from lesions.evaluation.prediction import Predictor
from lesions.metrics.conformal import prediction_sets
from lesions.model.familiarity import Familiarity
from space.visitor import Visitor

IMAGES = 50
AXE = ROOT / "space" / "node_modules" / "axe-core" / "axe.min.js"


@pytest.fixture(scope="module")
def server(site: Path) -> Iterator[PageServer]:
    server = PageServer(site)
    yield server
    server.stop()


@pytest.fixture(scope="module")
def visitor(browser: Any, server: PageServer) -> Visitor:
    """One visitor for the tests that need no page of their own: loading the model takes the longest."""
    visitor = Visitor(browser.new_context(), server.url)
    visitor.wait_until_ready()
    return visitor


def photographs() -> list[Image.Image]:
    """Images of HAM10000 where they are at hand, else lesions drawn by the built-in sample."""
    found = sorted((SHARED / "data" / "ham10000").rglob("*.jpg"))
    if found:
        return [Image.open(path).convert("RGB") for path in found[:: len(found) // IMAGES][:IMAGES]]
    kinds = list(LOOKS)
    return [draw_lesion(kinds[number % len(kinds)], number, 0, zoom=2 + number % 3) for number in range(IMAGES)]


def files() -> list[tuple[str, str, bytes]]:
    """Name, type and content of files of many kinds, the first IMAGES of which are photographs."""
    images = photographs()
    plain = [(f"{number}.jpg", "image/jpeg", jpeg(image)) for number, image in enumerate(images)]
    first, second = images[0].resize((600, 450), Image.Resampling.LANCZOS), images[1]
    turned = Image.Exif()
    turned[0x0112] = 6
    return [
        *plain,
        ("large.jpg", "image/jpeg", jpeg(first, subsampling=2, progressive=True)),
        ("portrait.jpg", "image/jpeg", jpeg(first.crop((200, 0, 400, 450)))),
        ("turned.jpg", "image/jpeg", jpeg(first, exif=turned)),
        ("gray.jpg", "image/jpeg", jpeg(second.convert("L"))),
        ("cmyk.jpg", "image/jpeg", jpeg(second.convert("CMYK"))),
        ("palette.png", "image/png", encoded(second.quantize(64), "PNG")),
        ("opaque.png", "image/png", encoded(second.convert("RGBA"), "PNG")),
        ("lesion.webp", "image/webp", encoded(first, "WEBP", quality=80)),
        ("lesion.bmp", "image/bmp", encoded(second, "BMP")),
        ("still.gif", "image/gif", encoded(second.quantize(64), "GIF")),
        ("profile.png", "image/png", encoded(second, "PNG", icc_profile=other_colors())),
        ("profile.jpg", "image/jpeg", jpeg(first, icc_profile=other_colors())),
    ]


Expect = Callable[[Image.Image], dict[str, float]]


def by_pipeline(model: Path) -> Expect:
    """What `pipeline()` says of an image: the probability of each label."""
    from transformers import pipeline

    classify = pipeline("image-classification", model=str(model))
    labels = len(classify.model.config.id2label)
    return lambda image: {answer["label"]: answer["score"] for answer in classify(image, top_k=labels)}


@pytest.fixture(scope="module")
def expect() -> Expect:
    return by_pipeline(RELEASE)


def difference(found: dict[str, float], expected: dict[str, float]) -> float:
    """The largest, in a probability."""
    assert found.keys() == expected.keys()
    return max(abs(found[label] - expected[label]) for label in expected)


def other_colors() -> bytes:
    """A color profile in which red and green change places: whoever applies it sees another image."""
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    return profile.replace(b"rXYZ", b"XXXX").replace(b"gXYZ", b"rXYZ").replace(b"XXXX", b"gXYZ")


def test_says_what_pipeline_says(visitor: Visitor, expect: Expect) -> None:
    given, largest = files(), []
    upright = [ImageOps.exif_transpose(Image.open(BytesIO(content))) for _, _, content in given]
    for (name, mime, content), image in zip(given, upright, strict=True):
        largest.append(difference(visitor.answer(content, name, mime), expect(image)))
        assert largest[-1] < 1e-3, name
    print(f"largest difference in a probability: {max(largest):.1e}")
    assert len(given) > IMAGES and not visitor.errors


def test_the_crop_is_what_the_model_sees(visitor: Visitor, expect: Expect) -> None:
    image = draw_lesion("mel", 7, 0, zoom=5)
    content = encoded(image, "PNG")
    whole = visitor.answer(content, "lesion.png", "image/png")
    page, box = visitor.page, visitor.page.locator("#frame").bounding_box()
    before = visitor.turn()
    page.mouse.move(box["x"] + 0.25 * box["width"], box["y"] + 0.25 * box["height"])
    page.mouse.down()
    page.mouse.move(box["x"] + 0.75 * box["width"], box["y"] + 0.75 * box["height"], steps=4)
    page.mouse.up()
    cropped = visitor.next_answer(before)
    part = image.crop((image.width // 4, image.height // 4, image.width * 3 // 4, image.height * 3 // 4))
    # The mouse moves in whole pixels of the screen, so the box may be a pixel off.
    assert difference(cropped, expect(part)) < 0.05
    before = visitor.turn()
    page.click("#whole")
    assert visitor.next_answer(before) == whole != cropped


def test_a_model_of_other_classes_and_another_preprocessing(browser: Any, tmp_path: Path) -> None:
    model = save_model_of_other_classes(tmp_path / "fruits")
    command("-m", "space", model, "--output", tmp_path / "page")
    server, expect = PageServer(tmp_path / "page"), by_pipeline(model)
    context = browser.new_context()
    visitor = Visitor(context, server.url)
    visitor.wait_until_ready()
    for image in photographs()[:5]:
        found = visitor.answer(jpeg(image))
        assert set(found) == set(EIGHT)
        assert difference(found, expect(Image.open(BytesIO(jpeg(image))))) < 1e-3
    page = visitor.page
    assert "no threshold" in page.locator("#decision").inner_text()
    assert "not been measured" in page.locator("#facts-note").inner_text()
    assert page.locator(".mark").count() == 0  # whether an apple is malignant is not known
    assert not visitor.errors
    context.close()
    server.stop()


def test_labels_that_nobody_expects_stay_in_their_place(browser: Any, tmp_path: Path) -> None:
    labels = ["<b>mel</b>", "MEL", "mel", "x" * 100, "olive\u202e", "=1+1"]
    command("-m", "space", save_model_of_other_classes(tmp_path / "model", labels), "--output", tmp_path / "page")
    server = PageServer(tmp_path / "page")
    for width in (1100, 320):
        context = browser.new_context(viewport={"width": width, "height": 900})
        visitor = Visitor(context, server.url)
        visitor.wait_until_ready()
        assert set(visitor.answer(jpeg(photographs()[0]))) == set(labels)
        names = visitor.page.locator("#ranking .name").all_inner_texts()
        assert {"<b>mel</b>", "Melanoma (MEL)", "Melanoma (mel)", "olive"} <= {name.strip() for name in names}
        assert visitor.page.evaluate("document.documentElement.scrollWidth") <= width
        assert not visitor.errors
        context.close()
    server.stop()


def test_says_what_it_does_not_know(browser: Any, tmp_path: Path) -> None:
    model, images = save_model_of_other_classes(tmp_path / "fruits"), photographs()[:6]
    random = np.random.default_rng(0)  # an identity would give all the same distance: features are normalized
    Familiarity(*(random.normal(size=shape).astype(np.float32) for shape in ((24, 24), 24))).save(model)
    predictor = Predictor(model)
    answers = predictor.probabilities([{"image": image, "label": 0} for image in images], 6)
    distances = predictor.familiarity.distance(answers.features)
    thresholds = np.median(answers.probabilities, axis=0)
    by_diagnosis = {
        label: {"threshold": float(threshold), "guarantee": 0.8, "n_lesions": 4}
        for label, threshold in zip(EIGHT, thresholds, strict=True)
    }
    sets = {"level": 0.95, "by_diagnosis": by_diagnosis}
    familiarity = {"accepted": 0.99, "threshold": float(np.median(distances))}
    record = json.loads((RELEASE / "training.json").read_text()) | {"operating_points": [], "decision": None}
    record |= {"malignant": None, "prediction_sets": [sets], "familiarity": familiarity}
    (model / "training.json").write_text(json.dumps(record))
    command("-m", "space", model, "--output", tmp_path / "page")
    server = PageServer(tmp_path / "page")
    visitor = Visitor(browser.new_context(), server.url)
    visitor.wait_until_ready()
    held, unfamiliar = prediction_sets(answers.probabilities, list(EIGHT), sets), distances > familiarity["threshold"]
    for image, holds, strange in zip(images, held, unfamiliar, strict=True):
        visitor.answer(encoded(image, "PNG"), "lesion.png", "image/png")
        text = visitor.page.locator("#held").inner_text()
        assert "holds the diagnosis of 80% of the lesions" in text
        named = text.removeprefix("Can't rule out: ").split(". For images like")[0].split(", ")
        assert set(named) == {name_of(label) for label, one in zip(EIGHT, holds, strict=True) if one}
        assert visitor.page.locator("#unfamiliar").is_visible() == strange
        assert visitor.page.locator("#status").inner_text().startswith("Unlike the training images") == strange
    assert unfamiliar.sum() == 3
    server.stop()


def png(width: int, height: int, rows: bytes = b"", *extra: tuple[bytes, bytes]) -> bytes:
    """A PNG of gray pixels whose content may be left out, with further chunks before it."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    chunks = [(b"IHDR", header), *extra, (b"IDAT", zlib.compress(rows)), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*part) for part in chunks)


def frames(format_name: str) -> bytes:
    """An animation of two frames."""
    one, two = (draw_lesion("nv", 1, view) for view in (0, 1))
    return encoded(one, format_name, save_all=True, append_images=[two], duration=100)


LESION = draw_lesion("nv", 0, 0, zoom=2)
BAD = {
    "an empty file": (b"", "a.jpg", "empty"),
    "text": (b"This is not an image. " * 50, "lesion.jpg", "not an image"),
    "random bytes": (bytes(range(256)) * 40, "lesion.jpg", "not an image"),
    "HTML": (b"<!doctype html><html><script>alert(1)</script></html>", "lesion.png", "not an image"),
    "SVG": (b'<svg xmlns="http://www.w3.org/2000/svg" width="99" height="99"><script>1</script></svg>', "a.png", "SVG"),
    "HEIC": (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(500), "IMG_1.HEIC", "HEIC"),
    "TIFF": (encoded(LESION, "TIFF"), "lesion.tif", "TIFF"),
    "a pixel": (png(1, 1, b"\0\0"), "pixel.png", "1 \u00d7 1"),
    "a line": (png(4000, 3, b"\0" * 12003), "line.png", "4,000 \u00d7 3"),
    "100 megapixels": (encoded(Image.new("L", (10_000, 10_000)), "PNG"), "large.png", "100 megapixels"),
    "a size that lies": (png(60_000, 60_000), "bomb.png", "3,600 megapixels"),
    "an animated GIF": (frames("GIF"), "a.gif", "animation"),
    "an animated PNG": (frames("PNG"), "a.png", "animation"),
    "an animated WebP": (frames("WEBP"), "a.webp", "animation"),
    "half a JPEG": (jpeg(LESION)[:4000], "lesion.jpg", "damaged"),
    "half a PNG": (encoded(LESION, "PNG")[:4000], "lesion.png", "damaged"),
    "a JPEG header alone": (jpeg(LESION)[:30], "lesion.jpg", "damaged"),
}


@pytest.mark.parametrize("kind", BAD)
def test_bad_input_gets_a_kind_message_and_the_page_stays_usable(visitor: Visitor, kind: str) -> None:
    content, name, message = BAD[kind]
    visitor.give(content, name, "image/jpeg")
    alert = visitor.page.locator("#refused:visible")
    alert.wait_for()
    assert message in alert.inner_text()
    before = visitor.turn()
    visitor.page.locator(".sample").first.click()
    assert len(visitor.next_answer(before)) == 7
    assert not alert.is_visible() and not visitor.errors


def test_two_files_at_once_and_none(visitor: Visitor) -> None:
    page = visitor.page
    page.evaluate(
        """() => {
            const transfer = new DataTransfer();
            for (const name of ["a.jpg", "b.jpg"]) transfer.items.add(new File(["x"], name));
            document.dispatchEvent(new DragEvent("drop", { dataTransfer: transfer, bubbles: true }));
        }"""
    )
    assert "one image at a time" in page.locator("#refused:visible").inner_text()
    page.evaluate("() => document.dispatchEvent(new ClipboardEvent('paste', { clipboardData: new DataTransfer() }))")
    assert "no image" in page.locator("#refused:visible").inner_text()


@pytest.mark.parametrize("way", ["drop", "paste"])
def test_an_image_is_dropped_or_pasted(visitor: Visitor, way: str) -> None:
    before = visitor.turn()
    visitor.page.evaluate(
        """([way, bytes]) => {
            const transfer = new DataTransfer();
            transfer.items.add(new File([new Uint8Array(bytes)], "lesion.jpg", { type: "image/jpeg" }));
            const event = way === "drop"
                ? new DragEvent("drop", { dataTransfer: transfer, bubbles: true })
                : new ClipboardEvent("paste", { clipboardData: transfer });
            document.dispatchEvent(event);
        }""",
        [way, list(jpeg(LESION))],
    )
    assert sum(visitor.next_answer(before).values()) == pytest.approx(1)


def test_an_operating_point_is_chosen_and_says_what_was_measured(visitor: Visitor) -> None:
    visitor.answer(jpeg(LESION))
    facts = json.loads((RELEASE / "evaluation" / "metrics.json").read_text())
    page = visitor.page
    for number, point in enumerate(facts["operating_points"]):
        page.select_option("#point", str(number))
        shown = page.locator("#point-metrics").inner_text()
        for name in ("sensitivity", "specificity"):
            assert (
                "{value:.1f}% [{low:.1f}\u2013{high:.1f}]".format(**{k: 100 * v for k, v in point[name].items()})
                in shown
            )
        score = sum(
            float(page.get_attribute(f"#ranking [data-code={code}]", "data-probability"))
            for code in ({"mel"} if point["target"] == "melanoma" else {"mel", "bcc", "akiec"})
        )
        above = "Above" if score >= point["threshold"] else "Below"
        assert page.locator("#verdict").inner_text() == f"{above} the threshold"
    assert number == 7


def test_the_map_shows_progress_and_can_be_stopped(visitor: Visitor) -> None:
    page = visitor.page
    drawn = [jpeg(draw_lesion(dx, 1, 0, zoom=2)) for dx in LOOKS]
    visitor.answer(min(drawn, key=lambda content: max(visitor.answer(content).values())))  # the least certain one
    page.click("#occlusion-start")
    page.locator("#occlusion-text", has_text="Covering part").wait_for()
    page.click("#occlusion-start")
    assert page.locator("#occlusion-progress").is_hidden() and page.locator("#map").is_hidden()
    page.click("#occlusion-start")
    page.locator("#occlusion-progress").wait_for(state="hidden")
    assert "lowers the probability" in page.locator("#occlusion-text").inner_text()
    assert page.locator("#map").is_visible()
    visitor.answer(jpeg(LESION))
    assert page.locator("#map").is_hidden()  # it told about another image


def test_memory_is_freed_after_each_image(browser: Any, server: PageServer) -> None:
    if not sys.platform.startswith("linux"):
        pytest.skip("the memory of Chromium's processes is read from /proc")
    context = browser.new_context()
    visitor = Visitor(context, server.url)
    visitor.wait_until_ready()
    protocol = browser.new_browser_cdp_session()

    def megabytes() -> float:
        visitor.page.request_gc()
        processes = protocol.send("SystemInfo.getProcessInfo")["processInfo"]
        renderers = [process["id"] for process in processes if process["type"] == "renderer"]
        pages = [int(Path(f"/proc/{pid}/statm").read_text().split()[1]) for pid in renderers]
        return sum(pages) * 4096 / 1e6

    random = np.random.default_rng(0)
    content = jpeg(
        Image.fromarray(random.integers(0, 256, (1500, 2000, 3), dtype=np.uint8)), quality=30
    )  # 12 MB decoded
    used = []
    for number in range(50):
        visitor.answer(content)
        used += [megabytes()] if number in (9, 49) else []
    context.close()
    assert used[1] - used[0] < 60, used  # 40 kept images would be 480 MB


def press_until_focused(page: Any, selector: str) -> None:
    for _ in range(60):
        if page.evaluate("(selector) => document.activeElement?.matches(selector)", selector):
            return
        page.keyboard.press("Tab")
    raise AssertionError(f"the Tab key never reaches {selector}")


def test_by_keyboard_alone(browser: Any, server: PageServer) -> None:
    context = browser.new_context()
    visitor = Visitor(context, server.url)
    visitor.wait_until_ready()
    page = visitor.page
    press_until_focused(page, "#file")  # opens the system's dialog by Enter
    press_until_focused(page, ".sample")
    page.keyboard.press("Enter")
    whole = visitor.next_answer(None)
    announced = page.locator("#status[aria-live=polite]").inner_text()
    assert announced.startswith("Most probable: ")
    page.keyboard.press("Shift+Tab")
    page.evaluate("() => document.activeElement.blur()")
    press_until_focused(page, "#crop")
    before = visitor.turn()
    for key in ("+", "+", "ArrowRight", "ArrowDown"):
        page.keyboard.press(key)
    cropped = visitor.next_answer(before)
    assert cropped != whole
    before = visitor.turn()
    page.keyboard.press("0")
    assert visitor.next_answer(before) == whole
    press_until_focused(page, "#point")
    shown = page.locator("#point-metrics").inner_text()
    page.keyboard.press("ArrowUp")
    assert page.locator("#point-metrics").inner_text() != shown
    press_until_focused(page, "#occlusion-start")
    page.keyboard.press("Enter")
    page.locator("#occlusion-progress").wait_for(state="visible")
    page.keyboard.press("Enter")
    page.locator("#occlusion-progress").wait_for(state="hidden")
    context.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 1280])
def test_axe_finds_nothing_and_no_page_is_too_wide(browser: Any, server: PageServer, scheme: str, width: int) -> None:
    context = browser.new_context(color_scheme=scheme, viewport={"width": width, "height": 800})
    visitor = Visitor(context, server.url)
    page, protocol = visitor.page, context.new_cdp_session(visitor.page)
    protocol.send(
        "Runtime.evaluate", {"expression": AXE.read_text()}
    )  # past the page's policy, as a tool of the browser

    def check() -> None:
        found = protocol.send(
            "Runtime.evaluate", {"expression": "axe.run()", "awaitPromise": True, "returnByValue": True}
        )
        violations = found["result"]["value"]["violations"]
        assert not violations, [(v["id"], [node["html"] for node in v["nodes"]]) for v in violations]
        assert page.evaluate("() => document.documentElement.scrollWidth") <= width

    check()
    visitor.wait_until_ready()
    check()
    page.locator(".sample").first.click()
    visitor.next_answer(None)
    page.click("#closer")
    visitor.give(b"no image")
    page.locator("#refused:visible").wait_for()
    check()
    context.close()
