"""Recipes: YAML files of options, read as the text that is written there."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Any

import yaml

from lesions.faults import InputError

NULL = ("", "~", "null")  # how a recipe writes None
CONSTANTS = {"true": True, "false": False, **dict.fromkeys(NULL)}


def typed(value: Any) -> Any:
    """`value` of a mapping, with its numbers and true, false and null for their texts, at any depth."""
    if isinstance(value, dict):
        return {name: typed(item) for name, item in value.items()}
    if isinstance(value, list):
        return [typed(item) for item in value]
    if value in CONSTANTS:
        return CONSTANTS[value]
    for kind in (int, float):
        with suppress(ValueError):
            return kind(value)
    return value


class _TextLoader(yaml.BaseLoader):
    """Reads every value as the text that is written there: to YAML, `12:30` is 750, `010` is 8, and the label `no` is
    false. An option twice is an error, and so is an alias, since a few of them make a file of any size."""

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        if self.check_event(yaml.AliasEvent):
            event = self.peek_event()
            raise yaml.MarkedYAMLError(problem="an alias: write its value", problem_mark=event.start_mark)
        return super().compose_node(parent, index)

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen = set[Any]()
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode) or key.value in seen:
                raise yaml.MarkedYAMLError(
                    problem="a name that is given twice, or not text", problem_mark=key.start_mark
                )
            seen.add(key.value)
        return super().construct_mapping(node, deep)


def read_recipe(path: Path) -> dict[str, Any]:
    """The recipe's options, all values as text. Raises InputError unless it is a YAML mapping."""
    try:
        recipe = yaml.load(path.read_text(encoding="utf-8"), _TextLoader)
    except FileNotFoundError as error:
        raise InputError(f"the recipe {path} does not exist; the folder recipes has some") from error
    except (yaml.YAMLError, OSError, ValueError, RecursionError) as error:
        raise InputError(f"the recipe {path} is not a YAML file: {error}") from error
    if not isinstance(recipe, dict):
        raise InputError(f"the recipe {path} must hold lines of the form `option: value`")
    return recipe
