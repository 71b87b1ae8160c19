"""The data set's README.md, which the Hub shows as its card."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lesions.diagnoses import name_and_code
from lesions.output.plain_text import for_markdown
from lesions.output.templates import render
from lesions.report.elsewhere import TONES, is_on_scale

if TYPE_CHECKING:
    from lesions.data.exploration.reading import Reading

# The card's metadata lists no `configs`: the names of the files in data/ say the same, and with `configs` datasets
# 5.2 serves its cached copy of an older data set at the same path, whatever the files hold now.


def render_dataset_card(audit: dict[str, Any], name: str, readings: Sequence[Reading] = ()) -> str:
    """The card of the data described by `audit` (the content of audit.json), to be loaded as `name` (a folder or Hub
    id), with the figures of explore/ that `readings` tell of."""
    audit = for_markdown(audit)
    split = audit["split"]
    totals = {
        name: {kind: sum(row[name][kind] for row in split["classes"].values()) for kind in ("images", "lesions")}
        for name in split["shares"]
    }
    return render(
        Path(__file__).with_name("dataset_card.md.j2"),
        {"for_markdown": for_markdown},
        title=f"{audit['source']['title']}, split by lesion",
        synthetic=audit["source"]["drawn"],
        path=name,
        audit=audit,
        readings=readings,
        ham10000=audit["source"]["title"] == "HAM10000",
        several=len(audit["sources"]) > 1,
        skin_tone=audit["skin_tones"],
        tones=TONES if is_on_scale(audit["skin_tones"]) else None,
        size=size_category(audit["n_images"]),
        splits=list(split["shares"]),
        shares=" / ".join(f"{100 * share:.0f}" for share in split["shares"].values()),
        seed=split["seed"],
        table=split["classes"],
        names={dx: name_and_code(dx, "`") for dx in split["classes"]},
        groups_merged=audit["duplicates"]["lesions_merged"],
        totals=totals,
        fingerprint=audit["fingerprint"],
        n_images=audit["n_images"],
        n_lesions=audit["n_lesions"],
        duplicates=audit["duplicates"],
        skipped=len(audit["skipped_images"]),
        image_size=audit["image_size"],
    )


def size_category(count: int) -> str:
    """The Hub's name for a number of rows."""
    edges = [(1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M")]
    return next((name for edge, name in edges if count < edge), "1M<n<10M")
