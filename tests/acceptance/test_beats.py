"""A watch of every beat: with news or without, over sockets and HTTP, on whichever hub."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any

import httpx
import pytest

from lifesigns.core.codec import JSON, MSGPACK, Codec
from lifesigns.core.instant import from_text
from lifesigns.store import interest
from tests.agent import Agent, living
from tests.events import listening
from tests.hub import RunningHub, running_hub
from tests.patience import SOON_S, until
from tests.watcher import Watcher, watching

FOLLOWED = {"ids": ["a", "b"]}
FIELDS = ["id", "instance", "status", "task", "context", "at", "expires_at"]


@pytest.fixture
async def hubs(fresh_url: str) -> AsyncIterator[list[RunningHub]]:
    """Run two hubs on one store."""
    async with running_hub(fresh_url) as one, running_hub(fresh_url) as other:
        yield [one, other]


@pytest.fixture
async def http(hubs: list[RunningHub]) -> AsyncIterator[httpx.AsyncClient]:
    async with hubs[0].client() as client:
        yield client


async def wanted(hub: RunningHub, *agents: str) -> None:
    """Wait until a hub knows whose every beat is wanted."""
    known = hub.hub.interest
    await until(lambda: {agent for _, agent in known.wanted} >= set(agents))


def beats(watcher: Watcher) -> list[dict[str, Any]]:
    found = [frame for frame in watcher.frames if frame["type"] == "beats"]
    assert all(frame["watch"] == watcher.frames[0]["watch"] for frame in found)
    return [beat for frame in found for beat in frame["beats"]]


def tasks(watcher: Watcher, agent: str) -> list[str | None]:
    return [beat["task"] for beat in beats(watcher) if beat["id"] == agent]


@pytest.mark.parametrize("codec", [JSON, MSGPACK], ids=lambda codec: codec.name)
async def test_every_beat_is_shown_beside_the_changes(
    codec: Codec, hubs: list[RunningHub], http: httpx.AsyncClient
) -> None:
    async with (
        watching(hubs[1], FOLLOWED, detail="beats", codec=codec) as watcher,
        living(hubs[0], "c") as other,
    ):
        await wanted(hubs[0], "a", "b")
        async with living(hubs[0], "a", instance="i1", ttl=10, task="0") as agent:
            await agent.beat(task="1", status="busy", context={"n": [1]})
            for _ in range(3):
                await agent.say("beat")
            await other.beat(task="nobody looks")
            await agent.beat()
            await http.put("/v1/pulse/b", json={"status": "idle", "ttl": 20})
            await http.put("/v1/pulse/b", json={})
            await http.post("/v1/pulse", json={"beats": [{"id": "b", "task": "many"}, {"id": "c"}]})
            await http.put("/v1/pulse/a", json={"task": "2"})
            await watcher.sees(lambda: len(beats(watcher)) == 10)
        assert tasks(watcher, "a") == ["0", "1", "1", "1", "1", "1", "2"]
        assert tasks(watcher, "b") == [None, None, "many"]
        shown = [beat for beat in beats(watcher) if beat["id"] == "a"]
        assert list(shown[1]) == FIELDS
        assert (shown[1]["instance"], shown[1]["status"]) == ("i1", "busy")
        assert shown[1]["context"] == {"n": [1]}
        assert from_text(shown[1]["expires_at"]) - from_text(shown[1]["at"]) == 10_000
        assert [beat["instance"] for beat in beats(watcher) if beat["id"] == "b"] == ["-"] * 3
        # What is no news is no change, and the watch of changes goes on as any other.
        await watcher.sees(lambda: len(watcher.changes) == 6)
        assert [c["task"] for c in watcher.changes if c["id"] == "a"] == ["0", "1", "2", "2"]
        assert watcher.mirror.agents.keys() == {"a", "b"}
        assert "metadata" in watcher.mirror.agents["a"]


async def test_an_event_stream_shows_every_beat(hubs: list[RunningHub]) -> None:
    async with (
        living(hubs[0], "a", task="x") as agent,
        listening(hubs[0], ids="a", detail="beats") as stream,
    ):
        assert [shown["id"] for shown in await stream.begin()] == ["a"]
        await agent.say("beat")
        event = await stream.hear()
        assert (event.type, event.id) == ("beats", None)
        assert [beat["task"] for beat in event.frame["beats"]] == ["x"]


@pytest.mark.parametrize(
    "wanted",
    [None, {}, {"state": ["busy"]}, {"ids": []}, {"ids": ["a*"]}, {"ids": ["a"] * 101}],
    ids=str,
)
async def test_who_wants_every_beat_names_the_agents(
    wanted: dict[str, Any] | None, hubs: list[RunningHub], http: httpx.AsyncClient
) -> None:
    async with living(hubs[0], None) as socket:
        refused = await socket.refused("watch", filter=wanted, detail="beats")
        assert refused == ("bad_value", "filter.ids")
        assert (await socket.ask("ping"))["type"] == "pong"
    answer = await http.get("/v1/events", params={**(wanted or {}), "detail": "beats"})
    assert answer.status_code == 400
    assert answer.json()["detail"][0]["field"] == "ids"


async def test_a_hub_that_comes_later_is_told_whose_beats_are_wanted(
    hubs: list[RunningHub], fresh_url: str
) -> None:
    async with AsyncExitStack() as stack:
        watcher = await stack.enter_async_context(watching(hubs[1], FOLLOWED, detail="beats"))
        late = await stack.enter_async_context(running_hub(fresh_url))
        await wanted(late, "a")
        agent: Agent = await stack.enter_async_context(living(late, "a"))
        await agent.say("beat")
        await watcher.sees(lambda: len(beats(watcher)) == 2)


async def test_beats_go_on_when_the_store_was_away(valkey_server: Any) -> None:
    server = valkey_server("--appendonly", "yes", "--appendfsync", "always")
    async with (
        running_hub(server.url) as hub,
        living(hub, "a") as agent,
        watching(hub, {"ids": ["a"]}, detail="beats") as watcher,
    ):
        server.restart()
        hub.hub.interest.wanted.clear()
        await wanted(hub, "a")
        deadline = time.monotonic() + SOON_S
        while "back" not in tasks(watcher, "a"):  # the link that hears them comes back by itself
            assert time.monotonic() < deadline
            await agent.say("beat", task="back")
            await asyncio.sleep(0.05)


async def test_what_nobody_wants_any_more_is_published_no_more(
    hubs: list[RunningHub], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(interest, "REPEAT_S", 0.05)
    monkeypatch.setattr(interest, "LAPSE_S", 0.3)
    async with watching(hubs[1], FOLLOWED, detail="beats") as watcher:
        await wanted(hubs[0], "a", "b")
        known, agent = hubs[0].hub.interest, ("default", "a")
        good_until = known.wanted[agent]
        await until(lambda: known.wanted.get(agent, 0) > good_until + interest.LAPSE_S)
        async with living(hubs[0], "a"):
            await watcher.sees(lambda: beats(watcher))
    await until(lambda: not any(hub.hub.interest.wanted for hub in hubs))
