"""The page of `gan-transfer watch`: follows a run folder, and is served to this machine alone.

The name that the asker used for this machine is checked too, so that a site that is open in the same browser cannot
read the page by giving itself a name that leads here.
"""

from __future__ import annotations

import contextlib
import os
import socket
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from ..errors import RunError
from .books import GRID, read_books
from .page import live_values, render

HOST = "127.0.0.1"
POLICY = "img-src 'self' data:; connect-src 'self'"
PORTS_TRIED = 50


class WatchServer(ThreadingHTTPServer):
    """Serves one run folder.

    Args:
        folder: of the run.
        port: 0 takes a free one.
    """

    daemon_threads = True
    allow_reuse_address = os.name != "nt"  # there it would let two programs have one port

    def __init__(self, folder: Path, port: int) -> None:
        self.folder = folder
        super().__init__((HOST, port), _Handler)

    @property
    def url(self) -> str:
        """Of the page."""
        return f"http://{HOST}:{self.server_address[1]}/"


def serving(folder: Path, port: int) -> WatchServer:
    """A server for a run folder, bound to its port; closes as a context.

    Raises:
        RunError: it is no run folder, or the port cannot be had.
    """
    read_books(folder)
    try:
        return WatchServer(folder, port)
    except OSError as error:
        advice = f"Next: --port {_free_port(port)}"
        raise RunError(f"port {port} cannot be had ({error.strerror or error}). {advice}") from None


class _Handler(BaseHTTPRequestHandler):
    """Answers GET: the page, what changes in it, and the grids of the run by their names."""

    server: WatchServer

    def do_GET(self) -> None:
        """Answer."""
        if self.headers.get("Host") not in self._hosts():
            self._answer(HTTPStatus.FORBIDDEN, "text/plain", b"only for this machine")
        elif self.path in ("/", "/live"):
            self._page("watch.html" if self.path == "/" else "live.html")
        elif self.path.startswith("/pictures/"):
            self._picture(self.path.removeprefix("/pictures/"))
        else:
            self._answer(HTTPStatus.NOT_FOUND, "text/plain", b"not here")

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing of each request."""

    def _hosts(self) -> set[str]:
        port = self.server.server_address[1]
        return {f"{name}:{port}" for name in (HOST, "localhost")}

    def _page(self, template: str) -> None:
        try:
            page = render(template, live_values(self.server.folder), POLICY)
        except RunError as error:  # the folder has gone
            self._answer(HTTPStatus.GONE, "text/plain; charset=utf-8", str(error).encode())
            return
        self._answer(HTTPStatus.OK, "text/html; charset=utf-8", page.encode())

    def _picture(self, name: str) -> None:
        path = self.server.folder / name
        if not GRID.fullmatch(name) or path.is_symlink() or not path.is_file():
            self._answer(HTTPStatus.NOT_FOUND, "text/plain", b"no such grid")
            return
        self._answer(HTTPStatus.OK, "image/png", path.read_bytes())

    def _answer(self, status: HTTPStatus, kind: str, body: bytes) -> None:
        self.send_response(status)
        for name, value in (
            ("Content-Type", kind),
            ("Content-Length", str(len(body))),
            ("Cache-Control", "no-store"),
            ("X-Content-Type-Options", "nosniff"),
            ("Content-Security-Policy", "frame-ancestors 'none'"),
        ):
            self.send_header(name, value)
        self.end_headers()
        with contextlib.suppress(ConnectionError):  # the reader has gone
            self.wfile.write(body)


def _free_port(port: int) -> int:
    """The next port that is free; 0, which stands for any, where none of the next ones is."""
    for other in range(port + 1, min(port + PORTS_TRIED, 65536)):
        with contextlib.suppress(OSError), socket.socket() as tried:
            tried.bind((HOST, other))
            return other
    return 0
