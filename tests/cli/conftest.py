"""The command line as a user meets it: in this process, or in one of its own."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[2] / "src"
# A start of Python takes 0.3 s on an idle machine, and a loaded one must not fail.
END_S = 60

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(autouse=True)
def no_settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Let no setting of whoever runs the tests, and no data of theirs, reach a test."""
    for name in list(os.environ):
        if name.startswith("LIFESIGNS_") and not name.startswith("LIFESIGNS_TEST_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))


@pytest.fixture
def lifesigns() -> Run:
    """Run the command in a process: ``lifesigns("serve", "--port", "x", LIFESIGNS_AUTH="off")``."""

    def run(*args: str, prefix: tuple[str, ...] = (), **variables: str) -> object:
        return subprocess.run(
            [*prefix, sys.executable, "-m", "lifesigns", *args],
            env={**os.environ, "PYTHONPATH": str(SOURCE), **variables},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=END_S,
            check=False,
        )

    return run  # type: ignore[return-value]


@dataclass
class Asked:
    """One request, as it came over the wire."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes


@dataclass
class Peer:
    """Something that speaks HTTP and answers whatever it was told to."""

    port: int = 0
    status: int = 200
    answer: bytes = b"{}"
    asked: list[Asked] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"


@contextmanager
def _serving(peer: Peer) -> Iterator[None]:
    class Handler(BaseHTTPRequestHandler):
        def handle_any(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            headers = {name.lower(): value for name, value in self.headers.items()}
            peer.asked.append(Asked(self.command, self.path, headers, body))
            self.send_response(peer.status)
            self.send_header("Content-Length", str(len(peer.answer)))
            self.end_headers()
            self.wfile.write(peer.answer)

        do_GET = do_POST = do_DELETE = handle_any

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    peer.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture
def peer() -> Iterator[Peer]:
    made = Peer()
    with _serving(made):
        yield made
