"""Serves a folder to the browsers of this machine, and to nobody else."""

from __future__ import annotations

import functools
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from ..errors import RunError
from ..text import reason

HOST = "127.0.0.1"


class Server(ThreadingHTTPServer):
    """The files of a folder at `url`; `serve_forever` answers until `shutdown`."""

    allow_reuse_address = False  # where it is true, Windows gives away a port that is in use
    daemon_threads = True

    @property
    def url(self) -> str:
        """Where a browser finds the page."""
        return f"http://{HOST}:{self.server_port}/"


def server(folder: Path, port: int) -> Server:
    """A server of a folder, bound to 127.0.0.1.

    Args:
        folder: what it shows.
        port: 0 takes a free one.

    Raises:
        RunError: the port is in use or not allowed.
    """
    try:
        return Server((HOST, port), functools.partial(_Handler, directory=str(folder)))
    except OSError as error:
        raise RunError(f"--port {port} of {HOST}: {reason(error)}. Give another --port, or 0 for any") from None


class _Handler(SimpleHTTPRequestHandler):
    # Whatever the machine's registry says: a browser runs modules and WebAssembly of these types only.
    extensions_map = SimpleHTTPRequestHandler.extensions_map | {
        ".mjs": "text/javascript",
        ".wasm": "application/wasm",
        ".css": "text/css",
        ".html": "text/html; charset=utf-8",
    }

    def end_headers(self) -> None:
        """After another `explore` into the same folder, the browser asks anew."""
        self.send_header("Cache-Control", "no-cache")
        self.send_header("X-Content-Type-Options", "nosniff")
        super().end_headers()

    def log_message(self, format: str, *args: object) -> None:
        """A line per request is of no use to anybody."""
