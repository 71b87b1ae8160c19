"""Every step on the synthetic sample: `make demo`, or `python -m lesions.demo`."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

from lesions.faults import exits_cleanly

DATA, RUN, RECIPE = "data/sample", "runs/demo", "recipes/demo.yaml"
STEPS = (
    f"data_prep.py --source sample --output {DATA}",
    f"train.py {RECIPE} --dataset {DATA} --output_dir {RUN}",
    f"evaluate_model.py --model {RUN} --dataset {DATA} --split test",
    f"-m model_card {RUN}",
)
WHAT_LIES_WHERE = rf"""
What lies where:
  {DATA}/          the data set in the layout of the Hub: Parquet, splits.csv, audit.json, card
  {RUN}/            the model as the Hub takes it: weights, config, preprocessing, README.md (the model card)
  {RUN}/evaluation/ report.html (open it), metrics.json, predictions.csv, figures

The model learned from synthetic images only. To train on HAM10000, see docs/data.md for where to get it, activate the
environment (`source .venv/bin/activate`, on Windows `.venv\Scripts\activate`), and run:
  python data_prep.py --source /path/to/ham10000 --output data/ham10000
  accelerate launch train.py recipes/deit-tiny.yaml --dataset data/ham10000 --output_dir runs/deit-tiny
  python evaluate_model.py --model runs/deit-tiny --dataset data/ham10000 --split test"""


@exits_cleanly
def main() -> None:
    from lesions.output.places import alone

    with alone(Path(RUN)):
        walk()


def walk() -> None:
    from lesions.output.files import read_json
    from lesions.output.places import alone
    from lesions.run_folder import RECORD

    with alone(Path(RUN, RECORD)):  # which a training that still runs holds
        shutil.rmtree(RUN, ignore_errors=True)  # train.py does not train a finished run again
    for step in STEPS:
        print(f"\n$ python {step}", flush=True)
        done = subprocess.run([sys.executable, *step.split()])
        if done.returncode:
            sys.exit(done.returncode)
    classify_one_image()
    metrics = read_json(Path(RUN, "evaluation", "metrics.json"))["metrics"]
    macro_f1 = "{value:.3f} [{low:.3f}, {high:.3f}]".format(**metrics["f1_macro"])
    print(f"\nMacro-F1 on the test split: {macro_f1}. Guessing gives about 0.14.")
    print(WHAT_LIES_WHERE)


def classify_one_image() -> None:
    """Classifies one test image with plain `pipeline()`, as any user of the model would."""
    from transformers import pipeline

    from lesions.dataset import load_splits

    split = load_splits(DATA, "test")["test"]
    row = split[len(split) // 2]
    label = split.features["label"].int2str(row["label"])
    print(f'\n$ pipeline("image-classification", model="{RUN}")  # of {row["image_id"]}, a {label}', flush=True)
    for answer in pipeline("image-classification", model=RUN)(row["image"], top_k=3):
        print(f"  {answer['label']:<6}{answer['score']:.3f}")


if __name__ == "__main__":
    main()
