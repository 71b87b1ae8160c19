"""Access tokens, kept out of everything that is printed as an error."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from difflib import get_close_matches
from typing import Any, TextIO

VARIABLES = ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "KAGGLE_KEY", "KAGGLE_API_TOKEN")
OPTIONS = ("token", "hub_token", "push_to_hub_token")
# A token of the Hub, the user and password of an address, its parameters that sign or log in, and what a header holds.
PATTERNS = (
    r"(\b)hf_[A-Za-z0-9]{20,}",
    r"(://)[^/\s@'\"]+(?=@)",
    r"([?&][\w-]*(?:token|key|secret|password|signature|credential)=)[^&\s'\"]+",
    r"(\bBearer )[^\s'\"\\]+",
)


def secrets(arguments: Sequence[str], environment: Mapping[str, str]) -> set[str]:
    """What may be a token: the values of the environment's tokens, and of each option that is named like one,
    mistyped or not, on the command line."""
    found = [environment.get(name, "") for name in VARIABLES]
    for argument, following in zip(arguments, [*arguments[1:], ""], strict=True):
        option, _, value = argument.partition("=")
        if argument.startswith("hf_"):
            found.append(argument)
        elif option.startswith("-") and (
            "token" in option.lower() or get_close_matches(option.strip("-").lower(), OPTIONS, cutoff=0.75)
        ):
            found.append(value or following)
        elif value.startswith("hf_"):
            found.append(value)
    lines = (line.strip() for value in found for line in value.splitlines())
    return {line for line in lines if len(line) > 3 and not line.startswith("-")}


def redact(text: str, known: Iterable[str] = ()) -> str:
    """`text` without the `known` secrets, and without anything that looks like one: see PATTERNS."""
    for secret in sorted(known, key=len, reverse=True):
        text = text.replace(secret, "<token>")
    for pattern in PATTERNS:
        text = re.sub(pattern, r"\1<token>", text, flags=re.IGNORECASE)
    return text


class Redacted:
    """A text stream that writes to another one, without secrets."""

    def __init__(self, stream: TextIO, known: Iterable[str]) -> None:
        self._stream, self._known = stream, list(known)

    def write(self, text: str) -> int:
        return self._stream.write(redact(text, self._known))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)
