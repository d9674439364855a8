"""Two hubs on one store, and everything that can happen to a watch, at random moments.

A seed makes all choices; what the machine makes of them may differ a little from run to run.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import httpx
import msgpack
import pytest
import redis.asyncio
from websockets.exceptions import ConnectionClosed

from lifesigns.core.change import head_of
from lifesigns.core.codec import JSON, MSGPACK
from lifesigns.core.presence import DETAILS
from lifesigns.node import hub as node
from lifesigns.store.feed import Feed
from tests.agent import Agent, connected
from tests.hub import RunningHub, running_hub
from tests.patience import until
from tests.server import Server
from tests.watcher import Shown, Watcher, differences, mirrored, truth

AGENTS = [f"agent-{i}" for i in range(24)]
STEPS = 250
FAIR, TRIMS, LOSSES = "fair", "trims", "losses"
WEATHER = [(1, FAIR), (2, FAIR), (3, TRIMS), (4, TRIMS), (5, LOSSES), (6, LOSSES)]
AWAY = 503
SHORT_S = 0.4
SETTINGS: dict[str, Any] = {
    "min_ttl_s": 0.2,
    "grace_s": 0.3,
    "beats_per_s": 1_000,
    "messages_per_s": 1_000,
}
Looks = tuple[Mapping[str, Any] | None, Callable[[Shown], bool]]
LOOKS: tuple[Looks, ...] = (
    (None, lambda shown: True),
    ({"alive": True}, lambda shown: shown["alive"]),
    ({"state": ["busy", "offline"]}, lambda shown: shown["state"] in ("busy", "offline")),
    ({"group": ["red"]}, lambda shown: shown["group"] == "red"),
    (
        {"ids": ["agent-1*", "agent-5"]},
        lambda shown: shown["id"].startswith(("agent-1", "agent-5")),
    ),
    ({"capability": ["search"]}, lambda shown: "search" in shown["capabilities"]),
    ({"metadata": {"n": 1}}, lambda shown: (shown["metadata"] or {}).get("n") == 1),
)


class Leaky(Feed):
    """Loses some of what comes, and hears some of it twice."""

    dice = random.Random(0)
    lost = 0.0

    def heard(self, channel: str, data: bytes) -> None:
        if self.dice.random() < self.lost:
            return
        super().heard(channel, data)
        if self.dice.random() < self.lost:
            super().heard(channel, data)


class Storm:
    """What goes on, and what must have been told in the end."""

    def __init__(
        self, seed: int, server: Server, store: redis.asyncio.Redis, hubs: list[RunningHub]
    ) -> None:
        self.dice = random.Random(seed)
        self.server = server
        self.store = store
        self.hubs = hubs
        self.weather = FAIR
        self.clients: list[httpx.AsyncClient] = []
        self.agents: dict[str, tuple[AsyncExitStack, Agent]] = {}
        self.watchers: list[tuple[Watcher, Callable[[Shown], bool]]] = []
        self.written: dict[str, set[tuple[str, int]]] = defaultdict(set)

    async def step(self) -> None:
        acts = [(self.beat, 50), (self.leave, 6), (self.live, 10), (self.die, 6)]
        acts += [(self.look, 4), (self.pause, 6), (self.move, 6), (self.cut, 2)]
        acts += [(self.trim, 2)] if self.weather is not FAIR else []
        acts += [(self.empty, 1), (self.crash, 1)] if self.weather is LOSSES else []
        act = self.dice.choices([a for a, _ in acts], [w for _, w in acts])[0]
        await act()
        await asyncio.sleep(self.dice.choice([0, 0, 0, 0.02]))

    def words(self) -> dict[str, Any]:
        dice = self.dice
        words: dict[str, Any] = {"ttl": dice.choice([SHORT_S, 60, 60])}
        if dice.random() < 0.7:
            words["status"] = dice.choice(["idle", "thinking", "error", "draining", "odd"])
        if dice.random() < 0.3:
            words["group"] = dice.choice(["red", "blue", None])
        if dice.random() < 0.3:
            words["capabilities"] = dice.choice([[], ["search"], ["search", "sum"]])
        if dice.random() < 0.5:
            words["metadata"] = dice.choice([None, {"n": 1}, {"n": 2, "text": "x" * 15_000}])
        if dice.random() < 0.1:
            words["progress_ttl"] = 0.2
        return words

    async def beat(self) -> None:
        agent, http = self.dice.choice(AGENTS), self.dice.choice(self.clients)
        answer = await http.put(f"/v1/pulse/{agent}", json={"instance": "http", **self.words()})
        refusals = {AWAY} if self.weather is LOSSES else set()
        assert answer.status_code in {200, *refusals}, answer.text

    async def leave(self) -> None:
        http = self.dice.choice(self.clients)
        forget = {"forget": "true"} if self.dice.random() < 0.3 else {}
        await http.delete(f"/v1/pulse/{self.dice.choice(AGENTS)}", params=forget)

    async def live(self) -> None:
        agent = self.dice.choice(AGENTS)
        if agent not in self.agents:
            stack = AsyncExitStack()
            socket = await stack.enter_async_context(connected(self.dice.choice(self.hubs)))
            await socket.say("hello", agent=agent, instance="ws", **self.words())
            assert (await socket.hear())["type"] == "welcome"
            self.agents[agent] = stack, socket

    async def die(self) -> None:
        if self.agents:
            stack, socket = self.agents.pop(self.dice.choice(sorted(self.agents)))
            if self.dice.random() < 0.5:
                with contextlib.suppress(ConnectionClosed):  # somebody may have deleted it
                    await socket.say("bye")
            await stack.aclose()

    async def look(self) -> None:
        """Begin to watch, in any way."""
        dice = self.dice
        some, others = dice.choice(LOOKS), dice.choice(LOOKS)
        wanted = (some[0] or {}) | (others[0] or {})
        watcher = Watcher(
            wanted,
            detail=dice.choice(["full", "full", "lite", "counts"]),
            codec=dice.choice([JSON, MSGPACK]),
            narrow=True,
        )
        self.watchers.append((watcher, lambda shown: some[1](shown) and others[1](shown)))
        await self.open(watcher)

    async def open(self, watcher: Watcher) -> None:
        """Watch on any hub, as soon as it has its store."""
        hub = self.dice.choice(self.hubs)
        await until(lambda: hub.hub.link.up)
        await watcher.open(hub)

    async def pause(self) -> None:
        """Stop reading, or go on."""
        watcher = self.some_watcher()
        if self.dice.random() < 0.5:
            watcher.pause()
        else:
            watcher.resume()

    async def move(self) -> None:
        """Come back with the cursor, to any hub."""
        watcher = self.some_watcher()
        await watcher.close()
        watcher.resume()
        await self.open(watcher)

    def some_watcher(self) -> Watcher:
        """Choose any but the first two: these are never slow, and stay where they are."""
        return self.dice.choice(self.watchers[2:])[0]

    async def cut(self) -> None:
        """Cut the feeds of both hubs."""
        for client in await self.store.client_list():
            if client["name"] == "lifesigns-inbox":
                await self.store.client_kill_filter(_id=client["id"])

    async def trim(self) -> None:
        async for key in self.store.scan_iter("ls:*:log:*"):
            await self.store.xtrim(key, maxlen=self.dice.choice([0, 1, 5]), approximate=False)

    async def empty(self) -> None:
        """Let the store forget everything, the keys of the hubs' own included."""
        await self.store.flushall()

    async def crash(self) -> None:
        """Let the store be killed, and come back with what it had, or with nothing."""
        self.server.restart()

    async def witness(self) -> None:
        """Write down all that was ever published."""
        async with self.store.pubsub() as pubsub:
            await pubsub.psubscribe("ls:*:ch:*")
            async for message in pubsub.listen():
                if message["type"] == "pmessage":
                    epoch, _, changes = msgpack.unpackb(message["data"], raw=True)
                    for packed in changes:
                        head = head_of(packed)
                        self.written[head.agent].add((epoch.decode(), head.seq))

    async def calm(self) -> None:
        """Wait until nothing happens any more, and nothing is unheard."""
        Leaky.lost = 0.0
        for hub in self.hubs:
            await until(lambda hub=hub: hub.hub.link.up and hub.hub.inbox.up)
        for watcher, _ in self.watchers:
            watcher.resume()
        while self.agents:
            await self.die()
        await asyncio.sleep(SHORT_S)
        await self.cut()

    async def agrees(self) -> None:
        """Wait until every watcher knows the truth."""
        odd: list[Any] = []
        for _ in range(600):
            there = {detail: await truth(self.clients[0], detail=detail) for detail in DETAILS}
            if there["lite"].keys() == there["full"].keys():
                odd = [each for watched in self.watchers if (each := oddity(*watched, there))]
                if not odd:
                    return
            await asyncio.sleep(0.05)
        pytest.fail(f"they differ: {odd}")


def oddity(watcher: Watcher, fits: Callable[[Shown], bool], there: Mapping[str, Any]) -> Any:
    """Tell what a watcher knows wrong."""
    wanted = {agent for agent, shown in there["full"].items() if fits(shown)}
    if watcher.detail == "counts":
        counts = Counter(there["lite"][agent]["state"] for agent in wanted)
        return watcher.mirror.counts != counts and (watcher.wanted, watcher.mirror.counts, counts)
    known = {agent: there[watcher.detail][agent] for agent in wanted}
    found = differences(mirrored(watcher), known)
    return found and (watcher.wanted, watcher.wrong, found)


@asynccontextmanager
async def storm(seed: int, server: Server, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Storm]:
    monkeypatch.setattr(node, "Feed", Leaky)
    Leaky.dice, Leaky.lost = random.Random(seed), 0.1
    async with AsyncExitStack() as stack:
        hubs = [await stack.enter_async_context(running_hub(server.url, **SETTINGS))]
        hubs += [await stack.enter_async_context(running_hub(server.url, **SETTINGS))]
        store = redis.asyncio.Redis(unix_socket_path=str(server.socket_path), protocol=2)
        stack.push_async_callback(store.aclose)
        storm = Storm(seed, server, store, hubs)
        witness = asyncio.create_task(storm.witness())
        stack.callback(witness.cancel)
        storm.clients = [await stack.enter_async_context(hub.client()) for hub in hubs]
        for i, hub in enumerate((*hubs, *hubs)):
            watcher = Watcher(narrow=i >= 2)
            storm.watchers.append((watcher, lambda shown: True))
            await watcher.open(hub)
            await watcher.loaded()
        try:
            yield storm
        finally:
            for watcher, _ in storm.watchers:
                await watcher.close()
            for socket, _ in storm.agents.values():
                await socket.aclose()


@pytest.mark.parametrize(("seed", "weather"), WEATHER)
async def test_at_rest_every_watcher_knows_the_truth(
    seed: int,
    weather: str,
    valkey_server: Callable[..., Server],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    kept = ("--appendonly", "yes", "--appendfsync", "always") if seed % 2 else ()
    async with storm(seed, valkey_server(*kept), monkeypatch) as it:
        it.weather = weather
        for _ in range(STEPS):
            await it.step()
        await it.calm()
        await it.agrees()
        for i, (watcher, _) in enumerate(it.watchers):
            assert not watcher.wrong, (
                f"seed {seed}, watcher {i} of {watcher.wanted}: {watcher.wrong}"
            )
        for watcher, _ in it.watchers[:2]:
            if not watcher.resyncs:
                await until(lambda watcher=watcher: told(watcher) == it.written)
                assert watcher.coalesced == 0, f"seed {seed}"
            assert weather is not FAIR or not watcher.resyncs, f"seed {seed}"


def told(watcher: Watcher) -> dict[str, set[tuple[str, int]]]:
    """Tell of each agent which changes a watcher got."""
    found: dict[str, set[tuple[str, int]]] = defaultdict(set)
    for agent, epoch, seq in watcher.numbers:
        found[agent].add((epoch, seq))
    return found
