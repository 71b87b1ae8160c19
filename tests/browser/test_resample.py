"""The page resizes as Pillow does, equal in every pixel: its own code, run by Node."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from conftest import ROOT
from PIL import Image

SCRIPT = """
import { readFileSync, writeFileSync } from "node:fs";
import { resize } from "%s";
const [file, width, height, outWidth, outHeight, filter] = process.argv.slice(1);
const rgba = new Uint8ClampedArray(readFileSync(file));
const read = (top, rows) => rgba.subarray(top * width * 4, (top + rows) * width * 4);
const size = { width: Number(width), height: Number(height) };
writeFileSync(file + ".out", resize(read, size, { width: Number(outWidth), height: Number(outHeight) }, filter));
"""


@pytest.mark.parametrize("filter_name", ["box", "bilinear", "hamming", "bicubic", "lanczos"])
@pytest.mark.parametrize(
    ("size", "wanted"),
    [((600, 450), (288, 288)), ((224, 224), (288, 288)), ((224, 224), (224, 224)), ((1000, 37), (224, 224)),
     ((200, 450), (288, 288)), ((33, 1201), (50, 64)), ((3001, 2003), (224, 224))],
)  # fmt: skip
def test_equals_pillow_in_every_pixel(
    size: tuple[int, int], wanted: tuple[int, int], filter_name: str, tmp_path: Path
) -> None:
    if not shutil.which("node"):
        pytest.skip("Node.js is not installed")
    random = np.random.default_rng(size)
    pixels = random.integers(0, 256, (size[1], size[0], 4), dtype=np.uint8)
    pixels[: size[1] // 2] = np.where(pixels[: size[1] // 2] > 127, 255, 0)  # the hardest for rounding and clipping
    (tmp_path / "pixels").write_bytes(pixels.tobytes())
    module = (ROOT / "space" / "page" / "preprocessing" / "resample.js").as_uri()
    arguments = [tmp_path / "pixels", *size, *wanted, filter_name]
    command = ["node", "--input-type=module", "-e", SCRIPT % module, *map(str, arguments)]
    subprocess.run(command, check=True)
    expected = Image.fromarray(pixels[..., :3]).resize(wanted, Image.Resampling[filter_name.upper()])
    found = np.frombuffer((tmp_path / "pixels.out").read_bytes(), np.uint8).reshape(wanted[1], wanted[0], 3)
    np.testing.assert_array_equal(found, np.asarray(expected))
