"""A server that does as the Hub of Hugging Face does, as far as uploads and downloads need it."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

SHA = "a" * 40
"""The one revision that there is."""


class Hub(BaseHTTPRequestHandler):
    """Keeps what it is given in the server's `asked`; refuses with its `refusal`, a status and an answer."""

    def do_GET(self) -> None:
        """Answer what a download asks of the server's `repository`, a name and the folder of its files."""
        hub: Any = self.server
        hub.asked.append((self.path, self.headers["Authorization"], b""))
        name, folder = hub.repository
        api, files = f"/api/models/{name}/", f"/{name}/resolve/{SHA}/"
        if self.path.startswith((f"{api}tree/main", f"{api}tree/{SHA}")):
            entries = [
                {"type": "file", "path": path.name, "size": path.stat().st_size, "oid": "0" * 40}
                for path in folder.iterdir()
            ]
            self._send(200, json.dumps(entries).encode())
        elif self.path in (f"{api}revision/main", f"{api}revision/{SHA}"):
            siblings = [{"rfilename": path.name} for path in folder.iterdir()]
            self._send(200, json.dumps({"id": name, "sha": SHA, "siblings": siblings}).encode())
        elif self.path.startswith(files):
            content = (folder / self.path.removeprefix(files)).read_bytes()
            self._send(200, content, {"ETag": f'"{hashlib.sha1(content).hexdigest()}"', "X-Repo-Commit": SHA})
        else:
            fault = "RevisionNotFound" if self.path.startswith(api) else "RepoNotFound"
            self._send(404, b"{}", {"X-Error-Code": fault})

    do_HEAD = do_GET

    def _send(self, status: int, content: bytes, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(content)), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def do_POST(self) -> None:
        length = self.headers["Content-Length"]
        body = self.rfile.read(int(length)) if length else self._chunks()
        hub: Any = self.server
        hub.asked.append((self.path, self.headers["Authorization"], body))
        status, answer = hub.refusal or (200, self._answer(body))
        self._send(status, json.dumps(answer).encode(), {"Content-Type": "application/json"})

    def _chunks(self) -> bytes:
        body = b""
        while size := int(self.rfile.readline(), 16):
            body += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return body

    def _answer(self, body: bytes) -> dict[str, Any]:
        here = "http://{}:{}".format(*self.server.server_address[:2])
        if "preupload" in self.path:
            files = [
                {"path": file["path"], "uploadMode": "regular", "shouldIgnore": False}
                for file in json.loads(body)["files"]
            ]
            return {"files": files}
        if "/commit/" in self.path:
            url = f"{here}/me/shop/commit/{'0' * 40}"
            return {"commitUrl": url, "commitOid": "0" * 40, "success": True}
        return {"url": f"{here}/me/shop", "errors": [], "warnings": []}

    def log_message(self, *_: object) -> None: ...


@contextmanager
def serving() -> Iterator[Any]:
    server: Any = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    server.asked, server.refusal, server.repository = [], None, ("", Path())
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
