"""A primary and its replica under real sentinels: when the one dies, the other takes its place."""

from __future__ import annotations

import contextlib
import subprocess
import time
from collections.abc import Callable, Iterator
from functools import partial

from tests.server import START_S, Server, binary

SERVICE = "presence"


class Sentinel(Server):
    """One sentinel; it looks after a primary as soon as it is started."""

    def __init__(self, primary: Server, quorum: int) -> None:
        super().__init__(tcp=True)
        watch = (
            f"sentinel monitor {SERVICE} 127.0.0.1 {primary.port} {quorum}",
            f"sentinel down-after-milliseconds {SERVICE} 500",
            f"sentinel failover-timeout {SERVICE} 2000",
        )
        settings = (
            *(f"port {self.port}", "bind 127.0.0.1", f"dir {self.folder}", "protected-mode no"),
            f"logfile {self.log_path}",
        )
        self._settings = self.folder / "sentinel.conf"  # which it rewrites
        self._settings.write_text("\n".join([*settings, *watch]) + "\n")

    def start(self) -> Server:
        self._process = subprocess.Popen(
            [binary(), str(self._settings), "--sentinel"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        deadline = time.monotonic() + START_S
        while not self._answers():
            assert self._process.poll() is None, self.log()
            assert time.monotonic() < deadline, self.log()
            time.sleep(0.005)
        return self


class Guarded:
    """All of them, and the address of the store that they are."""

    def __init__(self, sentinels: int) -> None:
        self.primary = Server("--repl-diskless-sync-delay", "0", tcp=True)
        self.replica = Server("--replicaof", "127.0.0.1", str(self.primary.port), tcp=True)
        self._count = sentinels
        self.sentinels: list[Sentinel] = []

    @property
    def url(self) -> str:
        places = ",".join(f"127.0.0.1:{each.port}" for each in self.sentinels)
        return f"redis+sentinel://{places}/{SERVICE}"

    def start(self) -> None:
        self.primary.start()
        self.replica.start()
        await_that(lambda: b"master_link_status:up" in self.replica.ask("INFO replication"))
        for _ in range(self._count):
            quorum = self._count // 2 + 1
            self.sentinels.append(Sentinel(self.primary, quorum))
            self.sentinels[-1].start()
        for each in self.sentinels:  # who knows no replica has none to put in its place
            await_that(partial(knows, each, self._count))

    def stop(self) -> None:
        for each in (*self.sentinels, self.replica, self.primary):
            each.discard()


def knows(sentinel: Sentinel, count: int) -> bool:
    """Tell whether a sentinel knows the replica and all others of its kind."""
    told = sentinel.ask("INFO sentinel").decode()
    return f"slaves=1,sentinels={count}" in told


def await_that(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + START_S
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


@contextlib.contextmanager
def guarded(sentinels: int = 1) -> Iterator[Guarded]:
    made = Guarded(sentinels)
    try:
        made.start()
        yield made
    finally:
        made.stop()
