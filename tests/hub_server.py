"""A stand-in for the Hub on loopback that speaks its protocol, for the real huggingface_hub client."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from typing import Any
from urllib.parse import unquote, urlsplit

from stand_in import StandIn

GOOD_TOKEN, READ_ONLY_TOKEN = "hf_writer", "hf_reader"
LARGE = (".safetensors", ".parquet", ".png", ".onnx", ".gz", ".jpg")
REPOSITORY = r"/api/(?P<kind>models|datasets|spaces)/(?P<id>[^/]+/[^/]+)"


@dataclass
class Repository:
    files: dict[str, bytes] = field(default_factory=dict)
    commits: list[str] = field(default_factory=lambda: ["0" * 40])  # newest last
    private: bool = False
    sdk: str | None = None  # of a Space
    branches: dict[str, Repository] = field(default_factory=dict)  # those besides main
    tags: dict[str, str] = field(default_factory=dict)  # commits
    pull_requests: list[dict[str, bytes]] = field(default_factory=list)  # files

    def at(self, revision: str) -> Repository:
        return self.branches.get(revision, self)


class HubServer(StandIn):
    """Serves repositories from memory. `drop_uploads` uploads are cut off in the middle before one succeeds, and
    commits get the `commit_answers` before one succeeds: a status, or None to commit and answer nothing. `meanwhile`
    is called before each commit.
    """

    def __init__(self) -> None:
        super().__init__(_Handler)
        self.repositories: dict[str, Repository] = {}
        self.large_files: dict[str, bytes] = {}  # by sha256
        self.drop_uploads = 0
        self.commit_answers: list[int | None] = []
        self.meanwhile: Callable[[], None] = lambda: None


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: HubServer

    def log_message(self, *_: Any) -> None: ...

    def do_POST(self) -> None:
        path = self._note_request()
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if path == "/api/validate-yaml":
            return self._answer({"errors": [], "warnings": []})
        token = self.headers.get("Authorization", "").removeprefix("Bearer ")
        if token not in (GOOD_TOKEN, READ_ONLY_TOKEN):
            return self._answer({"error": "Invalid username or password."}, 401)
        if token == READ_ONLY_TOKEN:
            return self._answer({"error": "Forbidden: you need write access"}, 403)
        if path == "/api/repos/create":
            return self._create(json.loads(body))
        if found := re.fullmatch(r"/(?:datasets/|spaces/)?(?P<id>[^/]+/[^/]+)\.git/info/lfs/objects/batch", path):
            return self._plan_uploads(json.loads(body))
        if found := re.fullmatch(REPOSITORY + "/(?P<what>preupload|commit|branch|tag)/(?P<revision>[^/]+)", path):
            repository, revision = self.server.repositories[found["id"]], found["revision"]
            if found["what"] == "preupload":
                return self._preupload(repository.at(revision).files, json.loads(body))
            if found["what"] == "commit":
                return self._commit(found["id"], revision, body)
            if found["what"] == "branch":
                known = revision in repository.branches
                here = Repository(dict(repository.files), list(repository.commits))
                repository.branches.setdefault(revision, here)
                return self._answer({}, 409 if known else 200)
            repository.tags[json.loads(body)["tag"]] = revision
            return self._answer({})
        self._answer({"error": f"not spoken here: {path}"}, 404)

    def do_DELETE(self) -> None:
        found = re.fullmatch(REPOSITORY + "/tag/(?P<tag>[^/]+)", self._note_request())
        assert found
        del self.server.repositories[found["id"]].tags[found["tag"]]
        self._answer({})

    def do_PUT(self) -> None:
        oid = self._note_request().rsplit("/", 1)[-1]
        length = int(self.headers["Content-Length"])
        if self.server.drop_uploads:
            self.server.drop_uploads -= 1
            self.rfile.read(length // 2)
            self.close_connection = True
            self.connection.close()
            return
        content = self.rfile.read(length)
        assert hashlib.sha256(content).hexdigest() == oid
        self.server.large_files[oid] = content
        self._answer({})

    def do_GET(self) -> None:
        path = self._note_request()
        if found := re.fullmatch(
            r"/(?:datasets/|spaces/)?(?P<id>[^/]+/[^/]+)/resolve/(?P<revision>[^/]+)/(?P<file>.+)", path
        ):
            return self._send_file(found["id"], found["file"])
        if path.endswith("/auth-check/write"):
            token = self.headers.get("Authorization", "").removeprefix("Bearer ")
            return self._answer({}, {GOOD_TOKEN: 200, READ_ONLY_TOKEN: 403}.get(token, 401))
        found = re.fullmatch(REPOSITORY + "(?P<rest>/(?:revision|tree)/(?P<revision>[^/]+)|/refs)?", path)
        repository = self.server.repositories.get(found["id"]) if found else None
        if repository is None:
            return self._answer({"error": "Repository not found"}, 404, {"X-Error-Code": "RepoNotFound"})
        repository = repository.at(found["revision"])
        if found["rest"] == "/refs":
            tags = [{"name": n, "ref": f"refs/tags/{n}", "targetCommit": c} for n, c in repository.tags.items()]
            return self._answer({"branches": [], "tags": tags, "converts": []})
        files = [
            {"type": "file", "path": name, "size": len(content), "oid": _git_oid(content)}
            for name, content in repository.files.items()
        ]
        if (found["rest"] or "").startswith("/tree"):
            return self._answer(files)
        siblings = [{"rfilename": file["path"]} for file in files]
        self._answer(
            {"id": found["id"], "sha": repository.commits[-1], "siblings": siblings, "private": repository.private}
        )

    do_HEAD = do_GET

    def _create(self, wanted: dict[str, Any]) -> None:
        name = f"{wanted.get('organization') or 'you'}/{wanted['name']}"
        known = name in self.server.repositories
        self.server.repositories.setdefault(
            name, Repository(private=wanted.get("visibility") == "private", sdk=wanted.get("sdk"))
        )
        self._answer({"url": f"{self.server.url}/{name}", "name": name}, 409 if known else 200)

    def _preupload(self, there: dict[str, bytes], wanted: dict[str, Any]) -> None:
        def mode(file: dict[str, Any]) -> str:
            return (
                "lfs"
                if file["path"].endswith((".safetensors", ".parquet", ".png", ".onnx", ".gz", ".jpg"))
                else "regular"
            )

        def oid(file: dict[str, Any]) -> str | None:
            content = there.get(file["path"])
            if content is None:
                return None
            return hashlib.sha256(content).hexdigest() if mode(file) == "lfs" else _git_oid(content)

        files = wanted["files"]
        self._answer(
            {"files": [{"path": f["path"], "uploadMode": mode(f), "shouldIgnore": False, "oid": oid(f)} for f in files]}
        )

    def _plan_uploads(self, wanted: dict[str, Any]) -> None:
        objects = []
        for item in wanted["objects"]:
            upload = {"upload": {"href": f"{self.server.url}/upload/{item['oid']}", "header": {}}}
            there = item["oid"] in self.server.large_files
            objects.append({**item, "authenticated": True, **({} if there else {"actions": upload})})
        self._answer({"transfer": "basic", "objects": objects})

    def _commit(self, name: str, revision: str, body: bytes) -> None:
        self.server.meanwhile()
        planned = self.server.commit_answers.pop(0) if self.server.commit_answers else 200
        if planned not in (200, None):
            return self._answer({"error": "not now"}, planned)
        whole = self.server.repositories[name]
        repository = whole.at(revision)
        header, *operations = map(json.loads, body.splitlines())
        if header["value"].get("parentCommit", repository.commits[-1]) != repository.commits[-1]:
            return self._answer({"error": "A commit has happened since. Please refresh and try again."}, 412)
        files = dict(repository.files)
        for line in operations:
            if line["key"] == "file":
                files[line["value"]["path"]] = base64.b64decode(line["value"]["content"])
            elif line["key"] == "lfsFile":
                files[line["value"]["path"]] = self.server.large_files[line["value"]["oid"]]
            elif line["key"] == "deletedFile":
                del files[line["value"]["path"]]
        answer = {"commitOid": hashlib.sha1(body).hexdigest(), "success": True}
        answer["commitUrl"] = f"{self.server.url}/{name}/commit/{answer['commitOid']}"
        if "create_pr=1" in self.path:
            whole.pull_requests.append(files)
            answer["pullRequestUrl"] = f"{self.server.url}/{name}/discussions/{len(whole.pull_requests)}"
        else:
            repository.files = files
            repository.commits.append(answer["commitOid"])
        if planned is None:
            self.close_connection = True
            return self.connection.close()
        self._answer(answer)

    def _send_file(self, name: str, file: str) -> None:
        repository = self.server.repositories.get(name)
        if repository is None:
            return self._answer({}, 404, {"X-Error-Code": "RepoNotFound"})
        if file not in repository.files:
            headers = {"X-Error-Code": "EntryNotFound", "X-Repo-Commit": repository.commits[-1]}
            return self._answer({"error": "Entry not found"}, 404, headers)
        content = repository.files[file]
        headers = {"X-Repo-Commit": repository.commits[-1], "ETag": f'"{_git_oid(content)}"', "Accept-Ranges": "bytes"}
        self._send(content, 200, headers)

    def _note_request(self) -> str:
        path = unquote(urlsplit(self.path).path)
        self.server.requests.append(f"{self.command} {path}")
        return path

    def _answer(self, content: Any, status: int = 200, headers: dict[str, str] | None = None) -> None:
        self._send(json.dumps(content).encode(), status, {"Content-Type": "application/json", **(headers or {})})

    def _send(self, content: bytes, status: int, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(content))}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)


def _git_oid(content: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()
