"""A web server on this machine that does what a test asks of it."""

from __future__ import annotations

import http.server
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager


class Server(http.server.ThreadingHTTPServer):
    """Answers every request by `script`, and keeps what was asked for."""

    daemon_threads = True
    script: Callable[[http.server.BaseHTTPRequestHandler, int], None]

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.asked: list[str] = []
        self.release = threading.Event()

    @property
    def address(self) -> str:
        """Of a file on it."""
        return f"http://127.0.0.1:{self.server_address[1]}/weights.pth"

    def handle_error(self, request, client_address) -> None:
        """Clients that hang up are what these tests are about."""


class Handler(http.server.BaseHTTPRequestHandler):
    """Passes every request on to the server's script."""

    def do_GET(self) -> None:
        self.server.asked.append(self.headers.get("Range", ""))
        self.server.script(self, len(self.server.asked))

    def do_HEAD(self) -> None:
        self.do_GET()

    def log_message(self, *_: object) -> None:
        """Nothing on the terminal."""


@contextmanager
def serving() -> Iterator[Server]:
    """A running server."""
    with Server() as running:
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield running
        running.release.set()
        running.shutdown()
        thread.join()


def send(request, body, *, stop_after=None, etag='"one"', kind="application/octet-stream"):
    """Answer as a decent server does; `stop_after` bytes the connection ends."""
    asked = request.headers.get("Range", "")
    begun = int(asked.removeprefix("bytes=").removesuffix("-")) if asked else 0
    if request.headers.get("If-Range") not in (None, etag):
        begun = 0
    if begun >= len(body):
        request.send_response(416)
        request.send_header("Content-Length", "0")
        request.send_header("Content-Range", f"bytes */{len(body)}")
        request.end_headers()
        return
    request.send_response(206 if begun else 200)
    request.send_header("Content-Length", str(len(body) - begun))
    request.send_header("Content-Type", kind)
    if etag:
        request.send_header("ETag", etag)
    request.end_headers()
    request.wfile.write(body[begun:][:stop_after])
    request.close_connection = True
