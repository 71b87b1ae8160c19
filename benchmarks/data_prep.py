"""data_prep.py against the plain way (`datasets`' own map), on the same images, in one run; and how its time grows.

    python -m benchmarks.data_prep /path/to/ham10000
    python -m benchmarks.data_prep --grow

The first draws 2,000 images, brings them to the 600x450 pixels of HAM10000's release, and lets both ways make
Parquet splits of images whose shorter side is 256. The second generates up to 200,000 small images.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import threading
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pandas as pd
import psutil
from PIL import Image
from tqdm import tqdm

from lesions.data import splits
from lesions.data.duplicates.groups import describe_pairs, group_lesions
from lesions.data.metadata import read_metadata
from lesions.data.table_files import find_metadata
from lesions.diagnoses import CODES
from lesions.faults import Faults
from lesions.images import decode, find_images

ROOT = Path(__file__).parent.parent
IMAGES = 2_000
ROWS = (10_000, 50_000, 200_000)
SPLIT_ROWS = 1_000_000

# What the documentation of `datasets` shows: map with a function of one example, then to_parquet.
PLAIN_WAY = """
import sys
from pathlib import Path
import pandas as pd
from datasets import Dataset, Image

folder, output, processes = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
table = pd.read_csv(folder / "HAM10000_metadata.csv")
rows = {"image": [str(folder / f"{name}.jpg") for name in table["image_id"]], "label": list(table["dx"])}

def shrink(row):
    image = row["image"].convert("RGB")
    scale = 256 / min(image.size)
    return {"image": image.resize((round(image.width * scale), round(image.height * scale)))}

data = Dataset.from_dict(rows).cast_column("image", Image()).map(shrink, num_proc=processes)
parts = data.train_test_split(0.3, seed=42)
output.mkdir()
for name, part in parts.items():
    part.to_parquet(output / f"{name}.parquet")
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", type=Path, nargs="?", help="folder with HAM10000_metadata.csv and the images")
    parser.add_argument("--grow", action="store_true", help=f"generated images: {', '.join(map(str, ROWS))}")
    arguments = parser.parse_args()
    if not arguments.source and not arguments.grow:
        parser.error("give a folder, or --grow")
    if arguments.source:
        compare(arguments.source)
    if arguments.grow:
        grow()


def compare(source: Path) -> None:
    """Both ways over the same images."""
    cores = len(os.sched_getaffinity(0))
    with TemporaryDirectory() as name:
        folder = Path(name, "source")
        folder.mkdir()
        table = read_metadata(find_metadata(source), Faults()).sample(IMAGES, random_state=0)
        images = find_images(source, Faults(), wanted=set(table["image_id"]))
        for image_id in tqdm(table["image_id"], desc="enlarging"):
            decode(images[image_id]).resize((600, 450)).save(folder / f"{image_id}.jpg", quality=90)
        table.to_csv(folder / "HAM10000_metadata.csv", index=False)

        print(f"{IMAGES} images of 600x450 on {cores} cores")
        print(f"{'what':<28}{'seconds':>9}{'images/s':>12}{'peak MB':>9}{'MB written':>12}")
        ways = {
            "plain": [sys.executable, "-c", PLAIN_WAY, str(folder), f"{name}/plain", str(cores)],
            "data_prep.py": [
                sys.executable,
                "data_prep.py",
                "--source",
                str(folder),
                "--output",
                f"{name}/data_prep.py",
            ],
        }
        seconds = {}
        for way, command in ways.items():
            seconds[way], peak = run(command)
            written = sum(file.stat().st_size for file in Path(name, way).rglob("*.parquet")) / 2**20
            rate = IMAGES / seconds[way]
            print(f"{way:<28}{seconds[way]:>9.1f}{rate:>12.0f}{peak:>9.0f}{written:>12.0f}", flush=True)
        print(f"data_prep.py is {seconds['plain'] / seconds['data_prep.py']:.1f} times as fast")


def grow() -> None:
    """Seconds of each stage and peak memory of the whole, by the number of images."""
    print(f"{'rows':>9}{'split':>9}{'audit':>9}{'whole run':>11}{'images/s':>12}{'peak MB':>9}")
    for count in ROWS:
        with TemporaryDirectory() as name:
            folder = Path(name, "source")
            table = generate(folder, count)
            split, audit = time_split(table), time_audit(table)
            command = [sys.executable, "data_prep.py", "--source", str(folder), "--output", f"{name}/data"]
            seconds, peak = run([*command, "--audit", "off"])
        print(f"{count:>9}{split:>9.1f}{audit:>9.1f}{seconds:>11.1f}{count / seconds:>12.0f}{peak:>9.0f}", flush=True)
    table = generate(None, SPLIT_ROWS)
    print(f"{SPLIT_ROWS:>9}{time_split(table):>9.1f}")


def generate(folder: Path | None, count: int) -> pd.DataFrame:
    """A table of `count` rows in HAM10000's form, three images to two lesions, and small images in `folder`."""
    random = np.random.RandomState(0)
    lesions = np.sort(random.randint(0, count * 2 // 3, count))
    dx = random.choice(CODES, count * 2 // 3, p=[0.03, 0.05, 0.11, 0.01, 0.11, 0.67, 0.02])
    table = pd.DataFrame({"lesion_id": [f"L{lesion:07d}" for lesion in lesions], "dx": dx[lesions]})
    table["image_id"] = [f"generated_{number:07d}" for number in range(count)]
    table = table.assign(dx_type="histo", age=50.0, sex="male", localization="back")
    if folder:
        folder.mkdir()
        pixels = random.randint(0, 255, (64, 24, 32, 3), dtype=np.uint8)
        for number, name in enumerate(tqdm(table["image_id"], desc="generating")):
            Image.fromarray(pixels[number % 64]).save(folder / f"{name}.jpg")
        table.to_csv(folder / "HAM10000_metadata.csv", index=False)
    return table


def time_split(table: pd.DataFrame) -> float:
    """Seconds to split the rows."""
    started = time.monotonic()
    splits.split_by_group(table.assign(group_id=table["lesion_id"]), 42)
    return time.monotonic() - started


def time_audit(table: pd.DataFrame) -> float:
    """Seconds to merge the lesions of pairs that are known, one for each hundred rows; benchmarks/leaks.py times the
    search for them."""
    names = table["image_id"].to_numpy()
    pairs = pd.DataFrame({"image_id": names[:-50:100], "other_image_id": names[50::100], "score": 10})
    started = time.monotonic()
    group_lesions(table.assign(patient_id=table["lesion_id"]), describe_pairs(pairs, table))
    return time.monotonic() - started


def run(command: list[str]) -> tuple[float, float]:
    """Runs `command`; its seconds and its peak memory in MiB."""
    started = time.monotonic()
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    peak = PeakMemory(process.pid)
    if process.wait():
        sys.exit(f"{command} failed; run it alone to see why")
    return time.monotonic() - started, peak.stop()


class PeakMemory:
    """Samples, twenty times a second, what a process and its children hold together (shared pages counted once)."""

    def __init__(self, pid: int) -> None:
        self.process, self.peak, self.running = psutil.Process(pid), 0.0, True
        self.thread = threading.Thread(target=self._watch, daemon=True)
        self.thread.start()

    def _watch(self) -> None:
        while self.running:
            try:
                family = [self.process, *self.process.children(recursive=True)]
                self.peak = max(self.peak, sum(member.memory_full_info().pss for member in family) / 2**20)
            except psutil.NoSuchProcess:
                pass  # one of them ended while it was being asked
            time.sleep(0.05)

    def stop(self) -> float:
        """The peak in MiB."""
        self.running = False
        self.thread.join()
        return self.peak


if __name__ == "__main__":
    main()
