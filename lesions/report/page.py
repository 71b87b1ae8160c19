"""The local report: one HTML page that holds every table and figure of an evaluation, and needs no network."""

from __future__ import annotations

from base64 import b64encode
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from lesions.files import write_text
from lesions.metrics.names import METRICS
from lesions.report.sections import count, sections, show

BOX = ("accuracy", "balanced_accuracy", "f1_macro", "roc_auc_macro")  # shown large, on top


def write_page(folder: Path, report: dict[str, Any]) -> Path:
    """Writes `folder`/report.html from metrics.json's content and the figures in `folder`; returns its path."""
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent), undefined=StrictUndefined, autoescape=True, trim_blocks=True
    )
    parts = sections(report)
    names = {name for part in parts for name in part.figures if (folder / name).is_file()}
    page = environment.get_template("page.html.j2").render(
        report=report,
        count=count(report),
        box=[(METRICS[name][1], show(report["metrics"][name])) for name in BOX],
        sections=parts,
        images={name: b64encode((folder / name).read_bytes()).decode() for name in names},
    )
    write_text(folder / "report.html", page)
    return folder / "report.html"
