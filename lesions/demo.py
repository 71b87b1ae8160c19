"""The whole way on the built-in drawn sample: `make demo`, or `python -m lesions.demo`."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

DATA, RUN, RECIPE = "data/sample", "runs/demo", "recipes/demo.yaml"
STEPS = (
    f"data_prep.py --source sample --output {DATA}",
    f"train.py {RECIPE} --dataset {DATA} --output_dir {RUN}",
    f"evaluate_model.py --model {RUN} --dataset {DATA} --split test",
    f"-m model_card {RUN}",
)
WHAT_LIES_WHERE = f"""
What lies where:
  {DATA}/                 the data set, as the Hub lays it out: Parquet, splits.csv, audit.json, card
  {RUN}/                   the model, as the Hub takes it: weights, config, preprocessing, README.md (the card)
  {RUN}/evaluation/        report.html (open it), metrics.json, predictions.csv, figures

All of it was learnt from drawings. With HAM10000 itself (see the README for where to get it):
  .venv/bin/python data_prep.py --source /path/to/ham10000 --output data/ham10000
  .venv/bin/accelerate launch train.py recipes/deit-tiny.yaml --dataset data/ham10000 --output_dir runs/deit-tiny
  .venv/bin/python evaluate_model.py --model runs/deit-tiny --dataset data/ham10000 --split test"""


def main() -> None:
    shutil.rmtree(RUN, ignore_errors=True)  # a finished run would refuse to be trained again
    for step in STEPS:
        print(f"\n$ python {step}", flush=True)
        done = subprocess.run([sys.executable, *step.split()])
        if done.returncode:
            sys.exit(done.returncode)
    classify_one_image()
    metrics = json.loads(Path(RUN, "evaluation", "metrics.json").read_text())["metrics"]
    print("\nmacro-F1 on the test split {value:.3f} [{low:.3f}, {high:.3f}]".format(**metrics["f1_macro"]), end="")
    print("; guessing gives about 0.14")
    print(WHAT_LIES_WHERE)


def classify_one_image() -> None:
    """Asks the trained model about one test image, as any user of the published model would."""
    from datasets import load_dataset
    from transformers import pipeline

    split = load_dataset(DATA, split="test")
    row = split[len(split) // 2]
    print(f'\n$ pipeline("image-classification", model="{RUN}")  # {row["image_id"]}, drawn as ', end="")
    print(split.features["label"].int2str(row["label"]), flush=True)
    for answer in pipeline("image-classification", model=RUN)(row["image"], top_k=3):
        print(f"  {answer['label']:<6}{answer['score']:.3f}")


if __name__ == "__main__":
    main()
