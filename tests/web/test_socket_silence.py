"""Sockets that break, fall silent or only answer pings, and agents that get nowhere."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import httpx
import pytest

from lifesigns.core.instant import from_text
from tests.agent import (
    CLOSE,
    PING,
    PONG,
    Peer,
    becomes,
    connected,
    framed,
    living,
    presence,
    upgraded,
)
from tests.chronicle import chronicle, kinds
from tests.hub import RunningHub, running_hub
from tests.patience import until

PONG_TIMEOUT_S = 0.5
GRACE_S = 1.0


@pytest.fixture
async def hasty(fresh_url: str) -> AsyncIterator[RunningHub]:
    """Run a hub that waits for little."""
    settings = {
        "pong_timeout_s": PONG_TIMEOUT_S,
        "hello_timeout_s": PONG_TIMEOUT_S,
        "grace_s": GRACE_S,
    }
    async with running_hub(fresh_url, **settings) as hub:
        yield hub


@pytest.fixture
async def asked(hasty: RunningHub) -> AsyncIterator[httpx.AsyncClient]:
    async with hasty.client() as client:
        yield client


async def answer_pings(peer: Peer, count: int) -> None:
    """Do what a library does while its program hangs."""
    while count:
        opcode, payload = await peer.frame()
        if opcode == PING:
            await peer.write(framed(PONG, payload))
            count -= 1


# A socket that breaks.


async def test_broken_socket_is_suspect_at_once_and_recovers_within_the_grace(
    hub: RunningHub, http: httpx.AsyncClient
) -> None:
    async with living(hub, "a", instance="i", task="t", slots=3) as agent:
        agent.abort()
        shown = await becomes(http, "a", state="suspect")
        assert (shown["alive"], shown["instances"], shown["task"]) == (True, 1, "t")
        assert (shown["reason"], shown["slots"], shown["free_slots"]) == (None, 0, 0)
    async with living(hub, "a", instance="i", task="t", slots=3) as agent:
        shown = await presence(http, "a")
        assert (shown["state"], shown["instances"], shown["slots"]) == ("busy", 1, 3)
        await agent.beat()
        assert await kinds(hub.hub.link, "a") == ["online", "suspect", "recovered"]
    changes = (await chronicle(hub.hub.link))["a"]
    assert changes[2].lasted_ms == changes[2].at_ms - changes[1].at_ms


async def test_suspect_socket_whose_agent_has_another_one_alters_little(
    hub: RunningHub, http: httpx.AsyncClient
) -> None:
    async with living(hub, "a", instance="1", slots=2) as one, living(hub, "a", instance="2"):
        one.abort()
        shown = await becomes(http, "a", lambda shown: "suspect" in shown["instance_states"])
        assert (shown["state"], shown["slots"], shown["instances"]) == ("available", 1, 2)


async def test_broken_socket_is_offline_after_the_grace(
    hasty: RunningHub, asked: httpx.AsyncClient
) -> None:
    async with living(hasty, "a", ttl=3600, task="t"):
        pass
    shown = await becomes(asked, "a", state="offline")
    assert (shown["reason"], shown["instances"], shown["task"]) == ("disconnected", 0, "t")
    online, suspect, offline = (await chronicle(hasty.hub.link))["a"]
    assert [online.kind, suspect.kind, offline.kind] == ["online", "suspect", "offline"]
    assert offline.at_ms - suspect.at_ms >= GRACE_S * 1000


async def test_grace_is_no_longer_than_the_ttl(hub: RunningHub, http: httpx.AsyncClient) -> None:
    async with living(hub, "a", ttl=1):
        pass
    await becomes(http, "a", state="offline", reason="disconnected")
    online, suspect, offline = (await chronicle(hub.hub.link))["a"]
    assert offline.at_ms - online.at_ms >= 1000
    assert offline.at_ms - suspect.at_ms < 5000


async def test_close_without_a_bye_is_a_broken_socket(
    hub: RunningHub, http: httpx.AsyncClient
) -> None:
    async with living(hub, "a") as agent:
        await agent.socket.close()
        assert agent.socket.close_code == 1000
        await becomes(http, "a", state="suspect")


async def test_socket_that_breaks_while_its_hello_is_under_way_leaves_no_ghost(
    hasty: RunningHub, asked: httpx.AsyncClient
) -> None:
    for turns in range(0, 60, 3):
        async with connected(hasty) as agent:
            await agent.say("hello", agent=f"agent-{turns}", ttl=3600)
            for _ in range(turns):
                await asyncio.sleep(0)
    await until(lambda: not hasty.hub.lobby.open and not hasty.hub.ingest.leases)
    for turns in range(0, 60, 3):
        if (await asked.get(f"/v1/pulse/agent-{turns}")).status_code == 200:
            await becomes(asked, f"agent-{turns}", state="offline", reason="disconnected")


# A socket that stays open.


async def test_silent_agent_expires_and_comes_back_with_its_next_word(
    hub: RunningHub, http: httpx.AsyncClient
) -> None:
    hello = {"agent": "a", "ttl": 1, "task": "t", "metadata": {"a": 1}}
    async with upgraded(hub, hello=hello) as peer:
        shown = await becomes(http, "a", state="offline")
        assert (shown["reason"], shown["reason_text"]) == ("expired", None)
        online, offline = (await chronicle(hub.hub.link))["a"]
        assert offline.at_ms - online.at_ms >= 1000
        await peer.say("beat")
        shown = await becomes(http, "a", alive=True)
        assert (shown["state"], shown["task"], shown["metadata"]) == ("busy", "t", {"a": 1})
        assert (await kinds(hub.hub.link, "a"))[:3] == ["online", "offline", "online"]


async def test_agent_that_only_answers_pings_stays_alive(
    hub: RunningHub, http: httpx.AsyncClient
) -> None:
    """No ping came before the time for a hello was over, and then only one in twenty seconds."""
    async with upgraded(hub, hello={"agent": "a", "ttl": 1}) as peer:
        await answer_pings(peer, 5)
        shown = await becomes(http, "a", alive=True)
        lived_ms = from_text(shown["last_heartbeat"]) - from_text(shown["online_since"])
        assert lived_ms > 2000
        assert await kinds(hub.hub.link, "a") == ["online"]


async def test_ttl_that_is_made_shorter_is_pinged_for_from_then_on(
    hub: RunningHub, http: httpx.AsyncClient
) -> None:
    async with upgraded(hub, hello={"agent": "a", "ttl": 3600}) as peer:
        await peer.say("beat", ttl=1)
        await answer_pings(peer, 3)
        assert (await presence(http, "a"))["alive"]
        assert "offline" not in await kinds(hub.hub.link, "a")


async def test_agent_that_beats_in_time_is_not_pinged(hasty: RunningHub) -> None:
    async with upgraded(hasty, hello={"agent": "a", "ttl": 4}) as peer:
        for i in range(10):  # for longer than half its ttl
            await peer.say("beat", ref=i)
            opcode, payload = await peer.frame()
            assert opcode != PING
            assert peer.codec.decode(payload)["ref"] == i
            await asyncio.sleep(0.25)


async def test_peer_that_answers_nothing_is_given_up_before_its_lease_ends(
    hasty: RunningHub, asked: httpx.AsyncClient
) -> None:
    async with upgraded(hasty, hello={"agent": "a", "ttl": 4}) as peer:
        await peer.gone()
        shown = await becomes(asked, "a", state="offline")
        assert shown["reason"] == "disconnected"
    assert await kinds(hasty.hub.link, "a") == ["online", "suspect", "offline"]
    assert not hasty.hub.lobby.open


async def test_observer_that_answers_nothing_is_given_up_too(fresh_url: str) -> None:
    settings = {"pong_timeout_s": 0.5, "default_ttl_s": 1, "grace_s": 1}
    async with (
        running_hub(fresh_url, **settings) as hub,
        upgraded(hub, hello={}) as peer,
    ):
        await peer.gone()
        await until(lambda: not hub.hub.lobby.open)


async def test_socket_without_a_hello_is_closed(hasty: RunningHub) -> None:
    async with connected(hasty) as socket:
        assert await socket.ended() == 4008


async def test_peer_that_does_not_answer_the_close_is_cut_off(hasty: RunningHub) -> None:
    async with upgraded(hasty) as peer:
        assert await peer.closed() == 4008
        await peer.gone()
        await until(lambda: not hasty.hub.lobby.open)


async def test_ping_of_the_peer_is_answered_with_its_payload(hub: RunningHub) -> None:
    async with upgraded(hub, hello={"agent": "a"}) as peer:
        await peer.write(framed(PING, b"payload"))
        assert await peer.frame() == (PONG, b"payload")


async def test_close_of_the_peer_is_echoed(hub: RunningHub) -> None:
    async with upgraded(hub, hello={"agent": "a"}) as peer:
        await peer.write(framed(CLOSE, b"\x03\xe8bye"))
        assert await peer.closed() == 1000
        await peer.gone()


# An agent that gets nowhere.


async def test_agent_without_progress_stalls_however_often_it_beats(
    hub: RunningHub, http: httpx.AsyncClient
) -> None:
    said = {"status": "busy", "progress_ttl": 0.5}
    async with living(hub, "a", **said) as agent:
        while (await presence(http, "a"))["state"] != "stalled":
            await agent.beat()
            await agent.beat(metadata={"not": "progress"})
            await asyncio.sleep(0.05)
        assert (await presence(http, "a"))["alive"]
        ok = await agent.beat(progress={"done": 1})
        shown = await presence(http, "a")
        assert (shown["state"], shown["seq"]) == ("busy", ok["seq"])
        await becomes(http, "a", state="stalled")
        await agent.beat(task="another one")
        assert (await presence(http, "a"))["state"] == "busy"
        written = [kind for kind in await kinds(hub.hub.link, "a") if kind != "updated"]
        assert written == ["online", "stalled", "recovered", "stalled", "recovered"]


async def test_idle_agent_and_one_in_a_quiet_phase_do_not_stall(
    hub: RunningHub, http: httpx.AsyncClient
) -> None:
    async with (
        living(hub, "idle", status="idle", progress_ttl=0.3),
        living(hub, "quiet", status="busy", progress_ttl=0.3, busy_for=3600),
        living(hub, "stuck", status="busy", progress_ttl=0.3) as stuck,
    ):
        await becomes(http, "stuck", state="stalled")
        assert (await presence(http, "idle"))["state"] == "available"
        assert (await presence(http, "quiet"))["state"] == "busy"
        await stuck.beat(status="idle")
        assert (await presence(http, "stuck"))["state"] == "available"


async def test_quiet_phase_is_counted_from_its_end(
    hub: RunningHub, http: httpx.AsyncClient
) -> None:
    async with living(hub, "a", status="busy", progress_ttl=0.2, busy_for=0.8):
        shown = await becomes(http, "a", state="stalled")
    online, stalled = (await chronicle(hub.hub.link))["a"][:2]
    assert stalled.kind == "stalled"
    assert stalled.at_ms - online.at_ms >= 1000
    assert shown["busy_until"] is not None
