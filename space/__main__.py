"""The command `python -m space RUN`."""

from __future__ import annotations

import argparse
from pathlib import Path

import space
from lesions.faults import exits_cleanly

RELEASE = Path("release/deit-tiny-ham10000")


@exits_cleanly
def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m space", description=space.__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("run", type=Path, nargs="?", default=RELEASE, help=f"a model folder (default: {RELEASE})")
    add("--output", type=Path, default=Path("build/space"), help="folder for the page (default: build/space)")
    add("--link", help="address of the model, shown on the page")
    arguments = parser.parse_args()

    from space.build import build_page  # loads torch

    print(f"wrote {build_page(arguments.run, arguments.output, arguments.link)}")
    print(f"Next:\n  python -m http.server --directory {arguments.output}")


if __name__ == "__main__":
    main()
