"""evaluate_model.py: its files, and one preprocessing in the Trainer, in the evaluation and in `pipeline()`."""

from __future__ import annotations

import json
import os
import re
import shutil
from collections import Counter
from pathlib import Path

import datasets
import numpy as np
import pandas as pd
import pytest
from conftest import RELEASE, held
from datasets import load_dataset
from in_process import in_process
from PIL import Image
from safetensors.torch import load_file, save_file
from transformers import (
    AutoImageProcessor,
    PreTrainedConfig,
    ResNetConfig,
    ResNetForImageClassification,
    SwinConfig,
    SwinForImageClassification,
    pipeline,
)

from lesions.data.sources.sample import draw_lesion
from lesions.diagnoses import CODES, isic_order
from lesions.evaluation.limits.fitting import store_limits
from lesions.ground_truth import read_predictions
from lesions.metrics.probabilities import softmax
from lesions.model.familiarity import Familiarity
from lesions.model.inputs import LesionImages, collate
from lesions.model.loading import load_for_prediction, load_processor
from lesions.training.arguments import LesionTrainingArguments
from lesions.training.trainer import WeightedTrainer


@pytest.fixture(scope="module")
def predictions(run: Path) -> pd.DataFrame:
    return pd.read_csv(run / "evaluation" / "predictions.csv", index_col="image")


@pytest.fixture(scope="module")
def test_rows(sample: Path):
    return load_dataset(str(sample), split="test")


def test_metrics_json_has_the_agreed_form(run: Path, test_rows) -> None:
    report = json.loads((run / "evaluation" / "metrics.json").read_text())
    assert (report["model"], report["dataset"], report["split"]) == ("demo", "sample", "test")
    assert report["n_images"] == len(test_rows) and report["n_lesions"] == len(set(test_rows["lesion_id"]))
    assert report["dataset_fingerprint"] == json.loads((run / "training.json").read_text())["dataset_fingerprint"]
    assert set(report["metrics"]) == {
        *("accuracy", "balanced_accuracy", "f1_macro", "f1_weighted", "roc_auc_macro"),
        *("average_precision_macro", "log_loss", "brier", "ece"),
    }
    for figure in report["metrics"].values():
        assert set(figure) == {"value", "low", "high"} and figure["low"] <= figure["high"]
    assert set(report["per_class"]) == set(CODES)
    for row in report["per_class"].values():
        low, high = row["recall_interval"]
        assert low <= row["recall"] <= high
    validation = json.loads((run / "training.json").read_text())["operating_points"]
    assert [point["threshold"] for point in report["operating_points"]] == [p["threshold"] for p in validation]
    assert {point["target"] for point in report["operating_points"]} == {"melanoma", "malignant"}
    assert report["calibration"]["without_decision"]["accuracy"] == report["metrics"]["accuracy"]  # a temperature only
    assert report["cohort"]["all"]["confirmed_by"] == {"synthetic": len(test_rows)}
    assert np.sum(report["confusion_matrix"]["counts"]) == len(test_rows)
    assert sum(group["n_images"] for group in report["subgroups"]["sex"].values()) == len(test_rows)


def test_predictions_are_in_isic_form_and_give_the_metrics(run: Path, predictions: pd.DataFrame, test_rows) -> None:
    assert list(predictions) == ["MEL", "NV", "BCC", "AKIEC", "BKL", "DF", "VASC"]
    assert list(predictions.index) == list(test_rows["image_id"])
    assert predictions.sum(axis=1).to_numpy() == pytest.approx(1, abs=1e-8)
    decided = predictions.idxmax(axis=1).str.lower()
    truth = [CODES[label] for label in test_rows["label"]]
    report = json.loads((run / "evaluation" / "metrics.json").read_text())
    assert (decided == truth).mean() == pytest.approx(report["metrics"]["accuracy"]["value"], abs=1e-12)


def test_pipeline_gives_the_same_probabilities(run: Path, predictions: pd.DataFrame, test_rows) -> None:
    classify = pipeline("image-classification", model=str(run))
    for row in test_rows.select(range(0, len(test_rows), 9)):
        for answer in classify(row["image"], top_k=7):
            expected = predictions.loc[row["image_id"], answer["label"].upper()]
            assert answer["score"] == pytest.approx(expected, abs=1e-4)


def test_the_claim_of_the_same_probabilities_ends_where_the_documentation_says(
    run: Path, test_rows, tmp_path: Path
) -> None:
    """At 16 bits of gray, which `pipeline()` cuts off; and at torchvision, which backend="pil" keeps away."""
    levels = np.asarray(test_rows[0]["image"].convert("L"))
    Image.fromarray(levels).save(tmp_path / "a8.png")
    Image.fromarray(levels.astype(np.uint16) * 257).save(tmp_path / "b16.png")
    in_process("evaluate_model.py", "--model", run, "--images", tmp_path, "--output", tmp_path)
    (ours, also_ours), names = read_predictions(tmp_path / "predictions.csv", CODES)
    assert names == ["a8", "b16"] and (ours == also_ours).all()
    classify = pipeline(
        "image-classification", model=str(run), image_processor=AutoImageProcessor.from_pretrained(run, backend="pil")
    )
    theirs = []
    for name in names:
        answers = {answer["label"]: answer["score"] for answer in classify(str(tmp_path / f"{name}.png"), top_k=7)}
        theirs.append(np.array([answers[code] for code in CODES]))
    assert np.abs(theirs[0] - ours).max() < 1e-4 and np.abs(theirs[1] - ours).max() > 1e-2


@pytest.mark.parametrize(("backend", "least", "most"), [(None, 1e-4, 5e-3), ("pil", 0, 1e-4)])
def test_with_torchvision_pipeline_resizes_otherwise_unless_it_is_told_not_to(
    backend: str | None, least: float, most: float, tmp_path: Path
) -> None:
    """Measured on these images: a probability differs by up to 1.2e-3, and with backend="pil" by 6e-8."""
    pytest.importorskip("torchvision", reason="only torchvision resizes otherwise")
    for number, code in enumerate(CODES):
        draw_lesion(code, number, view=0, zoom=6).resize((600, 450)).save(tmp_path / f"{code}.png")
    in_process("evaluate_model.py", "--model", RELEASE, "--images", tmp_path, "--output", tmp_path / "out")
    expected, names = read_predictions(tmp_path / "out" / "predictions.csv", CODES)
    how = {"image_processor": AutoImageProcessor.from_pretrained(RELEASE, backend=backend)} if backend else {}
    classify = pipeline("image-classification", model=str(RELEASE), **how)
    answers = [
        {answer["label"]: answer["score"] for answer in classify(str(tmp_path / f"{name}.png"), top_k=7)}
        for name in names
    ]
    difference = np.abs(np.array([[each[code] for code in CODES] for each in answers]) - expected).max()
    assert least <= difference < most


def test_the_trainers_evaluation_gives_the_same_probabilities(
    run: Path, predictions: pd.DataFrame, test_rows, tmp_path: Path
) -> None:
    trainer = WeightedTrainer(
        model=load_for_prediction(run)[0],
        args=LesionTrainingArguments(output_dir=str(tmp_path), bf16=True, disable_tqdm=True, use_cpu=True),
        class_weights=[1.0] * 7,
        eval_dataset=LesionImages(test_rows, load_processor(run)),
        data_collator=collate,
    )
    probabilities = softmax(trainer.predict(trainer.eval_dataset).predictions)
    expected = predictions[[code.upper() for code in CODES]].to_numpy()
    assert np.abs(probabilities - expected).max() < 1e-4


@pytest.fixture
def images(test_rows, tmp_path: Path) -> Path:
    """Forty test images as files, in two folders."""
    folder = tmp_path / "images"
    for number, row in enumerate(test_rows.select(range(40))):
        path = folder / f"part {number % 2}" / f"{row['image_id']}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        row["image"].save(path)
    return folder


@pytest.mark.parametrize("form", ["isic", "ham10000"])
def test_a_folder_of_images_with_ground_truth(
    form: str, run: Path, images: Path, predictions: pd.DataFrame, test_rows, tmp_path: Path
) -> None:
    rows = test_rows.select(range(40))
    truth = pd.DataFrame({"image": rows["image_id"], "dx": [CODES[label] for label in rows["label"]]})
    if form == "isic":
        one_hot = pd.DataFrame({code.upper(): (truth["dx"] == code) * 1.0 for code in isic_order(CODES)})
        table = pd.concat([truth[["image"]], one_hot], axis=1)
    else:
        about = {name: rows[name] for name in ("lesion_id", "dx_type", "age", "sex", "localization")}
        table = truth.rename(columns={"image": "image_id"}).assign(**about)  # as HAM10000's own table
    table.sample(frac=1, random_state=0).to_csv(tmp_path / "truth.csv", index=False)
    in_process("evaluate_model.py", "--model", run, "--images", images, "--ground_truth", tmp_path / "truth.csv",
            "--output", tmp_path / "out")  # fmt: skip
    written = pd.read_csv(tmp_path / "out" / "predictions.csv", index_col="image")
    assert np.abs(written - predictions.loc[written.index]).to_numpy().max() < 1e-4
    report = json.loads((tmp_path / "out" / "metrics.json").read_text())
    decided = predictions.loc[truth["image"]].idxmax(axis=1).str.lower().to_numpy()
    assert report["metrics"]["accuracy"]["value"] == pytest.approx((decided == truth["dx"]).mean())
    assert report["n_lesions"] == (None if form == "isic" else len(set(rows["lesion_id"])))
    if form != "isic":
        known = pd.Series(rows["age"], dtype=float).dropna()
        assert report["cohort"]["all"]["age"]["median"] == known.median()
        assert report["cohort"]["all"]["sex"] == dict(Counter(rows["sex"])) and report["subgroups"]["age"]
    absent = sorted(set(CODES) - set(truth["dx"]))
    for code in absent:
        assert report["per_class"][code]["recall"] is None
        assert report["per_class"][code]["reasons"]["recall"] == "no image of this diagnosis"
    if absent:
        assert absent[0] in report["metrics"]["balanced_accuracy"]["note"]


def test_one_answer_for_a_lesion_of_several_diagnoses_is_refused(run: Path, images: Path, test_rows, tmp_path) -> None:
    diagnoses = [CODES[label] for label in test_rows["label"]]
    table = pd.DataFrame({"image_id": test_rows["image_id"], "lesion_id": "patient 1", "dx": diagnoses})
    table.to_csv(tmp_path / "truth.csv", index=False)
    arguments = ("--images", images, "--ground_truth", tmp_path / "truth.csv", "--by_lesion", "true")
    done = in_process("evaluate_model.py", "--model", run, *arguments, "--output", tmp_path / "out", check=2)
    assert "lesion with several diagnoses (1):\n  patient 1\n--by_lesion takes" in done.stderr
    assert not (tmp_path / "out").exists()


def test_a_folder_without_ground_truth_gives_predictions_and_a_table(
    run: Path, images: Path, predictions: pd.DataFrame, tmp_path: Path
) -> None:
    done = in_process("evaluate_model.py", "--model", run, "--images", images, "--output", tmp_path / "out")
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["predictions.csv"]
    lines = {line.split()[0]: line for line in done.stdout.splitlines() if line.strip()}
    for name in (path.stem for path in images.rglob("*.png")):
        assert predictions.loc[name].idxmax().lower() in lines[name]
    assert "not a diagnosis" in done.stdout


def test_one_image_gets_an_answer_that_a_person_can_read(
    run: Path, images: Path, predictions: pd.DataFrame, tmp_path: Path
) -> None:
    image = next(images.rglob("*.png"))
    shown = in_process("evaluate_model.py", "--model", run, "--images", image).stdout
    row = predictions.loc[image.stem].sort_values(ascending=False)
    shares = [float(share) for share in re.findall(r"([\d.]+) %(?:  █+)?$", shown, flags=re.MULTILINE)][:7]
    assert shares == pytest.approx(100 * row.to_numpy(), abs=0.06) and "Melanoma " in shown
    together = 100 * row[["MEL", "BCC", "AKIEC"]].sum()
    says, share, threshold = re.search(
        r"Malignant\? (yes|no): ([\d.]+) % together; the threshold is ([\d.]+) %", shown
    ).groups()
    assert float(share) == pytest.approx(together, abs=0.06) and (says == "yes") == (float(share) >= float(threshold))
    assert "not a diagnosis" in shown
    address = in_process("evaluate_model.py", "--model", run, "--images", "https://example.org/a.jpg", check=2).stderr
    assert "download the image" in address
    assert (
        "x.jpg does not exist" in in_process("evaluate_model.py", "--model", run, "--images", "x.jpg", check=2).stderr
    )


def test_an_evaluation_that_is_stopped_leaves_no_metrics_of_an_earlier_one(
    copy: Path, sample: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("lesions.evaluation.measure.save_figures", stop)
    assert (copy / "evaluation" / "metrics.json").exists()
    in_process("evaluate_model.py", "--model", copy, "--dataset", sample, "--split", "test", check=130)
    assert (copy / "evaluation" / "predictions.csv").exists()
    assert not (copy / "evaluation" / "metrics.json").exists()


def test_what_is_measured_besides(run: Path, copy: Path, sample: Path, predictions: pd.DataFrame, test_rows) -> None:
    """Test-time augmentation, lesions, changed images and maps: in metrics.json, on the page, in the card."""
    shutil.rmtree(copy / "evaluation")
    options = ("--tta", "flips", "--by_lesion", "--robustness", 20, "--maps")
    in_process("evaluate_model.py", "--model", copy, "--dataset", sample, *options)
    report = json.loads((copy / "evaluation" / "metrics.json").read_text())
    plain = json.loads((run / "evaluation" / "metrics.json").read_text())
    assert report["metrics"] == plain["metrics"]

    views = report["test_time_augmentation"]
    gain = views["metrics"]["log_loss"]["value"] - plain["metrics"]["log_loss"]["value"]
    assert views["gain"]["log_loss"]["value"] == pytest.approx(gain) and gain != 0 and views["cost"] > 1
    table = predictions.assign(lesion_id=test_rows["lesion_id"], dx=[CODES[n].upper() for n in test_rows["label"]])
    means = table.groupby("lesion_id").mean(numeric_only=True)
    right = means.idxmax(axis=1) == table.groupby("lesion_id")["dx"].first()
    assert report["by_lesion"]["metrics"]["accuracy"]["value"] == pytest.approx(right.mean())
    robustness = report["robustness"]
    assert robustness["n_images"] == 20 and len(robustness["changes"]) == 9
    assert all(len(change["strengths"]) == 5 for change in robustness["changes"].values())
    maps = report["maps"]["shares"]
    assert [each["deleted_share"] for each in maps] == [0.1, 0.2, 0.4]
    for each in maps:
        assert each["advantage"]["value"] == pytest.approx(each["map"]["value"] - each["center"]["value"])
        assert each["advantage"]["low"] < each["advantage"]["high"] and each["map"]["value"] > 0

    page = (copy / "evaluation" / "report.html").read_text()
    assert len(page) < 5e6 and page.count("data:image/png;base64,") == 6
    assert not re.search(r"(src|href)=.(?!data:)", page) and "url(" not in page  # nothing from a network
    in_process("-m", "model_card", copy)
    card = (copy / "README.md").read_text()
    for title in ("Test-time augmentation", "By lesion", "Robustness", "Where it looked"):
        assert f"\n### {title}\n" in card and f"<h2>{title}</h2>" in page
    assert "examples.png" not in card and "robustness.png" in card


def test_bad_input_is_listed_and_nothing_written(run: Path, sample: Path, tmp_path: Path) -> None:
    def error(*arguments: object) -> str:
        done = in_process("evaluate_model.py", *arguments, "--output", tmp_path / "out", check=2)
        assert not (tmp_path / "out").exists()
        return done.stderr

    folder = tmp_path / "images"
    folder.mkdir()
    assert "holds no image" in error("--model", run, "--images", folder)
    Image.new("RGB", (9, 9)).save(folder / "good.png")
    for name in ("one.jpg", "two.jpg"):
        (folder / name).write_bytes(b"no image")
    listed = error("--model", run, "--images", folder)
    assert "image unreadable (2)" in listed and "one.jpg" in listed and "two.jpg" in listed
    truth = tmp_path / "truth.csv"
    truth.write_text("image_id,dx\ngood,nv\none,nv\ntwo,nv\n")
    assert "image unreadable (2)" in error("--model", run, "--images", folder, "--ground_truth", truth)
    for name in ("one.jpg", "two.jpg"):
        (folder / name).unlink()
    truth.write_text("image_id,dx\nother,nv\n")
    missing = error("--model", run, "--images", folder, "--ground_truth", truth)
    assert "image without ground truth (1):\n  good" in missing
    truth.write_text("name,diagnosis\n")
    assert "needs image_id, dx or image, MEL, NV" in error("--model", run, "--images", folder, "--ground_truth", truth)
    assert "split missing" in error("--model", run, "--dataset", sample, "--split", "exam")
    assert "holds no config.json" in error("--model", tmp_path, "--dataset", sample)
    wrong = error("--dataset", sample, "--ground_truth", truth, "--prevalence", 2, "--batch_size", 0)
    for fault in ("--model is required", "--ground_truth goes with", "--prevalence is a share", "--batch_size must be"):
        assert fault in wrong
    assert "--robustness is a number" in error("--model", run, "--dataset", sample, "--robustness", -1)
    assert "one of --dataset, --images and --compare" in error("--model", run)
    assert "did you mean dataset?" in error("--model", run, "--datset", sample)


def test_other_files_in_the_folder_are_named(run: Path, test_rows, tmp_path: Path) -> None:
    image = test_rows[0]["image"]
    for name in ("a.JPG", "b.jpeg", "sub/c.PNG", os.fsdecode(b"l\xe9sion.png")):
        (tmp_path / "images" / name).parent.mkdir(parents=True, exist_ok=True)
        image.save(tmp_path / "images" / name)
    (tmp_path / "elsewhere").mkdir()
    image.save(tmp_path / "elsewhere" / "d.png")
    (tmp_path / "images" / "linked").symlink_to(tmp_path / "elsewhere")
    for name in ("scan.heic", "sub/notes.txt", "raw.dng", ".hidden"):
        (tmp_path / "images" / name).touch()
    options = ("--images", tmp_path / "images", "--output", tmp_path / "out")
    done = in_process("evaluate_model.py", "--model", run, *options)
    assert "linked, raw.dng, scan.heic, sub/notes.txt\n" in done.stderr and "hidden" not in done.stderr
    assert read_predictions(tmp_path / "out" / "predictions.csv", CODES)[1] == ["a", "b", "c", "l\\udce9sion"]


def test_images_that_the_model_was_trained_on_are_refused(run: Path, sample: Path, tmp_path: Path) -> None:
    rows = load_dataset(str(sample), split="train").select(range(3))
    labels = [CODES[number] for number in rows["label"]]
    new = load_dataset(str(sample), split="test")[0]
    images, truth, output = tmp_path / "images", tmp_path / "truth.csv", tmp_path / "out"
    images.mkdir()
    new["image"].save(images / "new.png")

    def measure(table: str, check: int) -> str:
        truth.write_text(f"{table}new,L,{CODES[new['label']]}\n")
        options = ("--images", images, "--ground_truth", truth, "--output", output)
        return in_process("evaluate_model.py", "--model", run, *options, check=check).stderr

    head, refused = "image_id,lesion_id,dx\n", f"image that the model {run} was trained on"
    contents = load_dataset(str(sample), split="train").cast_column("image", datasets.Image(decode=False))
    (images / "renamed.jpg").write_bytes(contents[0]["image"]["bytes"])
    assert f"{refused} (1):\n  renamed" in measure(f"{head}renamed,X,{labels[0]}\n", 2)
    (images / "renamed.jpg").unlink()
    rows[1]["image"].save(images / f"{rows[1]['image_id']}.png")  # another file of the same image
    own = f"{head}{rows[1]['image_id']},{{}},{labels[1]}\n"
    for lesion in (rows[1]["lesion_id"], ""):  # known, or not
        assert f"{refused} (1):\n  {rows[1]['image_id']}" in measure(own.format(lesion), 2)
    assert not output.exists()
    measure(own.format("of another patient"), 0)  # an id that is shared by chance


def test_malignant_labels_that_the_user_names_decide_the_answer(copy: Path, sample: Path, tmp_path: Path) -> None:
    row = load_dataset(str(sample), split="test")[0]
    row["image"].save(tmp_path / "lesion.png")
    asking = ("evaluate_model.py", "--model", copy, "--images", tmp_path / "lesion.png", "--output", tmp_path / "out")
    before = in_process(*asking).stdout
    assert in_process(*asking, "--malignant", "akiec", "bcc", "mel").stdout == before  # those of the run
    named = in_process(*asking, "--malignant", "nv", "mel").stdout
    probabilities = read_predictions(tmp_path / "out" / "predictions.csv", CODES)[0]
    together = 100 * (probabilities[0, CODES.index("nv")] + probabilities[0, CODES.index("mel")])
    assert f"Malignant? {together:.1f} % together for mel, nv. No yes or no" in named
    assert "scc: not among the labels" in in_process(*asking, "--malignant", "scc", check=2).stderr
    measuring = ("evaluate_model.py", "--model", copy, "--dataset", sample, "--output", tmp_path / "measured")
    in_process(*measuring, "--malignant", "nv", "mel")
    report = json.loads((tmp_path / "measured" / "metrics.json").read_text())
    assert report["malignant"] == ["mel", "nv"] and {p["target"] for p in report["operating_points"]} == {"melanoma"}

    store_limits(copy, str(sample), malignant=["nv", "mel"])
    error = in_process("-m", "model_card", copy, check=2).stderr
    assert "metrics.json counts other labels as malignant than training.json does: measure the run again" in error
    assert re.search(r"Malignant\? (yes|no): ", in_process(*asking).stdout)
    in_process(*measuring)
    report = json.loads((tmp_path / "measured" / "metrics.json").read_text())
    points = [point for point in report["operating_points"] if point["target"] == "malignant"]
    assert report["malignant"] == ["mel", "nv"] and [point["labels"] for point in points] == [["mel", "nv"]] * 4
    store_limits(copy, str(sample))  # keeps them
    assert json.loads((copy / "training.json").read_text())["malignant"] == ["mel", "nv"]


def test_an_evaluation_does_not_write_over_what_it_reads(run: Path, tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    Image.new("RGB", (9, 9)).save(tmp_path / "images" / "a.png")
    truth = tmp_path / "ground_truth.csv"
    truth.write_text("image_id,dx,notes\na,nv,mine\nb,nv,mine\n")
    measuring = ("evaluate_model.py", "--model", run, "--images", tmp_path / "images", "--ground_truth", truth)
    for output, reason in (
        (tmp_path, "would replace the file --ground_truth"),
        (tmp_path / "images", "would be images"),
    ):
        assert reason in in_process(*measuring, "--output", output, check=2).stderr
    assert "mine" in truth.read_text() and len(list((tmp_path / "images").iterdir())) == 1


def test_results_on_other_images_are_not_replaced(copy: Path, images: Path, test_rows, sample: Path, tmp_path) -> None:
    def contents() -> dict[str, bytes]:
        return {path.name: path.read_bytes() for path in (copy / "evaluation").iterdir()}

    before, diagnoses = contents(), [CODES[label] for label in test_rows["label"]]
    truth = tmp_path / "truth.csv"
    pd.DataFrame({"image_id": test_rows["image_id"], "dx": diagnoses}).to_csv(truth, index=False)
    measuring = ("evaluate_model.py", "--model", copy, "--output", copy / "evaluation")
    error = in_process(*measuring, "--images", images, "--ground_truth", truth, check=2).stderr
    assert "evaluation holds results of this model on other images (of " in error and "another --output" in error
    error = in_process(*measuring, "--dataset", sample, "--split", "validation", check=2).stderr
    assert "evaluation holds results of this model on other images (of " in error
    error = in_process(*measuring, "--images", images, check=2).stderr
    assert "evaluation holds metrics, beside which other predictions would lie" in error
    assert contents() == before
    in_process(*measuring, "--dataset", sample, "--split", "test")  # the same images
    metrics = copy / "evaluation" / "metrics.json"
    metrics.write_text(json.dumps(json.loads(metrics.read_text()) | {"weights_sha256": "0" * 64}))
    in_process(*measuring, "--dataset", sample, "--split", "validation")  # of weights that are gone


def test_two_evaluations_do_not_mix_their_files(run: Path, sample: Path, tmp_path: Path) -> None:
    with held(tmp_path / "metrics.json"):
        measuring = ("evaluate_model.py", "--model", run, "--dataset", sample, "--output", tmp_path)
        assert "another process is writing there" in in_process(*measuring, check=2).stderr
        assert [path.name for path in tmp_path.iterdir()] == [".metrics.json.lock"]


def test_the_familiarity_of_another_model_is_refused_before_the_work(copy: Path, sample: Path, tmp_path: Path) -> None:
    Familiarity(np.eye(3, dtype=np.float32), np.zeros(3, dtype=np.float32)).save(copy)
    options = ("--dataset", sample, "--output", tmp_path / "out")
    assert "is of another model" in in_process("evaluate_model.py", "--model", copy, *options, check=2).stderr
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("kind", "config"),
    [
        (ResNetForImageClassification, ResNetConfig(embedding_size=8, hidden_sizes=[8], depths=[1])),
        (
            SwinForImageClassification,
            SwinConfig(image_size=64, patch_size=4, embed_dim=8, depths=[1], num_heads=[2], window_size=4),
        ),
    ],
)
def test_maps_of_a_model_without_attention_between_all_patches_are_refused_before_the_work(
    kind: type, config: PreTrainedConfig, copy: Path, sample: Path, tmp_path: Path
) -> None:
    labels = json.loads((copy / "config.json").read_text())["id2label"]
    config.id2label = {int(number): label for number, label in labels.items()}
    kind(config).save_pretrained(tmp_path / "model")
    shutil.copy(copy / "preprocessor_config.json", tmp_path / "model")
    measuring = ("evaluate_model.py", "--model", tmp_path / "model", "--dataset", sample, "--maps")
    error = in_process(*measuring, check=2).stderr
    assert "--maps needs attention between all patches" in error and "predicting" not in error
    assert not (tmp_path / "model" / "evaluation").exists()


@pytest.mark.parametrize("option", [("--maps",), ("--by_lesion",), ("--tta", "flips"), ("--robustness", "0")])
def test_what_needs_a_ground_truth_is_refused_without_one(option: tuple[str, ...]) -> None:
    error = in_process("evaluate_model.py", "--model", "x", "--images", "x", *option, check=2).stderr
    assert "they need --dataset or --ground_truth" in error


def test_weights_that_change_while_they_are_measured_are_an_error(
    copy: Path, sample: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As those of a running training do, whenever it finds better ones."""
    before = (copy / "evaluation" / "metrics.json").read_bytes()
    (copy / "training.json").unlink()

    def save_others(*_: object) -> dict:
        tensors = load_file(copy / "model.safetensors")
        save_file({name: values + 1 for name, values in tensors.items()}, copy / "model.safetensors", {"format": "pt"})
        return {}

    monkeypatch.setattr("lesions.evaluation.measure._measure_more", save_others)
    error = in_process("evaluate_model.py", "--model", copy, "--dataset", sample, check=2).stderr
    assert "changed in the meantime; run the command again" in error
    assert (copy / "evaluation" / "metrics.json").read_bytes() == before
