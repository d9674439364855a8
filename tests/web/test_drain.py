"""A hub goes: everybody is told once, sent away in turn, and nobody is thought to be dead."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import time
from collections.abc import Callable
from contextlib import AsyncExitStack
from datetime import datetime, timedelta
from typing import Any

from websockets.exceptions import ConnectionClosed

from tests.agent import Agent, connected, dialed, living, presence, upgrade, upgraded
from tests.chronicle import chronicle
from tests.events import listening
from tests.hub import hub_process, running_hub
from tests.patience import SOON_S
from tests.server import Server

AGENTS = 120
LONG_S = "600"  # a drain that waited for its peers would not end within this test
LATE_S = 5.0  # what a busy machine may add


async def rest_of(agent: Agent) -> list[dict[str, Any]]:
    """Take all that still comes before the socket is closed."""
    told = []
    with contextlib.suppress(ConnectionClosed):
        while True:
            told.append(await agent.hear())
    return told


async def test_everybody_is_told_once_when_to_come_back_and_nobody_dies(fresh_url: str) -> None:
    """Each was told twice: by the lobby, and by what the server says to its connections."""
    async with running_hub(fresh_url) as stays, stays.client() as http, AsyncExitStack() as stack:
        async with running_hub(fresh_url) as goes:
            visitors = [
                await stack.enter_async_context(living(goes, f"agent-{i}", ttl=2 if i % 2 else 60))
                for i in range(AGENTS)
            ]
            visitors.append(await stack.enter_async_context(living(goes, None)))
            visitors.append(await stack.enter_async_context(connected(goes)))
            await visitors[0].say("beat", task="the last word")
            stream = await stack.enter_async_context(listening(goes, ids="nobody"))
            await stream.begin()
            ends = [asyncio.create_task(rest_of(visitor)) for visitor in visitors]
        hints = []
        for told in await asyncio.gather(*ends):
            (goaway,) = told
            assert (goaway["type"], goaway["why"]) == ("goaway", "drain")
            hints.append(goaway["reconnect_in_ms"])
        assert {visitor.socket.close_code for visitor in visitors} == {1001}
        assert min(hints) >= 0
        assert max(hints[1:AGENTS:2]) < 2_000 / 3, "a lease of 2 s has to last until then"
        assert len(set(hints)) > AGENTS / 4, "all would be back in the same moment"
        assert (await stream.hear()).frame["why"] == "drain"
        assert await stream.block() is None
        assert (await presence(http, "agent-0"))["task"] == "the last word"
        short = await presence(http, "agent-1")
        heard, ends = (datetime.fromisoformat(short[at]) for at in ("last_heartbeat", "expires_at"))
        assert ends > heard + timedelta(seconds=8), "two seconds are too few to come back in"
        written = await chronicle(stays.hub.link)
        kinds = {change.kind for changes in written.values() for change in changes}
        assert kinds == {"online", "updated"}


async def test_hub_that_goes_says_so_to_whoever_comes_and_hurries_when_told_twice(
    fresh_url: str,
) -> None:
    async with (
        hub_process(fresh_url, "--drain-s", LONG_S) as hub,
        hub.client("") as stranger,
        dialed(hub) as half,
        upgraded(hub, hello={"agent": "silent"}) as silent,
    ):
        # A call whose body never ends, and a socket that does not answer the close.
        await half.write(call("PUT /v1/pulse/half", hub.key, "Content-Length: 9"))
        hub.process.send_signal(signal.SIGTERM)
        assert (await silent.hear())["type"] == "goaway"
        ready = await stranger.get("/readyz")
        assert (ready.status_code, ready.json()["code"]) == (503, "unavailable")
        assert (await stranger.get("/livez")).status_code == 200
        async with dialed(hub) as late:
            await late.write(upgrade(hub))
            status, headers = await late.response()
            assert status == 503
            assert int(headers["retry-after"]) >= 1
        assert await silent.closed() == 1001
        hub.process.send_signal(signal.SIGINT)
        async with asyncio.timeout(SOON_S):
            assert await hub.process.wait() == 0
        assert "Traceback" not in hub.log


async def test_hub_ends_in_time_whatever_becomes_of_its_peers_and_of_its_store(
    valkey_server: Callable[..., Server],
) -> None:
    server = valkey_server()
    async with (
        hub_process(server.url, "--drain-s", "2", "--drain-window-s", "1") as hub,
        dialed(hub) as half,
        upgraded(hub, hello={"agent": "silent"}) as silent,
    ):
        await half.write(call("PUT /v1/pulse/half", hub.key, "Content-Length: 9"))
        server.pause()
        try:
            await silent.say("beat", task="nobody takes it")
            began = time.monotonic()
            assert await hub.terminate() == 0
            assert time.monotonic() - began < 2 + LATE_S
        finally:
            server.resume()


def call(line: str, key: str, *headers: str) -> bytes:
    head = (f"{line} HTTP/1.1", "Host: hub", f"Authorization: Bearer {key}", *headers)
    return ("\r\n".join(head) + "\r\n\r\n{").encode()
