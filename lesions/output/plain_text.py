"""Text that comes from data, made harmless where it is written: in Markdown, in a table's cells, on a terminal."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

CONTROL = r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]+"  # with line ends, escapes, and turned text
FORMULA = re.compile(r"\s*[=+\-@\uff1d\uff0b\uff0d\uff20]")  # some spreadsheets take the wide signs too
SHOWN_OF_A_KIND = 20
SHOWN_CHARACTERS = 40  # of a name in a figure
BLOCK = re.compile(r"([#>~+*=_\[-]|\d+(?=[.)]( |$)))")  # what begins a heading, list, rule, code or link in Markdown


def for_markdown(content: Any) -> Any:
    """`content` of a JSON file in which no text, nor key, can begin a line, a table cell, a code span, a link or HTML
    in the Markdown around it."""
    if isinstance(content, dict):
        return {for_markdown(key): for_markdown(value) for key, value in content.items()}
    if isinstance(content, list):
        return [for_markdown(value) for value in content]
    if not isinstance(content, str):
        return content
    text = re.sub(r"^ +", " ", one_line(content))  # four blanks would begin code
    text = text.replace("`", "'").replace("|", "\\|").replace("](", "]\\(").replace("&", "&amp;").replace("<", "&lt;")
    if begins := BLOCK.match(text.lstrip()):
        number = begins[1] if begins[1].isdigit() else ""
        text = f"{number}\\{text.lstrip().removeprefix(number)}"
    return text


def escaped(text: str) -> str:
    """`text` with an escape for what UTF-8 can't hold: a file name in another encoding."""
    return text.encode("utf-8", "backslashreplace").decode()


def one_line(text: str) -> str:
    """`text` without what moves the cursor of a terminal, changes its colors, or begins another line."""
    return re.sub(CONTROL, " ", text)


def for_terminal(text: str) -> str:
    """The lines of `text`, each as `one_line` makes it."""
    return "\n".join(map(one_line, text.split("\n")))


def in_short(names: Iterable[object]) -> str:
    """The first `names` and the count of the others: a model may know a thousand labels."""
    listed = [*map(str, names)]
    more = f" and {len(listed) - SHOWN_OF_A_KIND} more" if len(listed) > SHOWN_OF_A_KIND else ""
    return ", ".join(listed[:SHOWN_OF_A_KIND]) + more


def clipped(text: str) -> str:
    """`text`, or its beginning if it is too long for a figure."""
    return text if len(text) <= SHOWN_CHARACTERS else f"{text[:SHOWN_CHARACTERS]}…"


def for_cell(text: str) -> str:
    """`text` as a cell of a CSV file that no spreadsheet takes for a formula; `from_cell` gives it back."""
    return f"'{text}" if FORMULA.match(text.lstrip("'")) else text


def from_cell(text: str) -> str:
    """The text that `for_cell` was given."""
    return text[1:] if text.startswith("'") and FORMULA.match(text.lstrip("'")) else text
