"""A model or a data set by folder or Hub id: the one place that turns either into a folder."""

from __future__ import annotations

from pathlib import Path

from lesions.faults import InputError

# No pickle is ever fetched: weights come as safetensors or not at all.
WANTED_FILES = {"model": ["*.json", "*.safetensors"], "dataset": ["*.parquet", "*.json", "*.csv", "README.md"]}


def local_folder(name: str, kind: str, everything: bool = False) -> Path:
    """The folder of the `kind` ("model" or "dataset") called `name`: a folder on disk, or a snapshot from the Hub,
    of the files that this project writes or of `everything`.

    Raises InputError where neither is to be had, with what to do next.
    """
    if Path(name).is_dir():
        return Path(name)

    from httpx2 import HTTPError  # what the Hub's client raises where no answer came
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import GatedRepoError, HFValidationError, RepositoryNotFoundError

    advice = f"give --{kind} an existing folder, or the Hub id of a {kind}"
    try:
        return Path(snapshot_download(name, repo_type=kind, allow_patterns=None if everything else WANTED_FILES[kind]))
    except HFValidationError as error:
        raise InputError(f"there is no folder {name}, and it is no Hub id; {advice}") from error
    except GatedRepoError as error:
        raise InputError(
            f"{name} is gated: accept its terms on its Hub page, then log in with `hf auth login`"
        ) from error
    except RepositoryNotFoundError as error:
        raise InputError(
            f"there is no folder {name}, and the Hub knows no {kind} of that id (a private one needs "
            f"`hf auth login`); {advice}"
        ) from error
    except (HTTPError, OSError) as error:
        raise InputError(
            f"there is no folder {name}, and the Hub could not be reached for it ({str(error).splitlines()[0]}). "
            f"Check the connection; without one, copy the {kind} from another machine (`hf download "
            f"{'--repo-type dataset ' if kind == 'dataset' else ''}{name} --local-dir FOLDER`) and give --{kind} FOLDER"
        ) from error


def public_name(name: str) -> str:
    """`name` as it may be published: a Hub id as it is, of a folder only the last part, never a path."""
    return Path(name).resolve().name if Path(name).is_dir() else name


def revision_of(folder: Path) -> str | None:
    """The commit of the Hub's repository that `folder` is a snapshot of; None for any other folder."""
    return folder.name if folder.parent.name == "snapshots" else None
