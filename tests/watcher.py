"""A watcher over a real socket: it checks what it is told, and keeps what it was told."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any

import httpx
from websockets.exceptions import ConnectionClosed

from lifesigns.core.codec import JSON, Codec
from lifesigns.core.mirror import Mirror
from lifesigns.core.presence import KIND_NAMES, KINDS, NONE, STATES
from lifesigns.core.roster import Outcome
from lifesigns.hub.turn import CLOCKS
from tests.agent import Agent, connected
from tests.hub import Reachable
from tests.patience import answered, until

Shown = Mapping[str, Any]

PULSE = ("last_seen", "last_pulse")  # other names of clocks, for clients of that API


class Watcher:
    """One watch: its frames, its changes, and the mirror that is fed with them."""

    def __init__(
        self,
        wanted: Mapping[str, Any] | None = None,
        *,
        detail: str = "full",
        codec: Codec = JSON,
        narrow: bool = False,
    ) -> None:
        self.wanted = wanted
        self.narrow = narrow  # hardly anything is on the way to it when it does not read
        self.detail = detail
        self.codec = codec
        self.mirror = Mirror()
        self.frames: list[dict[str, Any]] = []
        self.changes: list[dict[str, Any]] = []
        self.numbers: set[tuple[str, str, int]] = set()
        self.states: dict[str, str] = {}  # of those it was shown, up to the change being checked
        self.resyncs: list[str] = []
        self.coalesced = 0
        self.wrong: list[str] = []  # what no watcher may ever see
        self.socket: Agent | None = None
        self._reads = asyncio.Event()
        self._reads.set()
        self._task: asyncio.Task[None] | None = None
        self._stack = contextlib.AsyncExitStack()

    # Coming and going.

    async def open(self, hub: Reachable, *, since: str | None = None) -> dict[str, Any]:
        """Watch; from the mirror's cursor, if it has been watching before."""
        since = since or self.mirror.cursor
        options = {"sock": narrow_socket(hub), "max_queue": 1} if self.narrow else {}
        self.socket = await self._stack.enter_async_context(
            connected(hub, codec=self.codec, **options)
        )
        await self.socket.say("hello")
        assert (await self.socket.hear())["type"] == "welcome"
        fields = {"filter": self.wanted, "since": since, "detail": self.detail}
        answer = await self.socket.ask(
            "watch", **{name: value for name, value in fields.items() if value is not None}
        )
        assert answer["type"] == "watching", answer
        self.mirror.receive(answer)
        self._task = asyncio.create_task(self._read(self.socket))
        return answer

    async def close(self) -> None:
        """Break off."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
            self._task = None
        await self._stack.aclose()

    def pause(self) -> None:
        """Read no more, so that what the hub writes piles up."""
        self._reads.clear()

    def resume(self) -> None:
        self._reads.set()

    async def _read(self, socket: Agent) -> None:
        with contextlib.suppress(ConnectionClosed):
            while True:
                payload = await socket.socket.recv()
                await self._reads.wait()
                data = payload if isinstance(payload, bytes) else payload.encode()
                self._take(self.codec.decode(data))

    # What it is told.

    def _take(self, frame: dict[str, Any]) -> None:
        self.frames.append(frame)
        if frame["type"] == "resync":
            self.resyncs.append(frame["why"])
        if frame["type"] == "changes":
            self.coalesced += frame.get("coalesced", 0)
            for change in frame["changes"]:
                self._check(change)
        outcome = self.mirror.receive(frame)
        if frame["type"] == "snapshot":
            self.states = {id_: shown["state"] for id_, shown in self.mirror.agents.items()}
        if isinstance(outcome, Outcome):
            self.wrong.append(f"{outcome}: {frame['from']} is not {self.mirror.cursor}")

    def _check(self, change: dict[str, Any]) -> None:
        number = (change["id"], change["epoch"], change["seq"])
        if number in self.numbers:
            self.wrong.append(f"{number} came twice")
        self.numbers.add(number)
        last = next((c for c in reversed(self.changes) if c["id"] == change["id"]), None)
        if last and last["epoch"] == change["epoch"] and last["seq"] > change["seq"]:
            self.wrong.append(f"{number} came after {last['seq']}")
        was = NONE if change["was"] is None else STATES.index(change["was"])
        letter = KINDS[was * 10 + STATES.index(change["state"])]
        kinds = {KIND_NAMES["u" if letter == "=" else letter], "forgotten"}
        if change["kind"] not in kinds:
            self.wrong.append(f"{number} is {change['kind']}, and not {kinds}")
        known = self.states.pop(change["id"], None)
        if known is not None and change["was"] != known:
            self.wrong.append(f"{number} was {change['was']}, and not {known} as was told")
        if change["kind"] != "forgotten" and not change.get("gone"):
            self.states[change["id"]] = change["state"]
        self.changes.append(change)

    async def sees(self, condition: Callable[[], object]) -> None:
        """Wait for something to be told, and find nothing wrong with it."""
        await until(lambda: condition() or self.wrong)
        assert not self.wrong, self.wrong

    async def loaded(self) -> None:
        await self.sees(lambda: not self.mirror.loading)


@contextlib.asynccontextmanager
async def watching(
    hub: Reachable,
    wanted: Mapping[str, Any] | None = None,
    **options: Any,
) -> AsyncIterator[Watcher]:
    """Watch, and have the snapshot."""
    watcher = Watcher(wanted, **options)
    try:
        await watcher.open(hub)
        await watcher.loaded()
        yield watcher
    finally:
        await watcher.close()


def narrow_socket(hub: Reachable) -> socket.socket:
    """Connect with a small window, and with segments that are smaller than that."""
    host, port = hub.url.removeprefix("http://").split(":")
    narrow = socket.socket()
    narrow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8_192)
    narrow.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, 1_000)
    narrow.connect((host, int(port)))
    return narrow


def timeless(shown: Shown) -> dict[str, Any]:
    """Leave the clocks out."""
    return {name: value for name, value in shown.items() if name not in (*CLOCKS, *PULSE)}


async def truth(http: httpx.AsyncClient, *, detail: str = "full") -> dict[str, dict[str, Any]]:
    """Read all agents from the store, without their clocks."""
    query = {"alive": "any", "detail": detail}
    answer = await answered(lambda: http.get("/v1/pulse", params=query))
    assert answer.status_code == 200, answer.text
    return {shown["id"]: timeless(shown) for shown in answer.json()["agents"]}


def mirrored(watcher: Watcher) -> dict[str, dict[str, Any]]:
    """Tell what a watcher knows, without the clocks."""
    return {agent: timeless(shown) for agent, shown in watcher.mirror.agents.items()}


def differences(some: Mapping[str, Shown], others: Mapping[str, Shown]) -> dict[str, Any]:
    """Tell by agent what differs."""
    odd: dict[str, Any] = {}
    for agent in some.keys() | others.keys():
        one, other = some.get(agent), others.get(agent)
        if one is None or other is None:
            odd[agent] = "missing" if one is None else "too much"
        elif one != other:
            odd[agent] = {
                name: (one[name], other[name]) for name in one if one[name] != other[name]
            }
    return odd
