"""A model hub on loopback: repositories from folders, every request noted, and faults by the names of repositories.

A repository is a folder ``<root>/models/<owner>/<name>`` or ``<root>/datasets/<owner>/<name>``. Its commit is a digest of its content, its
one branch is ``main``. What a name holds makes the fault:

    gated     its page is open, its files are not (401)
    refused   403 for everything
    down      503 for everything
    dropped   the connection closes in the middle of each large file, always
    flaky     the connection closes in the middle of each large file, the first time
    moving    ``main`` is another commit at each look, and every commit is there

A folder that is not there is a repository that does not exist. ``on_loopback`` serves it and points the libraries of this process there.
"""

from __future__ import annotations

import hashlib
import json
import re
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import datasets
import huggingface_hub
import pytest
from huggingface_hub import HfFileSystem, constants, file_download, hf_api
from huggingface_hub.utils import _http

LARGE = 4096
"""Bytes above which a file is one whose transfer can break off."""
API = re.compile(
    r"/api/(?P<kind>models|datasets)/(?P<name>[^/]+/[^/]+)(?:/(?P<what>revision|tree|paths-info)/(?P<at>[^/]+)(?P<sub>/.*)?)?$"
)
FILE = re.compile(r"/(?P<datasets>datasets/)?(?P<name>[^/]+/[^/]+)/resolve/(?P<at>[^/]+)/(?P<file>.+)$")


class FakeHub:
    """What is served, and what was asked for.

    ``requests`` holds a line for each question about a repository, such as ``GET /api/models/owner/name``.
    Where ``down`` is set, 503 is the answer to everything.
    """

    def __init__(self, root: Path, cache: Path) -> None:
        self.root, self.cache, self.url = root, cache, ""
        self.requests: list[str] = []
        self.broken_off: set[str] = set()
        self.looks: dict[str, int] = {}
        self.down = False

    def add(self, name: str, source: Path, kind: str = "models") -> Path:
        """Serve what lies in the folder ``source`` under ``name``; a link, so it may change later."""
        place = self.root / kind / name
        place.parent.mkdir(parents=True, exist_ok=True)
        place.symlink_to(source, target_is_directory=True)
        return place

    def files(self, repository: Path) -> list[Path]:
        return sorted(path for path in repository.rglob("*") if path.is_file())

    def commit(self, repository: Path) -> str:
        """The commit that ``main`` is now."""
        content = hashlib.sha1(repository.name.encode(), usedforsecurity=False)
        for file in self.files(repository):
            content.update(file.relative_to(repository).as_posix().encode() + file.read_bytes())
        if "moving" in repository.name:
            self.looks[repository.name] = self.looks.get(repository.name, 0) + 1
            content.update(str(self.looks[repository.name]).encode())
        return content.hexdigest()

    def has(self, repository: Path, revision: str) -> bool:
        known = revision in ("main", "") or "moving" in repository.name
        return known or revision == self.commit(repository)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    hub: FakeHub

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the name of the overridden method
        pass

    def do_HEAD(self) -> None:
        self.answer()

    def do_GET(self) -> None:
        self.answer()

    def do_POST(self) -> None:
        self.answer(self.rfile.read(int(self.headers.get("Content-Length") or 0)))

    def answer(self, body: bytes = b"") -> None:
        path = self.path.split("?")[0]
        if API.match(path) or FILE.match(path):  # the libraries ask for other things too, at times of their own
            self.hub.requests.append(f"{self.command} {path}")
        if found := API.match(path):
            parts = {name: part or "" for name, part in found.groupdict().items()}
            self.about(self.hub.root / parts["kind"] / parts["name"], parts["what"], parts["at"], parts["sub"].strip("/"), body)
        elif found := FILE.match(path):
            self.file("datasets" if found["datasets"] else "models", found["name"], found["at"], found["file"])
        else:
            self.refuse(404, "unknown")

    def about(self, repository: Path, what: str, at: str, sub: str, body: bytes) -> None:
        """The pages of the interface: what a repository is, what is in it."""
        if self.troubled(repository):
            return
        if not self.hub.has(repository, at):
            self.refuse(404, f"Invalid rev id: {at}", "RevisionNotFound")
        elif what == "tree":
            base = repository / sub
            paths = (
                self.hub.files(base) if "recursive=true" in self.path.lower() else sorted(base.iterdir()) if base.is_dir() else []
            )
            self.send([_entry(repository, path) for path in paths])
        elif what == "paths-info":
            wanted = [repository / path for path in json.loads(body)["paths"]]
            self.send([_entry(repository, path) for path in wanted if path.exists()])
        else:
            sha = at if re.fullmatch("[0-9a-f]{40}", at) else self.hub.commit(repository)
            siblings = [{"rfilename": path.relative_to(repository).as_posix()} for path in self.hub.files(repository)]
            gated, name = "auto" if "gated" in repository.name else False, f"{repository.parent.name}/{repository.name}"
            self.send({"_id": "1", "id": name, "sha": sha, "private": False, "gated": gated, "siblings": siblings, "tags": []})

    def file(self, kind: str, name: str, at: str, file: str) -> None:
        repository = self.hub.root / kind / name
        if self.troubled(repository):
            return
        if "gated" in name:
            self.refuse(401, "Access to model is restricted", "GatedRepo")
            return
        if not self.hub.has(repository, at):
            self.refuse(404, f"Invalid rev id: {at}", "RevisionNotFound")
            return
        sha = at if re.fullmatch("[0-9a-f]{40}", at) else self.hub.commit(repository)
        if not (repository / file).is_file():
            self.refuse(404, "Entry not found", "EntryNotFound", {"X-Repo-Commit": sha})
            return
        data = (repository / file).read_bytes()
        headers = {"ETag": f'"{hashlib.sha256(data).hexdigest()}"', "X-Repo-Commit": sha, "Accept-Ranges": "bytes"}
        asked = re.match(r"bytes=(\d+)-", self.headers.get("Range", ""))
        start = int(asked[1]) if asked else 0
        place = f"{kind}/{name}/{file}"
        breaks = "dropped" in name or ("flaky" in name and place not in self.hub.broken_off)
        if self.command == "GET" and len(data) > LARGE and breaks:
            self.hub.broken_off.add(place)
            self.head(206 if start else 200, len(data) - start, headers)
            self.wfile.write(data[start : start + (len(data) - start) // 2])
            self.close_connection = True
            return
        if start:
            headers["Content-Range"] = f"bytes {start}-{len(data) - 1}/{len(data)}"
        self.send(data[start:], 206 if start else 200, headers)

    def troubled(self, repository: Path) -> bool:
        """Whether the repository answers with nothing but a fault."""
        if self.hub.down or "down" in repository.name:
            self.refuse(503, "Service Unavailable")
        elif "refused" in repository.name:
            self.refuse(403, "Forbidden")
        elif not repository.is_dir():
            self.refuse(404, "Repository not found", "RepoNotFound")
        else:
            return False
        return True

    def refuse(self, status: int, text: str, code: str = "", headers: Mapping[str, str] | None = None) -> None:
        named = {"X-Error-Code": code, "X-Error-Message": text} if code else {}
        self.send({"error": text}, status, {**named, **(headers or {})})

    def send(self, content: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> None:
        data = content if isinstance(content, bytes) else json.dumps(content).encode()
        kind = "application/octet-stream" if isinstance(content, bytes) else "application/json"
        self.head(status, len(data), {"Content-Type": kind, **(headers or {})})
        if self.command != "HEAD":
            self.wfile.write(data)

    def head(self, status: int, length: int, headers: Mapping[str, str]) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(length))
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()


def _entry(repository: Path, path: Path) -> dict[str, Any]:
    data = path.read_bytes() if path.is_file() else b""
    return {
        "type": "file" if path.is_file() else "directory",
        "path": path.relative_to(repository).as_posix(),
        "size": len(data),
        "oid": hashlib.sha1(data, usedforsecurity=False).hexdigest(),
    }


@contextmanager
def on_loopback(folder: Path) -> Iterator[FakeHub]:
    """A hub in ``folder`` that the libraries of this process ask in place of the real one, with an empty cache of its own, until the
    block ends. They do not wait before they try again."""
    hub = FakeHub(folder / "hub", folder / "cache")
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"hub": hub}))
    server.daemon_threads = True
    hub.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        with pytest.MonkeyPatch.context() as patch:
            _point(patch, hub)
            yield hub
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
        huggingface_hub.close_session()
        HfFileSystem.clear_instance_cache()


def offline(patch: pytest.MonkeyPatch) -> None:
    """As with HF_HUB_OFFLINE set."""
    patch.setattr(constants, "HF_HUB_OFFLINE", True)
    patch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    huggingface_hub.close_session()


def _point(patch: pytest.MonkeyPatch, hub: FakeHub) -> None:
    """The environment of this process and of those it starts, and what the libraries read of it when they were imported."""
    home = hub.cache
    environment = {"HF_ENDPOINT": hub.url, "HF_HOME": str(home), "HF_HUB_CACHE": str(home / "hub"), "HF_HUB_OFFLINE": "0"}
    for name, value in environment.items():
        patch.setenv(name, value)
    for name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "HF_DATASETS_CACHE", "HF_DATASETS_OFFLINE"):
        patch.delenv(name, raising=False)
    now = {
        "ENDPOINT": hub.url,
        "HUGGINGFACE_CO_URL_TEMPLATE": hub.url + "/{repo_id}/resolve/{revision}/{filename}",
        "HF_HUB_CACHE": str(home / "hub"),
        "HF_TOKEN_PATH": str(home / "token"),
        "HF_HUB_OFFLINE": False,
        "HF_HUB_DISABLE_TELEMETRY": True,
    }
    for name, value in now.items():
        patch.setattr(constants, name, value)
    patch.setattr(hf_api.api, "endpoint", hub.url)
    theirs = {
        "HF_ENDPOINT": hub.url,
        "HF_CACHE_HOME": str(home),
        "HF_DATASETS_CACHE": home / "datasets",
        "DOWNLOADED_DATASETS_PATH": home / "datasets" / "downloads",
        "HF_MODULES_CACHE": home / "modules",
        "HF_HUB_OFFLINE": False,
        "HF_UPDATE_DOWNLOAD_COUNTS": False,
    }
    for name, value in theirs.items():
        patch.setattr(datasets.config, name, value)
    impatient = SimpleNamespace(**{**vars(time), "sleep": lambda seconds: None})
    patch.setattr(file_download, "time", impatient)
    patch.setattr(_http, "time", impatient)
    huggingface_hub.close_session()
    HfFileSystem.clear_instance_cache()
