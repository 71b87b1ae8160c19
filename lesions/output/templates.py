"""Jinja templates, each beside the module that fills it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape

NO_FILTERS: Mapping[str, Callable[..., Any]] = MappingProxyType({})


def render(template: Path, filters: Mapping[str, Callable[..., Any]] = NO_FILTERS, **values: Any) -> str:
    """The file `template` filled with `values`; `filters` are functions that it may use after a `|`.

    A block tag leaves no line behind, a value that was not given is an error, and `*.html.j2` escapes what it prints.
    """
    environment = Environment(
        loader=FileSystemLoader(template.parent),
        undefined=StrictUndefined,
        autoescape=select_autoescape(["html.j2"]),
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(filters)
    return environment.get_template(template.name).render(**values)
