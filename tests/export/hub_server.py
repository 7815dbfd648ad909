"""A server that does as the Hub of Hugging Face does, as far as uploads need it."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class Hub(BaseHTTPRequestHandler):
    """Keeps what it is given in the server's `asked`; refuses with its `refusal`, a status and an answer."""

    def do_POST(self) -> None:
        length = self.headers["Content-Length"]
        body = self.rfile.read(int(length)) if length else self._chunks()
        hub: Any = self.server
        hub.asked.append((self.path, self.headers["Authorization"], body))
        status, answer = hub.refusal or (200, self._answer(body))
        content = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

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
    server.asked, server.refusal = [], None
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
