"""A web server on loopback that can be as bad as the real ones."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Server(ThreadingHTTPServer):
    """Serves `files`; `asked` are the paths and Range headers that came."""

    daemon_threads = False

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.files: dict[str, bytes] = {}
        self.asked: list[tuple[str, str]] = []
        self.failures: list[int] = []  # status codes for the next requests; 0: cut the content in the middle
        self.ranges = True
        self.types: dict[str, str] = {}  # media types of files
        self.guard: Callable[[str, Message], tuple[int, str, bytes] | None] = lambda path, headers: None
        """May answer instead, by the path and what the head of the request says: status, challenge, content."""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class _Handler(BaseHTTPRequestHandler):
    def do_HEAD(self) -> None:
        server = self.server
        assert isinstance(server, Server)
        if (other := server.guard(self.path, self.headers)) is not None:
            self._answer(*other)
        else:
            self._answer(200 if self.path in server.files else 404, "", b"")

    def do_POST(self) -> None:
        """As registries begin an upload, under an address that is not whole."""
        server = self.server
        assert isinstance(server, Server)
        self._take()
        if (other := server.guard(self.path, self.headers)) is not None:
            self._answer(*other)
            return
        self.send_response(202)
        self.send_header("Location", f"{self.path}7?state=x")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def do_PUT(self) -> None:
        server = self.server
        assert isinstance(server, Server)
        content = self._take()
        if (other := server.guard(self.path, self.headers)) is not None:
            self._answer(*other)
            return
        path, _, digest = self.path.partition("uploads/7?state=x&digest=")
        server.files[path + digest] = content
        if "/manifests/" in path:
            server.types[path] = self.headers.get("Content-Type", "")
        self._answer(201, "", b"")

    def _take(self) -> bytes:
        return self.rfile.read(int(self.headers.get("Content-Length", "0")))

    def do_GET(self) -> None:
        server = self.server
        assert isinstance(server, Server)
        wanted = self.headers.get("Range", "")
        server.asked.append((self.path, wanted))
        if (other := server.guard(self.path, self.headers)) is not None:
            self._answer(*other)
            return
        failure = server.failures.pop(0) if server.failures else 200
        content = server.files.get(self.path)
        if failure >= 400 or content is None:
            self.send_error(failure if failure >= 400 else 404)
            return
        start = 0
        if wanted and server.ranges:
            start = int(wanted.removeprefix("bytes=").rstrip("-"))
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(content) - start))
        if self.path in server.types:
            self.send_header("Content-Type", server.types[self.path])
        self.end_headers()
        part = content[start:]
        self.wfile.write(part[: len(part) // 2] if failure == 0 else part)

    def _answer(self, status: int, more: str, content: bytes) -> None:
        self.send_response(status)
        if more:
            self.send_header("Location" if status == 307 else "WWW-Authenticate", more)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: object) -> None:
        """Not of interest."""


@contextmanager
def serving() -> Iterator[Server]:
    with Server() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()
