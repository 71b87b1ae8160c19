"""The command `python -m model_card RUN`."""

from __future__ import annotations

import argparse
from contextlib import nullcontext
from pathlib import Path

import model_card
from lesions.faults import exits_cleanly

# --help answers at once, and an error of an import is a clear one, so the functions import what they need.


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m model_card",
        description=model_card.__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("run", type=Path, help="run folder of train.py, measured by evaluate_model.py")
    parser.add_argument("--push_to_hub", action="store_true", help="push model, processor, card and evaluation")
    parser.add_argument("--hub_model_id", help="repository, owner/name; the card's example uses it too")
    add = parser.add_argument
    add("--private", action="store_true", help="push to a private repository only; one that is created now is made so")
    add("--revision", help="branch to push to, created if it doesn't exist (default: main)")
    add("--tag", help="tag for the pushed commit, such as v1.0; an existing tag of that name moves")
    add("--create_pr", action="store_true", help="open a pull request instead of committing to the branch")
    add(
        "--publish_examples",
        action="store_true",
        help="also push the examples of evaluate_model.py --maps, which show images; mind the license of the data set",
    )
    add("--onnx", action="store_true", help="export the model to RUN/onnx/model.onnx first; a push sends it too")
    add("--push_space", metavar="OWNER/NAME", help="publish the page that runs the model in a browser as this Space")
    add("--export", type=Path, metavar="FOLDER", help="write what a push would send to a new folder instead")
    arguments = parser.parse_args()
    if arguments.push_to_hub and not arguments.hub_model_id:
        parser.error("--push_to_hub needs --hub_model_id owner/name")
    if arguments.export and arguments.push_to_hub:
        parser.error("--export writes a folder instead of a push; give one of them")
    needs_push = [name for name in ("private", "revision", "tag", "create_pr") if getattr(arguments, name)]
    if needs_push and not arguments.push_to_hub and not (needs_push == ["private"] and arguments.push_space):
        parser.error(f"give --push_to_hub too, without which nothing is pushed: --{', --'.join(needs_push)}")
    if arguments.tag and arguments.create_pr:
        parser.error("--tag needs a commit and --create_pr makes none: merge the pull request, then tag it")
    return arguments


@exits_cleanly
def main() -> None:
    arguments = parse_arguments()

    from lesions.output.places import alone, check_folder, check_writable
    from lesions.run_folder import RECORD

    if arguments.export:
        check_folder(arguments.export)
    there = arguments.run.is_dir()
    if there:
        check_writable(arguments.run)
    # A training that still runs would change what is described, or pushed.
    with alone(arguments.run / RECORD) if there else nullcontext():
        write(arguments)


def write(arguments: argparse.Namespace) -> None:
    """Writes or pushes what the options ask for."""
    from lesions.hub import Destination
    from model_card.card import write_card
    from model_card.publish import export

    if arguments.onnx:
        from lesions.model.onnx_export import export_onnx

        print(f"wrote {export_onnx(arguments.run)}")
    names = (arguments.hub_model_id, arguments.publish_examples, arguments.push_space)
    if arguments.export:
        print(f"wrote {export(arguments.run, arguments.export, *names)}")
    elif not arguments.push_to_hub:
        print(f"wrote {write_card(arguments.run, *names)}")
    else:
        push(arguments)
    if arguments.push_space:
        from space.publish import publish_space

        to = Destination(arguments.push_space, kind="space", private=arguments.private)
        print(f"published at {publish_space(arguments.run, to, arguments.hub_model_id)}")


def push(arguments: argparse.Namespace) -> None:
    from lesions.hub import Destination
    from model_card.publish import publish

    names = ("private", "revision", "tag", "create_pr")
    to = Destination(arguments.hub_model_id, **{name: getattr(arguments, name) for name in names})
    print(f"published at {publish(arguments.run, to, arguments.publish_examples, arguments.push_space)}")


if __name__ == "__main__":
    main()
