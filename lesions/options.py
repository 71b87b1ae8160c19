"""A script's options: the fields of its dataclasses, filled from the command line."""

from __future__ import annotations

import difflib
from argparse import RawDescriptionHelpFormatter
from collections.abc import Iterable
from dataclasses import fields
from typing import Any, NoReturn

from transformers.hf_argparser import HfArgumentParser

from lesions.faults import Faults, InputError


class OptionParser(HfArgumentParser):
    """Takes one option for each field of `kinds`, dataclasses whose fields have a help text in their metadata.

    Wrong input raises InputError. A name that does not exist gets a suggestion.
    """

    def __init__(self, *kinds: type, **more: Any) -> None:
        super().__init__(kinds, formatter_class=RawDescriptionHelpFormatter, allow_abbrev=False, **more)

    def error(self, message: str) -> NoReturn:
        raise InputError(f"{message}\n{self.prog} --help lists the options")

    def parse(self, words: list[str] | None = None) -> tuple[Any, ...]:
        """One object of each kind, from `words`; without them, from the command line. Raises InputError."""
        unknown = self.parse_known_args(words)[1]
        # The word after an unknown option is its value, which may be a secret.
        self.refuse_unknown([word.split("=")[0] for word in unknown if word.startswith("-")] or unknown)
        try:
            return self.parse_args_into_dataclasses(words, look_for_args_file=False)
        except (ValueError, TypeError, ImportError) as error:  # raised by `__post_init__` of the dataclasses
            raise InputError(f"these options can't be used together: {error}") from error

    def refuse_unknown(self, names: Iterable[str], where: str = "the command line") -> None:
        """Raises InputError, which lists every one of `names` that is not an option and the closest one that is."""
        known = {field.name for kind in self.dataclass_types for field in fields(kind) if field.init}
        faults = Faults()
        for name in names:
            if (plain := name.lstrip("-").replace("-", "_")) not in known:
                close = difflib.get_close_matches(plain, known, n=1)
                faults.add(f"unknown option in {where}", name + (f" (did you mean {close[0]}?)" if close else ""))
        faults.raise_if_any(f"{self.prog} --help lists the options")
