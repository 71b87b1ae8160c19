"""Text from data does no harm where it is written."""

from __future__ import annotations

import re
from html import unescape

import pytest
from markdown_it import MarkdownIt

from lesions.output.plain_text import for_cell, for_markdown, from_cell


def test_in_markdown_text_stays_in_its_place() -> None:
    content = {"a|b": ["<script>x</script>", "`code` ![x](http://evil)", "# one\n\n# two\x1b[31m", 3, None, True]}
    assert for_markdown(content) == {
        "a\\|b": ["&lt;script>x&lt;/script>", "'code' ![x]\\(http://evil)", "\\# one # two [31m", 3, None, True],
    }


@pytest.mark.parametrize(
    "title",
    ["# Title", "~~~", "---", "- item", "* item", "+ item", "> quoted", "===", "1. item", "23) item", "    code",
     "[x]: http://evil", "___", " ~~~ "],
)  # fmt: skip
def test_in_markdown_text_begins_no_block(title: str) -> None:
    rendered = MarkdownIt().render(f"{for_markdown(title)}, a data set.\n\nThe end.")
    assert re.fullmatch(r"<p>.*, a data set\.</p>\n<p>The end\.</p>\n", rendered)
    assert title.strip() in unescape(rendered)


@pytest.mark.parametrize(
    "text", ["\t=1", " @x", "\uff1d1", "=1+1", "+1", "-1", "@x", "'=1", "''=1", "ISIC_1", "", "'quoted'"]
)
def test_a_cell_is_no_formula_and_reads_back(text: str) -> None:
    assert not for_cell(text).lstrip().startswith(("=", "+", "-", "@", "\uff1d"))
    assert from_cell(for_cell(text)) == text
