"""A Hub that accepts a connection and never answers ends in one clear error, whatever was asked of it."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path
from threading import Thread

import pytest

from lesions import hub
from lesions.faults import InputError


@pytest.fixture
def silent(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The Hub's client asks a server that takes every connection and says nothing."""
    from huggingface_hub import constants

    taken: list[socket.socket] = []
    with socket.create_server(("127.0.0.1", 0)) as server:

        def accept() -> None:
            try:
                while True:
                    taken.append(server.accept()[0])
            except OSError:  # the test is over
                pass

        Thread(target=accept, daemon=True).start()
        monkeypatch.setattr(constants, "ENDPOINT", f"http://127.0.0.1:{server.getsockname()[1]}")
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        monkeypatch.setattr(hub, "SILENCE", 0.2)
        yield
        for connection in taken:
            connection.close()


@pytest.mark.usefixtures("silent")
def test_a_silent_hub_ends_in_one_clear_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"the connection to the Hub failed \(.*timed out"):
        hub.check_access(hub.Destination("you/model", token="hf_x"))
    with pytest.raises(InputError, match="there is no folder you/model, and"):
        hub.local_folder("you/model", "model")
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(InputError, match="the connection to the Hub failed"):
        hub.push_folder(hub.Destination("you/model", token="hf_x"), tmp_path, ["config.json"], "message")
