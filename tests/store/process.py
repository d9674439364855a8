"""Hubs on an embedded store as processes of their own, and what the kernel tells of servers.

Linux only: it reads /proc, so as to ask no server whether it is alone.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

from lifesigns.store import embedded

# Generous: what is waited for takes milliseconds on an idle machine, and a loaded one must not
# fail.
PATIENCE_S = 60.0

# On uvloop if it is there, as hubs run; the tests' own process is on asyncio's loop.
HUB = """
    import asyncio, pathlib, sys
    from lifesigns.store.embedded import EmbeddedStore

    try:
        from uvloop import new_event_loop
    except ImportError:
        new_event_loop = None

    store = EmbeddedStore(pathlib.Path(sys.argv[1]))
    print("ready", flush=True)
    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        for line in sys.stdin:
            runner.run(getattr(store, line.strip())())
            print(store.how, flush=True)
"""

# Joins and leaves again and again, and counts in the store what it did; at last it is killed.
RESTLESS_HUB = """
    import asyncio, os, pathlib, random, signal, sys, time
    import redis
    from redis.backoff import NoBackoff
    from redis.retry import Retry
    from lifesigns.store.embedded import EmbeddedStore

    async def visit(last):
        store = EmbeddedStore(pathlib.Path(sys.argv[1]))
        await store.start()
        # Tries nothing twice: what the server refuses or forgets is to be seen.
        peer = redis.UnixDomainSocketConnection(path=str(store.socket), retry=Retry(NoBackoff(), 0))
        for _ in range(2):
            peer.send_command("INCR", "visits")
            peer.read_response()
            time.sleep(random.random() / 100)
        peer.disconnect()
        if last:
            os.kill(os.getpid(), signal.SIGKILL)
        await store.stop()

    print("ready", flush=True)
    rounds = int(sys.stdin.readline())
    for number in range(rounds):
        asyncio.run(visit(number == rounds - 1))
"""


class Hub:
    """A hub in a process of its own, in a process group of its own, that does as it is told."""

    def __init__(self, folder: Path, script: str = HUB) -> None:
        source = str(Path(embedded.__file__).parents[2])
        self.process = subprocess.Popen(
            [sys.executable, "-c", textwrap.dedent(script), str(folder)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,
            env=os.environ | {"PYTHONPATH": source},
        )

    def tell(self, word: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(word.encode() + b"\n")
        self.process.stdin.flush()

    def hear(self) -> str:
        assert self.process.stdout is not None
        assert select.select([self.process.stdout], [], [], PATIENCE_S)[0]
        return self.process.stdout.readline().decode().strip()

    def do(self, word: str) -> str:
        self.tell(word)
        return self.hear()

    def kill(self, number: int = signal.SIGKILL) -> None:
        os.killpg(self.process.pid, number)
        self.process.wait(PATIENCE_S)


def servers(folder: Path) -> list[int]:
    """Find the servers that work in a folder or below it, by the kernel's word alone."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            here = entry.name.isdigit() and (entry / "cwd").readlink().is_relative_to(folder)
            if here and (entry / "exe").readlink().name == "valkey-server":
                found.append(int(entry.name))
        except OSError:
            continue
    return found


def sockets_of(pid: int) -> set[str]:
    found = set()
    for entry in Path(f"/proc/{pid}/fd").iterdir():
        # The connection of whoever asked last may just be closing.
        with contextlib.suppress(FileNotFoundError):
            found.add(os.readlink(entry))
    return found


def tcp_sockets() -> set[str]:
    tables = [path for name in ("tcp", "tcp6") if (path := Path("/proc/net", name)).exists()]
    rows = [row.split() for table in tables for row in table.read_text().splitlines()]
    return {f"socket:[{row[9]}]" for row in rows}
