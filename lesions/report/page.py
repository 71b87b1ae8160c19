"""The local report: one HTML page with every table and figure of an evaluation. It needs no network."""

from __future__ import annotations

from base64 import b64encode
from pathlib import Path
from typing import Any

from lesions.metrics.names import METRICS
from lesions.output.files import write_text
from lesions.output.templates import render
from lesions.report.sections import BOX, build_sections
from lesions.report.wording import count_images, format_metric


def write_page(folder: Path, report: dict[str, Any]) -> Path:
    """Writes `folder`/report.html from metrics.json's content and the figures in `folder`; returns its path."""
    sections = build_sections(report)
    names = {name for section in sections for name in section.figures if (folder / name).is_file()}
    page = render(
        Path(__file__).with_name("page.html.j2"),
        report=report,
        count=count_images(report),
        box=[(METRICS[name].title, format_metric(report["metrics"][name])) for name in BOX],
        sections=sections,
        images={name: b64encode((folder / name).read_bytes()).decode() for name in names},
    )
    write_text(folder / "report.html", page)
    return folder / "report.html"
