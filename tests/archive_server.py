"""A stand-in on loopback for the archives that hold HAM10000: files with ranges, JSON, and all that goes wrong."""

from __future__ import annotations

import json
import threading
import time
from collections import Counter
from http.server import BaseHTTPRequestHandler
from typing import Any

from stand_in import StandIn


class ArchiveServer(StandIn):
    """Serves `files` (bytes, whole or a range of them) and `answers` (JSON) by path with query.

    `cuts`, `busy` and `refused` say how often, or with which status, a path fails; of `dripping` paths a byte arrives
    at a time, and those that are `stalled` stop in the middle.
    """

    def __init__(self) -> None:
        super().__init__(_Handler)
        self.files: dict[str, bytes] = {}
        self.answers: dict[str, Any] = {}
        self.redirects: dict[str, str] = {}
        self.cuts: Counter[str] = Counter()  # answers that end in the middle
        self.busy: Counter[str] = Counter()  # answers of 429 before a good one
        self.retry_after = "0"  # which these ask for
        self.dripping: set[str] = set()
        self.stalled: set[str] = set()
        self.refused: dict[str, int] = {}


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: ArchiveServer

    def log_message(self, *_: Any) -> None: ...

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.do_GET()

    def do_GET(self) -> None:
        server, span = self.server, self.headers.get("Range")
        server.requests.append(f"{self.command} {self.path}" + (f" {span}" if span else ""))
        if self.path in server.refused:
            return self._send(server.refused[self.path], b"{}", {})
        if server.busy[self.path] > 0:
            server.busy[self.path] -= 1
            return self._send(429, b"{}", {"Retry-After": server.retry_after})
        if self.path in server.redirects:
            return self._send(303, b"", {"Location": server.redirects[self.path]})
        if self.path in server.answers:
            return self._send(200, json.dumps(server.answers[self.path]).encode(), {"Content-Type": "application/json"})
        if self.path not in server.files:
            return self._send(404, b"{}", {})
        content, status, headers = server.files[self.path], 200, {"Accept-Ranges": "bytes"}
        if span:
            start = int(span.removeprefix("bytes=").removesuffix("-"))
            if start >= len(content):
                return self._send(416, b"", {"Content-Range": f"bytes */{len(content)}"})
            headers["Content-Range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
            content, status = content[start:], 206
        self._send(status, content, headers)

    def _send(self, status: int, content: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in {"Content-Type": "application/octet-stream", **headers}.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if status in (200, 206) and self.server.cuts[self.path] > 0:
            self.server.cuts[self.path] -= 1
            content = content[: len(content) // 2]
            self.close_connection = True
        if self.path in self.server.stalled:
            self.wfile.write(content[: len(content) // 2])
            self.wfile.flush()
            threading.Event().wait()
        if self.path in self.server.dripping:
            for byte in content:
                self.wfile.write(bytes([byte]))
                self.wfile.flush()
                time.sleep(0.05)
            return
        self.wfile.write(content)
        self.wfile.flush()
        if self.close_connection:
            self.connection.close()
