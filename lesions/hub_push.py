"""Pushes a folder to the Hub with the real client; every way in which that fails has one clear message."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lesions.faults import InputError


def check_access(
    kind: str,
    repo_id: str,
    private: bool = False,
    token: str | None = None,
    what_next: str = "nothing was done yet; repeat the same command",
) -> None:
    """Makes sure, before hours of work, that the push at its end can work: creates the repository.

    `kind` is "model" or "dataset". Raises InputError.
    """
    from huggingface_hub import HfApi

    with _clear_errors(repo_id, what_next):
        api = HfApi(token=token)
        api.create_repo(repo_id, repo_type=kind, private=private, exist_ok=True)
        api.auth_check(repo_id, repo_type=kind, write=True)  # create_repo is content with one that exists already


def push_folder(
    kind: str,
    repo_id: str,
    folder: Path,
    files: list[str],
    message: str,
    token: str | None = None,
    leave_out: list[str] | None = None,
    what_next: str = "",
    revision: str | None = None,
    tag: str | None = None,
    create_pr: bool = False,
) -> str:
    """Pushes the `files` (patterns) of `folder` in one commit to a repository that `check_access` has made; what the
    Hub has already is not sent again, and a push that changes nothing makes no commit.

    `revision` is a branch, made where it is not there; `tag` is put on the commit, and taken off an earlier one.
    Returns the repository's address, or the pull request's. Raises InputError, which ends with `what_next`.
    """
    from huggingface_hub import HfApi

    with _clear_errors(repo_id, what_next):
        api = HfApi(token=token)
        if revision and not create_pr:
            api.create_branch(repo_id, repo_type=kind, branch=revision, exist_ok=True)
        commit = api.upload_folder(
            repo_id=repo_id,
            repo_type=kind,
            folder_path=folder,
            allow_patterns=files,
            ignore_patterns=leave_out,
            commit_message=message,
            revision=revision,
            create_pr=create_pr,
        )
        if tag:
            tags = {ref.name for ref in api.list_repo_refs(repo_id, repo_type=kind).tags}
            if tag in tags:
                api.delete_tag(repo_id, repo_type=kind, tag=tag)
            api.create_tag(repo_id, repo_type=kind, tag=tag, revision=revision)
        return commit.pr_url or f"{api.endpoint}/{'datasets/' if kind == 'dataset' else ''}{repo_id}"


@contextmanager
def _clear_errors(repo_id: str, what_next: str) -> Iterator[None]:
    from httpx2 import HTTPError  # what the Hub's client raises where no answer came
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalTokenNotFoundError

    try:
        yield
    except LocalTokenNotFoundError as error:
        raise InputError(f"you are not logged in to the Hub: run `hf auth login` first; {what_next}") from error
    except HFValidationError as error:
        raise InputError(f"{repo_id} is no Hub id (owner/name): {error}") from error
    except HfHubHTTPError as error:
        status = error.response.status_code if error.response is not None else None
        reason = {
            401: "the Hub rejected your token: run `hf auth login` with a token that has write access",
            403: f"your token may not write to {repo_id}: use one with write access, or another id",
        }.get(status, f"the Hub answered {status}: {str(error).strip().splitlines()[0]}")
        raise InputError(f"{reason}; {what_next}") from error
    except (HTTPError, OSError, RuntimeError) as error:
        # The client wraps what broke off an upload in a RuntimeError.
        if isinstance(error, RuntimeError) and not isinstance(error.__cause__, (HTTPError, OSError)):
            raise
        reason = f"{error} {error.__cause__}" if isinstance(error, RuntimeError) else str(error)
        raise InputError(f"the connection to the Hub failed ({reason}); {what_next}") from error
