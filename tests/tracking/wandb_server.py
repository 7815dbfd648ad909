"""A stand-in for a W&B server on the loopback device: it answers what a stage asks, until told otherwise."""

from __future__ import annotations

import gzip
import json
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Literal

from wandb_models import Published, answer, content

FILE = {"id": "f", "uploadUrl": "", "uploadHeaders": []}


class Server(ThreadingHTTPServer):
    """Notes each request, and answers unless `state` says otherwise.

    `silent` takes requests and answers none; `busy` does so with files until asked whether it is there.
    """

    daemon_threads = True
    block_on_close = False
    state: Literal["up", "busy", "silent", "down"] = "up"

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.queries: list[tuple[str, dict[str, Any]]] = []
        """GraphQL operations with their variables."""
        self.streamed: list[dict[str, Any]] = []
        """What arrived in the runs' streams."""
        self.stored: dict[str, bytes] = {}
        """Uploaded files by path."""
        self.models: list[Published] = []
        """Models that earlier runs have logged."""
        self.on_silence: Callable[[], object] = lambda: None
        """Called when a request is left without an answer."""
        self.released = threading.Event()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def stop(self) -> None:
        """Ends as a server that is killed: nothing listens any more, open connections are cut."""
        self.state = "down"
        self.released.set()
        self.shutdown()
        self.server_close()

    def operations(self) -> list[str]:
        return [name for name, _ in self.queries]

    def answer(self, name: str, given: dict[str, Any]) -> dict[str, Any]:
        if (found := answer(self.models, name, given, self.url)) is not None:
            return found
        file = {**FILE, "uploadUrl": f"{self.url}/stored/{name}/{len(self.queries)}"}
        run = {
            "id": "b",
            "name": given.get("name"),
            "displayName": "d",
            "config": "{}",
            "historyLineCount": 0,
        }
        owner = {"id": "p", "name": "p", "entity": {"id": "e", "name": "e"}}
        match name:
            case "Viewer":
                teams: dict[str, Any] = {"edges": []}
                return {"viewer": {"id": "u", "entity": "e", "username": "e", "teams": teams, "flags": "{}"}}
            case "UpsertBucket":
                return {"upsertBucket": {"bucket": {**run, "project": owner}, "inserted": True}}
            case "ArtifactType":
                return {"project": {"artifact": None, "artifactCollectionMembership": None}}
            case "CreateRunFiles":
                files = [{"name": one, "uploadUrl": f"{self.url}/stored/{one}"} for one in given["files"]]
                return {"createRunFiles": {"runID": "b", "uploadHeaders": [], "files": files}}
            case "CreateArtifact":
                made = {
                    "id": "a",
                    "state": "PENDING",
                    "artifactSequence": {"id": "s", "latestArtifact": None},
                }
                return {"createArtifact": {"artifact": made}}
            case "CreateArtifactManifest" | "UpdateArtifactManifest":
                field = name[0].lower() + name[1:]
                return {field: {"artifactManifest": {"id": "m", "file": file}}}
            case "CreateArtifactFiles":
                nodes = [
                    {
                        "node": {
                            **file,
                            "storagePath": None,
                            "uploadMultipartUrls": None,
                            "artifact": {"id": "a"},
                        }
                    }
                    for _ in given["input"]["artifactFiles"]
                ]
                return {"createArtifactFiles": {"files": {"edges": nodes}}}
            case "CommitArtifact":
                return {"commitArtifact": {"artifact": {"id": "a", "digest": "d"}}}
            case "ServerFeaturesQuery":
                return {"serverInfo": {"features": []}}
        return {}


@contextmanager
def serving() -> Iterator[Server]:
    server = Server()
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.stop()
        thread.join()


class _Handler(BaseHTTPRequestHandler):
    server: Server

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if self.headers.get("Content-Encoding") == "gzip":
            body = gzip.decompress(body)
        if self.server.state == "silent" or (self.server.state == "busy" and self.command == "PUT"):
            self.server.on_silence()
            self.server.released.wait()
        if self.server.state in ("silent", "down"):
            self.close_connection = True
            return
        reply: dict[str, Any] = {}
        if self.command == "GET" and (file := content(self.server.models, self.path)) is not None:
            self._send(file)
            return
        if self.path == "/graphql":
            asked = json.loads(body)
            found = re.search(r"(?:query|mutation) +(\w+)", asked["query"])
            name, variables = found.group(1) if found else "", asked.get("variables") or {}
            self.server.queries.append((name, variables))
            if not name and self.server.state == "busy":
                self.server.released.set()
            reply = {"data": self.server.answer(name, variables)}
        elif self.path.endswith("/file_stream"):
            self.server.streamed.append(json.loads(body))
        else:
            self.server.stored[self.path] = body
        self._send(json.dumps(reply).encode())

    do_GET = do_PUT = do_POST

    def _send(self, text: bytes) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""
