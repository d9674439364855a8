"""A real hub of the tests' own: in this process on the test's loop, or as a process.

Both listen on a free loopback port, take ``ROOT_KEY`` as their root key, and have ended when their
block is left, whatever became of the test.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import signal
import sys
import time
from asyncio.subprocess import DEVNULL, Process
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import httpx

import lifesigns
from lifesigns.config import Config
from lifesigns.node.hub import Hub, open_hub
from lifesigns.store.address import Address
from lifesigns.store.embedded import EmbeddedStore
from lifesigns.web.server import Server, listen
from tests.patience import SOON_S, until
from tests.store.process import servers

ROOT_KEY = "the-root-key-of-the-tests"
SOURCE = Path(lifesigns.__file__).parents[1]


class Reachable:
    """Where a hub listens, and how to ask it."""

    def __init__(self, url: str, key: str) -> None:
        self.url = url
        self.key = key

    @property
    def ws_url(self) -> str:
        return f"ws{self.url.removeprefix('http')}/v1/connect"

    def client(self, key: str | None = None, **options: Any) -> httpx.AsyncClient:
        """Open an HTTP client that shows a key, the root key unless told; ``""`` shows none."""
        key = self.key if key is None else key
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        headers |= options.pop("headers", {})
        # Nothing of TLS is loaded, which would take longer than the hub itself.
        options = {"timeout": SOON_S, "trust_env": False, "verify": False} | options
        return httpx.AsyncClient(base_url=self.url, headers=headers, **options)


class RunningHub(Reachable):
    """A hub in this process; ``hub`` are its parts."""

    def __init__(self, url: str, key: str, hub: Hub) -> None:
        super().__init__(url, key)
        self.hub = hub


@contextlib.asynccontextmanager
async def running_hub(store_url: str, **settings: Any) -> AsyncIterator[RunningHub]:
    """Run a hub on the test's loop, as ``node.run`` does; ``settings`` are fields of Config."""
    own = {"redis": store_url, "port": 0, "admin_key": ROOT_KEY}
    async with contextlib.AsyncExitStack() as stack:
        folder = stack.enter_context(TemporaryDirectory(prefix="ls-hub-"))
        config = Config(**{**own, "data_dir": Path(folder), **settings})
        hub = await stack.enter_async_context(open_hub(config, Address.parse(store_url), None))
        if config.auth:
            now_ms = time.time_ns() // 1_000_000
            await hub.registry.ensure_root(config.admin_key, None, now_ms=now_ms)
            await hub.gate.recheck()
        ready = asyncio.Event()

        async def listening() -> None:
            ready.set()

        # On loopback even if its host is another: that only tells the hub what to believe of it.
        with listen("127.0.0.1", config.port) as listener:
            host, port = listener.getsockname()[:2]
            server = Server(hub.site, hub.lobby, listening)
            serving = asyncio.create_task(server.serve(sockets=[listener]), name="server")
            try:
                async with asyncio.timeout(SOON_S):
                    await ready.wait()
                yield RunningHub(f"http://{host}:{port}", config.admin_key or "", hub)
            finally:
                server.go()
                await serving


class HubProcess(Reachable):
    """A hub as `lifesigns serve` runs it, signalled through its own handle only."""

    def __init__(self, process: Process, folder: Path) -> None:
        super().__init__("", ROOT_KEY)
        self.process = process
        self._folder = folder

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def output(self) -> str:
        """What it has told whoever started it so far."""
        return (self._folder / "stdout").read_text()

    @property
    def log(self) -> str:
        """What it has logged so far."""
        return (self._folder / "stderr").read_text()

    @property
    def _ended(self) -> bool:
        return self.process.returncode is not None

    async def ready(self) -> None:
        """Return when it listens."""
        await until(lambda: "\nready\n" in self.output or self._ended)
        assert not self._ended, f"the hub ended:\n{self.output}{self.log}"
        found = re.search(r"^hub \S+: (http\S+)$", self.output, re.MULTILINE)
        assert found is not None
        self.url = found[1]

    async def terminate(self) -> int:
        """Ask it to go, and answer its exit code when it has gone."""
        return await self._end(signal.SIGTERM)

    async def kill(self) -> int:
        """End it at once, as a crash would; an embedded store lives on for the next hub."""
        return await self._end(signal.SIGKILL)

    async def _end(self, number: int) -> int:
        if not self._ended:
            self.process.send_signal(number)
        async with asyncio.timeout(SOON_S):
            return await self.process.wait()


@contextlib.asynccontextmanager
async def hub_process(
    store: Path | str, *flags: str, env: Mapping[str, str] | None = None
) -> AsyncIterator[HubProcess]:
    """Run a hub on an embedded store in a folder, or on the store at a URL.

    An embedded store that a killed hub left behind ends with the last block on it.
    """
    place = ("--data-dir", str(store)) if isinstance(store, Path) else ("--redis", store)
    inherited = {k: v for k, v in os.environ.items() if not k.startswith("LIFESIGNS_")}
    named = {"PYTHONPATH": str(SOURCE), "LIFESIGNS_ADMIN_KEY": ROOT_KEY, **(env or {})}
    with TemporaryDirectory(prefix="ls-hub-") as name, contextlib.ExitStack() as stack:
        folder = Path(name)
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "lifesigns", "serve", *place, "--port", "0", *flags),
            stdin=DEVNULL,
            stdout=stack.enter_context((folder / "stdout").open("wb")),
            stderr=stack.enter_context((folder / "stderr").open("wb")),
            env=inherited | named,
            start_new_session=True,  # Ctrl-C is for pytest, which then ends it in order
        )
        hub = HubProcess(process, folder)
        try:
            await hub.ready()
            yield hub
        finally:
            try:
                await hub.terminate()
            finally:
                await hub.kill()
            if isinstance(store, Path) and servers(store):
                embedded = EmbeddedStore(store)  # whoever leaves as the last one ends the server
                await embedded.start()
                await embedded.stop()
