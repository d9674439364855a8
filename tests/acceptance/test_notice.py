"""What every watcher is told of the hub itself: its store is away or back, expiry is held."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from lifesigns.core.codec import MSGPACK
from lifesigns.core.instant import from_text
from lifesigns.node import hub as node
from tests.agent import Agent, living
from tests.events import Events, listening
from tests.hub import running_hub
from tests.patience import until
from tests.server import Server
from tests.watcher import Watcher, watching

FAR_MS = 3_600_000


async def next_notice(stream: Events) -> dict[str, Any]:
    while (event := await stream.hear()).type != "notice":
        pass
    return event.frame


def codes(frames: list[dict[str, Any]]) -> list[str]:
    """Name the notices about the store: a store that is back may hold as well."""
    told = [frame["code"] for frame in frames if frame["type"] == "notice"]
    return [code for code in told if code != "held"]


async def frames_until(socket: Agent, code: str) -> list[dict[str, Any]]:
    frames = [await socket.hear()]
    while frames[-1].get("code") != code:
        frames.append(await socket.hear())
    return frames


async def test_every_watcher_is_told_once_that_the_store_is_away_and_once_that_it_is_back(
    valkey_server: Callable[..., Server],
) -> None:
    server = valkey_server("--appendonly", "yes", "--appendfsync", "always")
    async with (
        running_hub(server.url) as hub,
        living(hub, "a") as agent,
        living(hub, None) as twice,
        watching(hub, codec=MSGPACK) as watcher,
        listening(hub) as stream,
    ):
        for wanted in ({}, {"state": ["busy"]}):
            assert (await twice.ask("watch", filter=wanted))["type"] == "watching"
            assert (await twice.hear())["type"] == "snapshot"
        server.kill()
        assert codes([await twice.hear()]) == ["store_away"]
        assert await next_notice(stream) == {"type": "notice", "code": "store_away"}
        late = Watcher()  # what is known here is still told, and how good that is
        await late.open(hub)
        await late.sees(lambda: codes(late.frames) == ["store_away"])
        server.start()
        assert codes(await frames_until(twice, "store_back")) == ["store_back"]
        assert (await next_notice(stream))["code"] == "store_back"
        await late.sees(lambda: codes(late.frames) == ["store_away", "store_back"])
        await watcher.sees(lambda: codes(watcher.frames) == ["store_away", "store_back"])
        await late.close()
        while (answer := await agent.ask("beat", status="idle"))["type"] != "ok":
            assert answer["code"] == "unavailable"  # nothing but answers, though: it watches nobody


async def test_a_store_that_hangs_is_away_as_well(
    valkey_server: Callable[..., Server], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(node, "FEED_SILENT_S", 0.2)
    server = valkey_server()
    async with running_hub(server.url) as hub, watching(hub) as watcher:
        server.pause()
        await watcher.sees(lambda: codes(watcher.frames)[-1:] == ["store_away"])
        server.resume()
        await watcher.sees(lambda: codes(watcher.frames)[-1:] == ["store_back"])


async def test_a_hold_is_shown_on_watches_and_told_to_those_who_watch(fresh_url: str) -> None:
    async with running_hub(fresh_url) as hub, watching(hub) as watcher:
        now_ms = hub.hub.clock.at_ms(hub.hub.lobby.loop.time())
        hub.hub.hold.reach(now_ms + FAR_MS, "the test says so")
        await watcher.sees(lambda: watcher.frames[-1]["type"] == "notice")
        notice = watcher.frames[-1]
        assert notice["code"] == "held"
        assert from_text(notice["held_until"]) == now_ms + FAR_MS
        late = Watcher()
        answer = await late.open(hub)
        assert answer["held_until"] == notice["held_until"]
        await late.close()
    await until(lambda: not hub.hub.fanout.watchers)
