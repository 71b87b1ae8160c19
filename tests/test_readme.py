"""What the pages promise holds: their numbers come from files here, and their commands, links and tree exist."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

import pytest
from conftest import ROOT, command

README = (ROOT / "README.md").read_text()
CARD = ROOT / "release/deit-tiny-ham10000/README.md"
PAGES = [ROOT / "README.md", ROOT / "recipes/README.md", *ROOT.glob("docs/*.md"), *ROOT.glob("results/*.md")]
# Its items are numbered by subject, with letters; those of the other two checklists are just counted.
TRIPOD_AI = (
    "1 2 3a 3b 3c 4 5a 5b 6a 6b 6c 7 8a 8b 8c 9a 9b 9c 10 11 12a 12b 12c 12d 12e 12f 12g 13 14 15 16 17 "
    "18a 18b 18c 18d 18e 18f 19 20a 20b 20c 21 22 23a 23b 24 25 26 27a 27b 27c"
)


def table_rows(text: str) -> list[list[str]]:
    """The cells of every table row, without the backticks and stars around them."""
    rows = re.findall(r"^\| *(.+?) *\|$", text, re.MULTILINE)
    return [[cell.strip().strip("`*") for cell in re.split(r" *\| *", row)] for row in rows]


def test_every_number_of_the_results_table_comes_from_its_metrics_json() -> None:
    rows = re.findall(r"^\| \[[^\]]+\]\((release/[^)]+)\)[^|]*\|(.+)\|$", README, re.MULTILINE)
    assert rows
    for file, cells in rows:
        report = json.loads((ROOT / file).read_text())
        metrics = [report["metrics"][name] for name in ("accuracy", "balanced_accuracy", "f1_macro", "roc_auc_macro")]
        expected = ["{value:.3f} [{low:.3f}, {high:.3f}]".format(**figure) for figure in metrics]
        expected += [f"{report['n_images']} ({report['n_lesions']})", f"`{report['dataset_fingerprint'][:12]}`"]
        assert [cell.strip() for cell in cells.split("|")] == expected


def test_the_row_of_the_release_before_comes_from_the_comparison() -> None:
    (row,) = [row for row in table_rows(README) if row[0].startswith("the release before")]
    comparison = json.loads((ROOT / "release/deit-tiny-ham10000/comparison/comparison.json").read_text())
    names = ("accuracy", "balanced_accuracy", "f1_macro", "roc_auc_macro")
    metrics = [comparison["first"]["metrics"][name] for name in names]
    expected = ["{value:.3f} [{low:.3f}, {high:.3f}]".format(**metric) for metric in metrics]
    expected += [f"{comparison['n_images']} ({comparison['n_lesions']})", comparison["dataset_fingerprint"][:12]]
    assert row[1:] == expected


def test_the_share_of_each_diagnosis_that_is_found_comes_from_the_release() -> None:
    report = json.loads((ROOT / "release/deit-tiny-ham10000/evaluation/metrics.json").read_text())
    found = re.findall(r"(\d+) % of the (melanomas|actinic keratoses)", README)
    assert len(found) == 2
    for share, diagnosis in found:
        recall = report["per_class"][{"melanomas": "mel", "actinic keratoses": "akiec"}[diagnosis]]["recall"]
        assert int(share) == round(100 * recall)


def test_the_recipes_have_the_metrics_of_their_experiments() -> None:
    recipes = [row for row in table_rows((ROOT / "recipes/README.md").read_text()) if row[0].startswith("[`deit-tiny")]
    experiments = table_rows((ROOT / "results/experiments.md").read_text())
    assert len(recipes) == 4
    for link, _, _, minutes, *metrics in recipes:
        name = re.match(r"\[`(.+?)`\]", link)[1]
        ((_, _, measured_minutes, *measured),) = [row for row in experiments if row[0].startswith(f"{name}`:")]
        assert minutes == measured_minutes.lstrip("+")
        assert metrics == [*measured[:4], measured[5]]  # without the macro average precision


def test_the_speed_of_training_comes_from_its_measurement() -> None:
    measured = re.findall(r"^  (?:train\.py|limit|plain) +([\d.]+) images", (ROOT / "results/train.txt").read_text(),
                          re.MULTILINE)  # fmt: skip
    shown = [row[1:] for row in table_rows((ROOT / "results/speed.md").read_text()) if row[0].startswith("DeiT-")]
    tiny, xeon, base = shown
    assert [*tiny, *base, *xeon] == measured


def test_the_search_for_duplicates_found_what_the_page_says() -> None:
    measured = re.findall(r"^.+?  +(\d+)  +(\d+) +[\d.]+$", (ROOT / "results/leaks.txt").read_text(), re.MULTILINE)
    text = (ROOT / "docs/data.md").read_text()
    rows = re.findall(r"^\| [^|]+ \| ([\d,]+) \| (\d+) ?(%?)[^|]*\|$", text, re.MULTILINE)
    assert len(rows) == len(measured) - 1 == 11  # the last one is in the text below the table
    for (n, found, percent), (measured_n, measured_found) in zip(rows, measured, strict=False):
        assert n.replace(",", "") == measured_n
        expected = round(100 * int(measured_found) / int(measured_n)) if percent else int(measured_found)
        assert int(found) == expected
    assert f"{round(100 * int(measured[-1][1]) / int(measured[-1][0]))} % carry two diagnoses" in text


@pytest.mark.parametrize("script", ["data_prep.py", "train.py", "evaluate_model.py", "-m model_card", "-m space"])
def test_every_command_teaches(script: str) -> None:
    help_text = command(*script.split(), "--help").stdout
    start = rf"(?:python |accelerate launch |^){re.escape(script)} "
    shown = [re.findall(start + r"(?:[^\n]*\\\n)*[^\n`]*", page.read_text(), re.MULTILINE) for page in PAGES]
    assert shown[0]  # the README's own
    for option in set(re.findall(r"--\w+", str(shown))):
        assert option in help_text, option


def test_every_link_leads_to_a_file_and_its_heading() -> None:
    for page in [*PAGES, CARD]:
        text = re.sub(r"```.*?```|`[^`\n]*`", "", page.read_text(), flags=re.DOTALL)  # code links nothing
        defined = dict(re.findall(r"^\[(.+)\]: (\S+)$", text, re.MULTILINE))
        assert set(re.findall(r"\]\[([^\]]+)\]", text)) == defined.keys(), page
        for link in [*re.findall(r"\]\(([^\s)]+)\)", text), *defined.values()]:
            if not link.startswith(("http:", "https:")):
                path, _, heading = link.partition("#")
                target = page.parent / path if path else page
                assert target.exists(), f"{page}: {link}"
                assert not heading or heading in headings_of(target), f"{page}: {link}"


def headings_of(page: Path) -> set[str]:
    """The headings of a page of Markdown as links name them."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_the_checklists_have_every_item_and_count_their_answers() -> None:
    text = (ROOT / "docs/checklists.md").read_text()
    items = {
        "CLAIM 2024": [str(number) for number in range(1, 45)],
        "TRIPOD+AI": TRIPOD_AI.split(),
        "CLEAR Derm": [str(number) for number in range(1, 26)],
    }
    counted = {re.match(r"\[(.+)\]", row[0])[1]: row[1:] for row in table_rows(text) if row[0].startswith(("[C", "[T"))}
    for name, numbers in items.items():
        rows = table_rows(text.split(f"\n## {name}\n")[1].split("\n## ")[0])[2:]
        assert [row[0] for row in rows] == numbers
        kinds = [re.match(r"(\[|Partly: |No answer: |Does not apply: )", answer)[1] for _, _, answer in rows]
        assert all("][" in answer for *_, answer in rows if answer.startswith(("[", "Partly: ")))
        counts = [kinds.count(kind) for kind in ("[", "Partly: ", "No answer: ", "Does not apply: ")]
        assert counted[name] == [str(number) for number in (len(rows), *counts)]


def test_the_checklists_deny_what_the_card_does_not_have() -> None:
    """A card that gains an external test, or skin tones, makes some of their answers wrong."""
    text, card = (ROOT / "docs/checklists.md").read_text(), CARD.read_text()
    assert ("## External tests" in card) != ("It was not tested on data of another origin" in text)
    assert ("whose skin tone is known" in card) != ("skin tone was not recorded" in text)


def test_the_tree_names_every_file_on_top_and_every_folder_of_lesions() -> None:
    tree, path = set(), []
    for line in re.search(r"```\n(README\.md  .*?)```", README, re.DOTALL)[1].splitlines():
        indent, name = re.match(r"( *)(\S+)  ", line).groups()
        path = [*path[: len(indent) // 2], name]
        tree.add("".join(path))
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, check=True, text=True, capture_output=True).stdout
    tracked = [Path(name) for name in listed.splitlines()]
    top = {path.parts[0] + ("/" if len(path.parts) > 1 else "") for path in tracked}
    folders = {
        f"{folder.as_posix()}/" for path in tracked for folder in path.parents if folder.parts[:1] == ("lesions",)
    }
    assert tree == top | folders  # tracked, so each exists
