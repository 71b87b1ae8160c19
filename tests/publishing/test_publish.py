"""Publishing over real HTTP: the real client pushes to a stand-in for the Hub, and `pipeline()` downloads from it."""

from __future__ import annotations

import json
import shlex
import shutil
import subprocess
from collections.abc import Sequence
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pandas as pd
import pytest
import yaml
from conftest import RELEASE, command, held
from datasets import load_dataset
from hub_server import READ_ONLY_TOKEN, HubServer, Repository
from huggingface_hub import parse_eval_result_entries
from in_process import in_process
from stand_in import StandIn

from lesions.faults import InputError
from lesions.hub import Destination
from lesions.output.places import listed
from model_card.publish import published

CLASSIFY = """
import json, sys
from transformers import pipeline
classify = pipeline("image-classification", model="you/lesions")
print(json.dumps([{a["label"]: a["score"] for a in classify(path, top_k=7)} for path in sys.argv[1:]]))
"""


# The command itself, but the client doesn't wait between the attempts of an upload.
IMPATIENT = """
import runpy, time
time.sleep = lambda seconds: None
runpy.run_module("model_card", run_name="__main__", alter_sys=True)
"""


FETCH = """
from lesions.faults import exits_cleanly
from lesions.hub import local_folder
exits_cleanly(lambda: print(local_folder("you/lesions", "model")))()
"""


@pytest.fixture
def run(copy: Path) -> Path:
    """A push writes the card for where it goes."""
    return copy


def push(
    run: Path, environment: dict[str, str], *more: str, check: int = 0, program: Sequence[str] = ("-m", "model_card")
) -> subprocess.CompletedProcess[str]:
    arguments = (*program, run, "--push_to_hub", "--hub_model_id", "you/lesions", *more)
    return command(*arguments, check=check, **environment)


def contents(run: Path) -> dict[str, bytes]:
    return {str(path.relative_to(run)): path.read_bytes() for path in run.rglob("*") if path.is_file()}


def test_push_then_pipeline_from_a_fresh_cache(
    run: Path, sample: Path, hub: HubServer, hub_environment: dict[str, str], tmp_path: Path
) -> None:
    assert f"published at {hub.url}/you/lesions" in push(run, hub_environment).stdout
    files = hub.repositories["you/lesions"].files
    evaluation = ("metrics.json", "predictions.csv", "ground_truth.csv", "confusion_matrix.png", "roc_curves.png",
                  "reliability.png", "selective.png")  # fmt: skip
    model = ("config.json", "model.safetensors", "preprocessor_config.json", "training.json", "training_images.json",
             "training_curves.png", "familiarity.safetensors")  # fmt: skip
    assert set(files) == {"README.md", *model, *(f"evaluation/{name}" for name in evaluation)}
    assert b'model="you/lesions"' in files["README.md"]

    rows = load_dataset(str(sample), split="test").select(range(0, 120, 20))
    images = []
    for row in rows:
        images.append(tmp_path / f"{row['image_id']}.png")
        row["image"].save(images[-1])
    environment = hub_environment | {"HF_HOME": str(tmp_path / "fresh"), "PYTHONPATH": ""}
    answers = json.loads(command("-c", CLASSIFY, *images, **environment).stdout)
    predictions = pd.read_csv(run / "evaluation" / "predictions.csv", index_col="image")
    for name, answer in zip(rows["image_id"], answers, strict=True):
        for label, score in answer.items():
            assert score == pytest.approx(predictions.loc[name, label.upper()], abs=1e-4)


def test_model_and_data_set_are_loaded_by_their_hub_ids(
    run: Path, sample: Path, hub: HubServer, hub_environment: dict[str, str], tmp_path: Path
) -> None:
    push(run, hub_environment)
    files = {path.relative_to(sample).as_posix(): path.read_bytes() for path in sample.rglob("*") if path.is_file()}
    hub.repositories["you/drawn"] = Repository(files)
    arguments = ("--model", "you/lesions", "--dataset", "you/drawn", "--output", tmp_path / "out")
    command("evaluate_model.py", *arguments, **hub_environment)
    written, expected = tmp_path / "out", run / "evaluation"
    assert (written / "predictions.csv").read_bytes() == (expected / "predictions.csv").read_bytes()
    report = json.loads((written / "metrics.json").read_text())
    assert report["dataset"] == "you/drawn"
    assert report["metrics"] == json.loads((expected / "metrics.json").read_text())["metrics"]


def test_train_push_to_hub_trains_measures_and_publishes_our_card(
    sample: Path, hub: HubServer, hub_environment: dict[str, str], tmp_path: Path
) -> None:
    options = ("--max_steps", 2, "--push_to_hub", "--hub_model_id", "you/lesions")
    command("train.py", "recipes/demo.yaml", "--dataset", sample, "--output_dir", tmp_path / "run", *options,
            **hub_environment)  # fmt: skip
    files = hub.repositories["you/lesions"].files
    assert b"## Results" in files["README.md"] and "evaluation/metrics.json" in files
    assert not any("checkpoint" in name or name.endswith((".bin", ".pt")) for name in files)


def test_a_second_push_of_the_same_makes_no_commit(run: Path, hub: HubServer, hub_environment: dict[str, str]) -> None:
    push(run, hub_environment)
    commits = list(hub.repositories["you/lesions"].commits)
    push(run, hub_environment)
    assert hub.repositories["you/lesions"].commits == commits


def test_to_a_branch_with_a_tag_or_as_a_pull_request(
    run: Path, hub: HubServer, hub_environment: dict[str, str]
) -> None:
    push(run, hub_environment, "--revision", "second-seed")
    repository = hub.repositories["you/lesions"]
    assert repository.files == {} and "model.safetensors" in repository.branches["second-seed"].files
    offered = push(run, hub_environment, "--create_pr").stdout
    assert f"published at {hub.url}/you/lesions/discussions/1" in offered
    assert repository.files == {} and "README.md" in repository.pull_requests[0]
    for _ in range(2):  # the second moves it
        push(run, hub_environment, "--tag", "v1.0")
    assert repository.tags == {"v1.0": repository.commits[-1]} and "README.md" in repository.files


def test_images_of_the_data_set_are_published_only_when_that_is_asked_for(
    run: Path, hub: HubServer, hub_environment: dict[str, str]
) -> None:
    report = json.loads((run / "evaluation" / "metrics.json").read_text())
    figure = {"value": 0.1, "low": 0.0, "high": 0.2}
    share = {"deleted_share": 0.2, **dict.fromkeys(("map", "center", "random", "advantage"), figure)}
    report["maps"] = {"n_images": 9, "shares": [share]}
    (run / "evaluation" / "metrics.json").write_text(json.dumps(report))
    shutil.copy(run / "training_curves.png", run / "evaluation" / "examples.png")
    push(run, hub_environment)
    files = hub.repositories["you/lesions"].files
    assert "evaluation/examples.png" not in files and b"examples.png" not in files["README.md"]
    assert "evaluation/report.html" not in files
    push(run, hub_environment, "--publish_examples")
    files = hub.repositories["you/lesions"].files
    assert "evaluation/examples.png" in files and b"](evaluation/examples.png)" in files["README.md"]


def test_a_folder_of_what_a_push_would_send(
    run: Path, hub: HubServer, hub_environment: dict[str, str], tmp_path: Path
) -> None:
    push(run, hub_environment)
    folder = tmp_path / "release"
    in_process("-m", "model_card", run, "--export", folder)
    sent, written = hub.repositories["you/lesions"].files, contents(folder)
    assert set(written) == set(sent)
    assert all(written[name] == sent[name] for name in sent if name != "README.md")
    assert f'model="{folder.as_posix()}"'.encode() in written["README.md"]
    assert "exists already" in in_process("-m", "model_card", run, "--export", folder, check=2).stderr

    shutil.copy(run / "training_curves.png", run / "evaluation" / "examples.png")
    named = ("--hub_model_id", "you/lesions", "--publish_examples")
    in_process("-m", "model_card", run, "--export", tmp_path / "named", *named)
    written = contents(tmp_path / "named")
    assert set(written) == {*sent, "evaluation/examples.png"} and b'model="you/lesions"' in written["README.md"]


def test_a_push_sends_what_a_model_repository_holds_and_nothing_else_that_lies_there(
    run: Path, hub: HubServer, hub_environment: dict[str, str], tmp_path: Path
) -> None:
    push(run, hub_environment)
    sent = dict(hub.repositories["you/lesions"].files)
    for name in (
        *("kaggle.json", "old.safetensors", "private/token.json", "checkpoint-9/config.json", "sub/README.md"),
        *("evaluation/face.png", "evaluation/old/metrics.json", "evaluation-notes/patients.csv"),
    ):
        (run / name).parent.mkdir(exist_ok=True)
        (run / name).write_text("private")
    (tmp_path / "secret.json").write_text("private")
    (run / "training_curves.png").unlink()
    (run / "training_curves.png").symlink_to(tmp_path / "secret.json")
    (tmp_path / "elsewhere").mkdir()
    shutil.copy(run / "evaluation" / "metrics.json", tmp_path / "elsewhere" / "metrics.json")
    (run / "evaluation-linked").symlink_to(tmp_path / "elsewhere")
    push(run, hub_environment)
    files = hub.repositories["you/lesions"].files
    assert files.keys() == sent.keys() - {"training_curves.png"} and b"private" not in b"".join(files.values())


def test_names_of_images_in_a_folder_are_not_pushed(run: Path) -> None:
    """They may be those of patients. The ids of a data set are published with it."""
    other = shutil.copytree(run / "evaluation", run / "evaluation-clinic")
    assert "evaluation-clinic/predictions.csv" in published(run)
    report = json.loads((other / "metrics.json").read_text())
    (other / "metrics.json").write_text(json.dumps(report | {"split": None, "dataset_fingerprint": None}))
    names = {name for name in published(run) if name.startswith("evaluation")}
    assert {"evaluation-clinic/metrics.json", "evaluation/ground_truth.csv"} <= names
    assert not {"evaluation-clinic/predictions.csv", "evaluation-clinic/ground_truth.csv"} & names


def test_metrics_of_other_weights_are_left_out_of_card_and_push(
    run: Path, hub: HubServer, hub_environment: dict[str, str]
) -> None:
    report = json.loads((run / "evaluation" / "metrics.json").read_text())
    (run / "evaluation" / "metrics.json").write_text(json.dumps(report | {"weights_sha256": "0" * 64}))
    said = push(run, hub_environment).stderr
    assert f"left out: {run / 'evaluation'} was measured with other weights than those in {run}" in said
    files = hub.repositories["you/lesions"].files
    assert not any("evaluation" in name for name in files) and b"## Results" not in files["README.md"]
    assert b"model-index" not in files["README.md"]


def test_nothing_about_other_weights_is_pushed(run: Path, hub: HubServer, hub_environment: dict[str, str]) -> None:
    report = json.loads((run / "evaluation" / "metrics.json").read_text())
    report |= {"dataset": "you/ham10000", "weights_sha256": "0" * 64}
    (run / "evaluation" / "metrics.json").write_text(json.dumps(report))
    compared = {"n_images": 9, "n_lesions": 9, "split": "test", "first": {"model": "old", "metrics": {}}}
    about = {"model": "x", "weights_sha256": "0" * 64, "differences": {}}
    for name, content in (
        ("comparison/comparison.json", json.dumps({**compared, "compared": [about]})),
        (".eval_results/test.yaml", "- value: 1"),
    ):
        (run / name).parent.mkdir(exist_ok=True)
        (run / name).write_text(content)
    push(run, hub_environment)
    assert not {"comparison/comparison.json", ".eval_results/test.yaml"} & hub.repositories["you/lesions"].files.keys()

    (run / "model.safetensors").write_bytes(RELEASE.joinpath("model.safetensors").read_bytes())
    error = push(run, hub_environment, check=2).stderr
    assert "training.json is about other weights than those that lie beside it now" in error


def test_a_push_leaves_nothing_of_an_earlier_one_beside_other_weights(
    run: Path, hub: HubServer, hub_environment: dict[str, str]
) -> None:
    shutil.copy(run / "training_curves.png", run / "evaluation" / "examples.png")
    push(run, hub_environment, "--publish_examples")
    repository = hub.repositories["you/lesions"]
    more = {".eval_results/test.yaml", "comparison/comparison.json", "evaluation-milk10k/metrics.json"}
    more |= {"model-00001-of-00002.safetensors", "model.safetensors.index.json", "onnx/model.onnx"}
    theirs = {".gitattributes", "LICENSE", "notes/evaluation.md", "evaluation/mine.png"}
    repository.files |= dict.fromkeys(more | theirs, b"earlier")
    report = json.loads((run / "evaluation" / "metrics.json").read_text())
    (run / "evaluation" / "metrics.json").write_text(json.dumps(report | {"weights_sha256": "0" * 64}))
    push(run, hub_environment)
    left = {name for name in repository.files if name not in listed(run, published(run))[0]}
    assert left == theirs and "model.safetensors" in repository.files


@pytest.mark.parametrize("name", ["../../../../evil.json", "a/../../../../../evil.json", "/tmp/evil.json"])
def test_a_repository_writes_nothing_outside_its_folder(
    name: str, hub: HubServer, hub_environment: dict[str, str], tmp_path: Path
) -> None:
    hub.repositories["you/lesions"] = Repository({"config.json": b"{}", name: b"{}"})
    error = command("-c", FETCH, check=2, **hub_environment).stderr
    assert "what the Hub answered about you/lesions can't be used" in error and "evil.json" in error
    assert not [path for path in (Path("/tmp/evil.json"), *tmp_path.rglob("evil.json")) if path.exists()]


@pytest.mark.parametrize("answer", [b"<html>Log in to this network</html>", b"[]", b'{"id": 3}'])
def test_an_answer_that_no_hub_gives(answer: bytes, run: Path, hub_environment: dict[str, str]) -> None:
    class Portal(BaseHTTPRequestHandler):
        def log_message(self, *_: object) -> None: ...

        def do_GET(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            self.send_response(200)
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        do_POST = do_GET

    portal = StandIn(Portal)
    environment = hub_environment | {"HF_ENDPOINT": portal.url}
    assert "you/lesions" in command("-c", FETCH, check=2, **environment).stderr
    assert "repeat: python -m model_card" in push(run, environment, check=2).stderr
    portal.shutdown()


def test_a_token_with_a_line_end_works_and_is_never_printed(
    run: Path, hub: HubServer, hub_environment: dict[str, str]
) -> None:
    push(run, hub_environment | {"HF_TOKEN": "hf_writer\n"})
    assert "README.md" in hub.repositories["you/lesions"].files
    assert Destination("you/x", token=" hf_writer\n").token == "hf_writer"
    with pytest.raises(InputError) as error:
        Destination("you/x", token="hf_wri\nter")
    assert "copy it again" in str(error.value) and "ter" not in str(error.value).replace("characters", "")


def test_a_result_on_a_data_set_of_the_hub_goes_to_its_board(
    run: Path, hub: HubServer, hub_environment: dict[str, str]
) -> None:
    report = json.loads((run / "evaluation" / "metrics.json").read_text())
    report |= {"dataset": "you/ham10000", "dataset_revision": "a" * 40}
    (run / "evaluation" / "metrics.json").write_text(json.dumps(report))
    push(run, hub_environment)
    written = yaml.safe_load(hub.repositories["you/lesions"].files[".eval_results/test.yaml"])
    (entry,) = parse_eval_result_entries(written)
    assert (entry.dataset_id, entry.task_id, entry.dataset_revision) == ("you/ham10000", "test", "a" * 40)
    assert entry.value == report["metrics"]["balanced_accuracy"]["value"]


@pytest.mark.parametrize(
    ("token", "expected"),
    [("", "hf auth login"), ("hf_wrong", "the Hub rejected your token"), (READ_ONLY_TOKEN, "may not write to")],
)
def test_without_the_right_token(
    run: Path, hub: HubServer, hub_environment: dict[str, str], token: str, expected: str
) -> None:
    before = contents(run)
    error = push(run, hub_environment | {"HF_TOKEN": token}, check=2).stderr
    assert expected in error and "repeat: python -m model_card" in error
    assert not token or token not in error
    assert contents(run) == before


def test_training_is_not_started_where_the_push_would_fail(
    sample: Path, hub: HubServer, hub_environment: dict[str, str], tmp_path: Path
) -> None:
    options = ("--push_to_hub", "--hub_model_id", "you/lesions")
    error = command("train.py", "recipes/demo.yaml", "--dataset", sample, "--output_dir", tmp_path / "run", *options,
                    check=2, **hub_environment | {"HF_TOKEN": "hf_wrong"}).stderr  # fmt: skip
    assert "the Hub rejected your token" in error and not (tmp_path / "run").exists()


def test_no_connection(run: Path, hub_environment: dict[str, str]) -> None:
    error = push(run, hub_environment | {"HF_ENDPOINT": "http://127.0.0.1:9"}, check=2).stderr
    assert "the connection to the Hub failed" in error and "repeat: python -m model_card" in error


def test_the_advice_after_a_push_that_failed_repeats_all_of_its_options(run: Path, hub_environment) -> None:
    """Without them, the copied command would publish for everybody, or to another branch."""
    more = ("--private", "--revision", "new data", "--tag", "v1", "--publish_examples", "--push_space", "you/page")
    error = push(run, hub_environment | {"HF_ENDPOINT": "http://127.0.0.1:9"}, *more, check=2).stderr
    words = shlex.split(error.partition("repeat: ")[2])
    assert words[:4] == ["python", "-m", "model_card", str(run)]
    pairs = ["--revision new data", "--tag v1", "--push_space you/page", "--hub_model_id you/lesions"]
    assert all(pair in " ".join(words) for pair in pairs)
    assert {"--private", "--publish_examples", "--push_to_hub"} <= set(words) and "new data" in words


def test_a_private_push_never_goes_to_a_public_repository(
    run: Path, hub: HubServer, hub_environment: dict[str, str]
) -> None:
    push(run, hub_environment, "--private")
    assert hub.repositories["you/lesions"].private
    push(run, hub_environment, "--private")  # again, to the same
    hub.repositories["you/lesions"] = Repository()
    error = push(run, hub_environment, "--private", check=2).stderr
    assert "you/lesions exists already and is public" in error and not hub.repositories["you/lesions"].files


def test_a_run_that_still_trains_is_not_published(run: Path, hub: HubServer, hub_environment: dict[str, str]) -> None:
    with held(run / "training.json"):  # as a training does
        assert "another process is writing there" in push(run, hub_environment, check=2).stderr
    assert "you/lesions" not in hub.repositories


def test_a_connection_that_drops_in_the_middle_and_the_push_repeated(
    run: Path, hub: HubServer, hub_environment: dict[str, str]
) -> None:
    hub.drop_uploads = 1000
    error = push(run, hub_environment, check=2, program=("-c", IMPATIENT)).stderr
    assert "the connection to the Hub failed" in error and "repeat: python -m model_card" in error
    assert hub.repositories["you/lesions"].files == {}
    hub.drop_uploads = 0
    push(run, hub_environment)
    assert hub.repositories["you/lesions"].files["model.safetensors"] == (run / "model.safetensors").read_bytes()


@pytest.mark.parametrize(
    ("status", "reason"),
    [
        (500, "the Hub answered 500"),
        (503, "the Hub answered 503"),
        (409, "the Hub answered 409"),
        (412, "you/lesions was changed by somebody else during the push"),
        (429, "wait some minutes"),
        (None, "the connection to the Hub failed"),
    ],
)
def test_a_commit_that_fails_and_the_push_repeated(
    status: int | None, reason: str, run: Path, hub: HubServer, hub_environment: dict[str, str]
) -> None:
    """With None, the commit is made and its answer lost: the repeated push finds it, and sets the tag that lacks."""
    hub.commit_answers = [status] * 20
    error = push(run, hub_environment, "--tag", "v1", check=2, program=("-c", IMPATIENT)).stderr
    assert reason in error and "repeat: python -m model_card" in error
    repository = hub.repositories["you/lesions"]
    assert not repository.tags and bool(repository.files) == (status is None)
    hub.commit_answers = []
    push(run, hub_environment, "--tag", "v1")
    assert repository.tags == {"v1": repository.commits[-1]} and len(repository.commits) == 2
    assert repository.files["model.safetensors"] == (run / "model.safetensors").read_bytes()


def test_a_push_does_not_mix_with_what_somebody_else_pushes_at_the_same_time(
    run: Path, hub: HubServer, hub_environment: dict[str, str]
) -> None:
    """The weights are on the Hub already and need no sending; the card alone would land beside the other weights."""
    push(run, hub_environment)
    repository = hub.repositories["you/lesions"]
    repository.files["README.md"] = b"an earlier card"

    def meanwhile() -> None:
        repository.files["model.safetensors"] = b"other weights"
        repository.commits.append("1" * 40)

    hub.meanwhile = meanwhile
    error = push(run, hub_environment, check=2).stderr
    assert "you/lesions was changed by somebody else during the push, of which nothing was committed" in error
    assert repository.files["README.md"] == b"an earlier card"
