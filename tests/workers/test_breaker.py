"""The breaker: a cut network kills nobody at once, and whoever is merely silent ends in time.

How it tells the two apart only Linux says.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import socket
import struct
from collections.abc import AsyncIterator

import pytest

from lifesigns.core.instant import from_text
from tests.agent import Peer, becomes, dialed, upgrade
from tests.chronicle import chronicle
from tests.hub import RunningHub, running_hub
from tests.patience import until

TTL_S = 2
MANY = 30
SO_ATTACH_FILTER = 26


def cut(line: socket.socket) -> None:
    """Let the kernel drop all that comes in, unacknowledged, as a network does that is cut."""
    drop_all = ctypes.create_string_buffer(struct.pack("HBBI", 0x06, 0, 0, 0))
    program = struct.pack("HL", 1, ctypes.addressof(drop_all))
    line.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, program)


@contextlib.asynccontextmanager
async def silent(hub: RunningHub, count: int) -> AsyncIterator[list[Peer]]:
    """Open sockets that say hello, and then answer nothing any more."""
    async with contextlib.AsyncExitStack() as stack:
        peers = []
        for number in range(count):
            peer = await stack.enter_async_context(dialed(hub))
            await peer.write(upgrade(hub))
            assert (await peer.response())[0] == 101
            await peer.say("hello", agent=f"a{number}", ttl=TTL_S)
            assert (await peer.hear())["type"] == "welcome"
            peers.append(peer)
        yield peers


async def ended(hub: RunningHub) -> list[int]:
    """Tell when each agent went offline."""
    told = await chronicle(hub.hub.link)
    offline = [
        change for changes in told.values() for change in changes if change.kind == "offline"
    ]
    return [change.at_ms for change in offline]


async def all_end(hub: RunningHub) -> None:
    async with asyncio.timeout(30):
        while len(await ended(hub)) < MANY:  # noqa: ASYNC110
            await asyncio.sleep(0.05)


async def test_a_cut_network_ends_nobody_before_one_lease_more(
    fresh_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with running_hub(fresh_url) as hub, hub.client() as http, silent(hub, MANY) as peers:
        for peer in peers:
            cut(peer.line)
        breaker = hub.hub.breaker
        await until(lambda: breaker.trips)
        assert await ended(hub) == []
        assert "of 30 open sockets are cut off" in caplog.text
        held_until = (await http.get("/v1/stats")).json()["held_until"]
        assert held_until is not None
        held = await becomes(http, "a0", held=True)
        assert (held["state"], held["alive"]) == ("available", True)
        metrics = (await http.get("/metrics")).text
        assert "lifesigns_breaker_trips_total 1.0" in metrics
        await all_end(hub)
        assert min(await ended(hub)) >= from_text(held_until)
        assert hub.hub.hold.until_ms is None
        assert breaker.trips == 1, "once in a while"


async def test_silent_programs_whose_kernels_answer_trip_nothing(fresh_url: str) -> None:
    async with running_hub(fresh_url) as hub, silent(hub, MANY):
        await all_end(hub)
        assert hub.hub.breaker.trips == 0
        assert hub.hub.hold.until_ms is None


async def test_a_few_of_many_trip_nothing_nor_does_a_breaker_that_is_off(fresh_url: str) -> None:
    async with (
        running_hub(fresh_url, breaker=False) as off,
        running_hub(fresh_url) as hub,
        silent(off, MANY) as peers,
        silent(hub, 10) as few,
    ):
        for peer in (*peers, *few):
            cut(peer.line)
        await all_end(off)
        assert off.hub.breaker.trips == hub.hub.breaker.trips == 0
