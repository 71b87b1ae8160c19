"""Pushes a run folder to the Hub with the real client; every way in which that fails has one clear message."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from huggingface_hub import HfApi
from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalTokenNotFoundError

from lesions.faults import InputError
from model_card.card import write_card

# What a model repository holds. Checkpoints, optimiser states and pickles are never among it.
PUBLISHED = ["README.md", "*.json", "*.safetensors", "evaluation/*.json", "evaluation/*.csv", "evaluation/*.png"]
NOT_PUBLISHED = ["checkpoint-*", ".partial*"]


def check_access(hub_model_id: str | None, token: str | None = None, private: bool = False) -> None:
    """Makes sure, before hours of training, that the push at its end can work: creates the repository."""
    if not hub_model_id:
        raise InputError("--push_to_hub needs --hub_model_id owner/name")
    with _clear_errors(hub_model_id, "nothing was trained yet; repeat the same command"):
        HfApi(token=token).create_repo(hub_model_id, private=private, exist_ok=True)


def publish(run: Path, hub_model_id: str, private: bool = False, token: str | None = None) -> str:
    """Writes the card for `hub_model_id`, pushes model, processor, card and evaluation in one commit.

    Returns the repository's address. Raises InputError where that fails; a repeated push completes what is missing.
    """
    again = f"{run} is as it was; repeat: python -m model_card {run} --push_to_hub --hub_model_id {hub_model_id}"
    with _clear_errors(hub_model_id, again):
        api = HfApi(token=token)
        url = api.create_repo(hub_model_id, private=private, exist_ok=True)
        write_card(run, hub_model_id)
        api.upload_folder(
            repo_id=hub_model_id,
            folder_path=run,
            allow_patterns=PUBLISHED,
            ignore_patterns=NOT_PUBLISHED,
            commit_message="Model, card and evaluation",
        )
    return str(url)


@contextmanager
def _clear_errors(hub_model_id: str, what_next: str) -> Iterator[None]:
    from httpx2 import HTTPError  # what the Hub's client raises where no answer came

    try:
        yield
    except LocalTokenNotFoundError as error:
        raise InputError(f"you are not logged in to the Hub: run `hf auth login` first; {what_next}") from error
    except HFValidationError as error:
        raise InputError(f"--hub_model_id {hub_model_id} is no Hub id (owner/name): {error}") from error
    except HfHubHTTPError as error:
        status = error.response.status_code if error.response is not None else None
        reason = {
            401: "the Hub rejected your token: run `hf auth login` with a token that has write access",
            403: f"your token may not write to {hub_model_id}: use one with write access, or another --hub_model_id",
        }.get(status, f"the Hub answered {status}: {str(error).strip().splitlines()[0]}")
        raise InputError(f"{reason}; {what_next}") from error
    except (HTTPError, OSError, RuntimeError) as error:
        # The client wraps what broke off an upload in a RuntimeError.
        if isinstance(error, RuntimeError) and not isinstance(error.__cause__, (HTTPError, OSError)):
            raise
        reason = f"{error} {error.__cause__}" if isinstance(error, RuntimeError) else str(error)
        raise InputError(f"the connection to the Hub failed ({reason}); {what_next}") from error
