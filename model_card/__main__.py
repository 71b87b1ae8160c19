"""The command `python -m model_card RUN`."""

from __future__ import annotations

import argparse
from pathlib import Path

import model_card
from lesions.faults import exits_cleanly


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m model_card",
        description=model_card.__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("run", type=Path, help="a run folder of train.py, measured by evaluate_model.py")
    parser.add_argument("--push_to_hub", action="store_true", help="push model, processor, card and evaluation")
    parser.add_argument("--hub_model_id", help="where to: owner/name; the card's snippet names it too")
    parser.add_argument("--private", action="store_true", help="make the repository private if it is created now")
    arguments = parser.parse_args()
    if arguments.push_to_hub and not arguments.hub_model_id:
        parser.error("--push_to_hub needs --hub_model_id owner/name")
    return arguments


@exits_cleanly
def main() -> None:
    arguments = parse_arguments()
    if arguments.push_to_hub:
        print(f"published at {model_card.publish(arguments.run, arguments.hub_model_id, private=arguments.private)}")
    else:
        print(f"wrote {model_card.write_card(arguments.run, arguments.hub_model_id)}")


if __name__ == "__main__":
    main()
