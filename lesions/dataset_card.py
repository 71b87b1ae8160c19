"""The data set's README.md, which the Hub shows as its card."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from lesions.diagnoses import name_of

# The card's metadata lists no `configs`: the names of the files in data/ say the same, and with `configs`
# datasets 5.2 serves its cached copy of an older data set of the same path, whatever the files hold now.


def render_dataset_card(audit: dict[str, Any], output: Path) -> str:
    """The card of the data described by `audit` (the content of audit.json), to be found at `output`."""
    environment = Environment(loader=FileSystemLoader(Path(__file__).parent), undefined=StrictUndefined)
    split = audit["split"]
    totals = {
        name: {kind: sum(row[name][kind] for row in split["classes"].values()) for kind in ("images", "lesions")}
        for name in split["shares"]
    }
    return environment.get_template("dataset_card.md.j2").render(
        title=f"{audit['source']['title']}, split by lesion",
        drawn=audit["source"]["drawn"],
        path=output,
        splits=list(split["shares"]),
        shares=" / ".join(f"{100 * share:.0f}" for share in split["shares"].values()),
        seed=split["seed"],
        table=split["classes"],
        names={dx: name_of(dx) for dx in split["classes"]},
        totals=totals,
        fingerprint=audit["fingerprint"],
        n_images=audit["n_images"],
        n_lesions=audit["n_lesions"],
        duplicates=audit["duplicates"],
        skipped=len(audit["skipped_images"]),
        image_size=audit["image_size"],
    )
