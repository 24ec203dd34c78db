"""Serve the built site on this machine, at a free port."""

from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from bigmodel_lab.errors import InputError

PORTS_TRIED = 20
LAST_PORT = 65535


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args) -> None:
        """Say nothing of requests; the terminal shows the address."""


def serve(folder: Path, port: int = 8000) -> None:
    """Serve `folder` on loopback at `port`, or the next free one, until Ctrl-C."""
    if not 1 <= port <= LAST_PORT:
        raise InputError(f"a port from 1 to {LAST_PORT}", got=repr(port), hint="name another: PORT=9000")
    if not (folder / "index.html").is_file():
        raise InputError(
            f"a built site in {folder}", got="no index.html there", hint="build it first: make site, or make book"
        )
    with _server(folder, port) as server:
        print(f"The book is at http://localhost:{server.server_port}/  (Ctrl-C ends this)", flush=True)
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            print("\nstopped")


def _server(folder: Path, port: int) -> ThreadingHTTPServer:
    last = min(port + PORTS_TRIED - 1, LAST_PORT)
    for candidate in range(port, last + 1):
        try:
            return ThreadingHTTPServer(("127.0.0.1", candidate), partial(_Quiet, directory=str(folder)))
        except OSError:
            continue
    raise InputError(f"a free port between {port} and {last}", got="all are taken", hint="name another: PORT=9000")
