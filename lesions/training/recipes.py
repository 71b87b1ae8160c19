"""Options from a YAML recipe and the command line; the command line wins."""

from __future__ import annotations

import argparse
import difflib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from lesions.faults import Faults, InputError

if TYPE_CHECKING:
    from lesions.training.arguments import LesionTrainingArguments


def true_or_false(text: str) -> bool:
    """The value of a flag, as transformers' own flags take it."""
    if text.lower() not in ("true", "false"):
        raise argparse.ArgumentTypeError(f"give true or false, not {text!r}")
    return text.lower() == "true"


# A flag that may stand alone, and that `--flag false` turns off where a recipe has turned it on.
FLAG: dict[str, Any] = {"type": true_or_false, "nargs": "?", "const": True, "default": False, "metavar": "true|false"}


def read_recipe(path: Path) -> dict[str, Any]:
    """The recipe's options. Raises InputError where it is no YAML mapping."""
    try:
        recipe = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise InputError(f"there is no recipe {path}") from error
    except (yaml.YAMLError, OSError, UnicodeDecodeError) as error:
        raise InputError(f"the recipe {path} is no YAML file: {error}") from error
    if not isinstance(recipe, dict):
        raise InputError(f"the recipe {path} must hold lines of the form `option: value`")
    return recipe


def parse_with_recipe(parser: argparse.ArgumentParser) -> tuple[argparse.Namespace, LesionTrainingArguments]:
    """The script's own options, and every option of transformers' TrainingArguments, from sys.argv and the recipe.

    `parser` holds the script's own options, `recipe` among them, and no help: that is added here, and answers
    before transformers is imported.
    """
    quick = argparse.ArgumentParser(
        parents=[parser],
        description=parser.description,
        epilog=parser.epilog,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    with _nothing_required(quick):
        quick.parse_known_args()  # answers --help

    from transformers import HfArgumentParser

    from lesions.training.arguments import LesionTrainingArguments

    full = HfArgumentParser(LesionTrainingArguments, parents=[parser], add_help=False, allow_abbrev=False)
    known = {action.dest for action in full._actions} - {"recipe"}
    with _nothing_required(full):  # a recipe may hold what is
        path = full.parse_known_args()[0].recipe
    if path:
        recipe = read_recipe(path)
        _check_names(map(str, recipe), known, f"mend the recipe {path}")
        # Numbers such as 5e-4 are text to YAML 1.1; argparse converts text defaults like text arguments.
        full.set_defaults(**recipe)
        several = {action.dest for action in parser._actions if action.nargs == "+"}
        full.set_defaults(**{name: [recipe[name]] for name in several & recipe.keys() if isinstance(recipe[name], str)})
        for action in full._actions:
            action.required = action.required and action.dest not in recipe
    try:
        training, own, unknown = full.parse_args_into_dataclasses(
            look_for_args_file=False, return_remaining_strings=True
        )
    except (ValueError, TypeError) as error:  # what TrainingArguments says of values that contradict each other
        raise InputError(f"these options can't be used together: {error}") from error
    _check_names((text.lstrip("-") for text in unknown), known, "mend the command line")
    return own, training


@contextmanager
def _nothing_required(parser: argparse.ArgumentParser) -> Iterator[None]:
    required = [action for action in parser._actions if action.required]
    for action in required:
        action.required = False
    try:
        yield
    finally:
        for action in required:
            action.required = True


def _check_names(names: Iterable[str], known: set[str], advice: str) -> None:
    faults = Faults()
    for name in names:
        if name not in known:
            close = difflib.get_close_matches(name, known, n=1)
            faults.add("no such option", name + (f" (did you mean {close[0]}?)" if close else ""))
    faults.raise_if_any(f"{advice}; train.py --help lists the options")
