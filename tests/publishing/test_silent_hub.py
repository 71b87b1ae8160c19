"""A Hub that accepts a connection and never answers ends in one clear error, whatever was asked of it."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from threading import Event, Thread

import pytest
from conftest import ROOT
from stand_in import StandIn

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
    with pytest.raises(InputError, match="you/model is not a folder, and"):
        hub.local_folder("you/model", "model")
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(InputError, match="the connection to the Hub failed"):
        hub.push_folder(hub.Destination("you/model", token="hf_x"), tmp_path, ["config.json"], "message")


LOADING = """
import signal
from lesions import hub
from lesions.faults import exits_cleanly
hub.SILENCE = 600
signal.signal(signal.SIGINT, signal.default_int_handler)  # a test in the background inherits that it is ignored

@exits_cleanly
def main():
    hub.local_folder("you/model", "model")

main()
"""


def test_ctrl_c_ends_a_download_at_once(tmp_path: Path) -> None:
    """The Hub lists two files, and is silent when they are asked for: threads of the client wait for them."""

    class Silent(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: object) -> None: ...

        def do_GET(self) -> None:
            self.server.requests.append(self.path)
            if "/resolve/" in self.path:
                over.wait()
            names = ("config.json", "model.safetensors")
            files = [{"type": "file", "path": name, "size": 3, "oid": "0" * 40} for name in names]
            about = {"id": "you/model", "sha": "0" * 40, "siblings": [{"rfilename": name} for name in names]}
            content = json.dumps(files if "/tree/" in self.path else about).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_HEAD = do_GET

    over, server = Event(), StandIn(Silent)
    environment = {
        "HF_ENDPOINT": server.url,
        "HF_HOME": str(tmp_path),
        "HF_HUB_OFFLINE": "0",
        "HF_HUB_DISABLE_XET": "1",
    }
    pipes: dict[str, int] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(
        [sys.executable, "-c", LOADING], cwd=ROOT, env={**os.environ, **environment}, text=True, **pipes
    ) as process:
        while not any("/resolve/" in path for path in server.requests):
            assert process.poll() is None
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        told = process.communicate(timeout=60)[1]  # the Hub would be silent for ten minutes
    over.set()
    server.shutdown()
    assert process.returncode == 130 and "interrupted; run the same command again" in told
    assert "Traceback" not in told
