"""Publishes the page as a static Space of the Hub."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

from huggingface_hub import SpaceCardData

from lesions.hub import Destination, address_of, check_access, push_folder
from lesions.output.files import write_text
from lesions.run_folder import record_of
from model_card.card import license_of
from model_card.publish import what_next
from space.build import PAGE_FILES, build_page

EVERYTHING = ("*", "*/*", "*/*/*")  # of a Space, as patterns
README = """---
{metadata}
---

# {title}

A static page that classifies a dermatoscopic image in the visitor's own browser. The image never leaves the device:
once the model is loaded, the page forbids itself every connection.{model}

It is for research only. It is not a medical device, and its output is not a diagnosis.
"""


def publish_space(run: Path, to: Destination, hub_model_id: str | None = None) -> str:
    """Builds the page of a run and makes the Space hold it and nothing else, in one commit; returns its address.

    With `hub_model_id`, the page and the Space link the model. Raises InputError.
    """
    again = what_next(run, to, push_space=to.repo_id, hub_model_id=hub_model_id)
    check_access(to, again)
    with TemporaryDirectory() as folder:
        page = Path(folder) / "page"
        build_page(run, page, address_of(hub_model_id, "model") if hub_model_id else None)
        write_text(page / "README.md", readme(run, to.repo_id, hub_model_id))
        return push_folder(to, page, PAGE_FILES, "The page", again, ours=EVERYTHING)


def readme(run: Path, repo_id: str, hub_model_id: str | None) -> str:
    """The Space's README.md, whose metadata the Hub reads."""
    title = repo_id.split("/")[-1]
    metadata = SpaceCardData(
        title=title,
        sdk="static",
        app_file="index.html",
        license=license_of(record_of(run)),
        models=[hub_model_id] if hub_model_id else None,
        short_description="Classify a skin lesion in your own browser",
        tags=["skin-lesion", "dermatoscopy", "onnx"],
    )
    model = f" The model is [{hub_model_id}]({address_of(hub_model_id, 'model')})." if hub_model_id else ""
    return README.format(metadata=metadata.to_yaml(), title=title, model=model)
