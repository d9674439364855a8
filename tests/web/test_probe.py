"""The check that asks, against running hubs: by socket and by request, here and elsewhere."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import httpx
import pytest

from lifesigns.core.codec import JSON, MSGPACK, Codec
from tests.agent import PING, Peer, connected, living, upgraded
from tests.hub import RunningHub, running_hub
from tests.web.refusal import refused

LONG_MS = 10_000  # nobody waits for so long who is answered


async def check(http: httpx.AsyncClient, *agents: str, **asked: Any) -> dict[str, Any]:
    answer = await http.post("/v1/check", json={"agents": agents, "probe": True, **asked})
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()["agents"]
    return found


async def pinged(peer: Peer) -> None:
    """Read up to the hub's next ping, and leave it unanswered."""
    while (await peer.frame())[0] != PING:
        pass


@pytest.mark.parametrize("codec", [JSON, MSGPACK], ids=lambda codec: codec.name)
async def test_a_probe_over_two_hubs_is_answered_by_the_sockets_themselves(
    fresh_url: str, codec: Codec
) -> None:
    async with (
        running_hub(fresh_url) as one,
        running_hub(fresh_url) as two,
        living(one, "here", ttl=120),  # their library answers pings by itself
        living(two, "there", ttl=120),
        one.client() as http,
        connected(one, codec=codec) as observer,
    ):
        await http.put("/v1/pulse/http", json={})
        await observer.say("hello")
        await observer.hear()
        answer = await observer.ask(
            "check",
            **{"agents": ["here", "there", "http", "never"], "probe": True, "timeout": LONG_MS},
        )
        found = answer["agents"]
        assert {agent: each["probed"] for agent, each in found.items()} == {
            "here": "answered",
            "there": "answered",
            "http": "no_socket",
            "never": "no_socket",
        }
        for agent in ("here", "there"):
            # Exactly: what is left of the lease and the age of the evidence are one whole ttl.
            assert found[agent]["evidence_age_ms"] + found[agent]["valid_for_ms"] == 120_000
        assert found["never"]["known"] is False


async def test_a_hung_program_does_not_answer_and_holds_up_nobody_else(hub: RunningHub) -> None:
    """A check that probes must not keep the plain ones of the same socket waiting."""
    async with upgraded(hub, hello={"agent": "hung", "ttl": 120}), living(hub, None) as observer:
        began = time.monotonic()
        await observer.say("check", ref="slow", agents=["hung"], probe=True, timeout=1_000)
        for number in range(5):
            plain = await observer.ask("check", agents=["hung"])
            assert plain["agents"]["hung"]["probed"] is None, number
        slow = await observer.hear()
        assert slow["ref"] == "slow"
        assert time.monotonic() - began >= 0.9
        assert slow["agents"]["hung"]["probed"] == "no_answer"
        assert slow["agents"]["hung"]["alive"]


async def test_any_frame_is_an_answer(hub: RunningHub, http: httpx.AsyncClient) -> None:
    async with upgraded(hub, hello={"agent": "a", "ttl": 120}) as peer:
        for say in ("beat", "ping", "nonsense"):
            asked = asyncio.create_task(check(http, "a", timeout=LONG_MS))
            await pinged(peer)
            await peer.say(say)
            assert (await asked)["a"]["probed"] == "answered"


async def test_fresh_evidence_is_not_probed_and_old_evidence_becomes_fresh(
    hub: RunningHub, http: httpx.AsyncClient
) -> None:
    async with living(hub, "a", ttl=120):
        (young,) = (await check(http, "a", within=3_600_000)).values()
        assert (young["probed"], young["fresh"]) == (None, True)
        (plain,) = (await check(http, "a", within=0, probe=False)).values()
        while plain["evidence_age_ms"] < 100:
            (plain,) = (await check(http, "a", within=0, probe=False)).values()
        assert (plain["probed"], plain["fresh"]) == (None, False)
        (probed,) = (await check(http, "a", within=99, timeout=LONG_MS)).values()
        assert probed["probed"] == "answered"
        assert probed["evidence_age_ms"] < plain["evidence_age_ms"]


async def test_a_probe_renews_the_lease(hub: RunningHub, http: httpx.AsyncClient) -> None:
    async with living(hub, "a", ttl=120):
        before = (await http.get("/v1/pulse/a")).json()
        await asyncio.sleep(0.01)
        probed = (await check(http, "a", timeout=LONG_MS))["a"]
        assert probed["expires_at"] > before["expires_at"]
        hub.hub.ingest.commit.unfold()
        await hub.hub.ingest.commit.settle()
        after = (await http.get("/v1/pulse/a")).json()
        assert after["expires_at"] >= probed["expires_at"]


@pytest.mark.parametrize(
    ("asked", "field"),
    [({"probe": "yes"}, "probe"), ({"timeout": 10_001}, "timeout"), ({"timeout": "1"}, "timeout")],
)
async def test_bad_ones_are_refused_by_their_field(
    http: httpx.AsyncClient, asked: dict[str, Any], field: str
) -> None:
    body = {"agents": ["a"], **asked}
    assert await refused(http, "POST", "/v1/check", json=body) == (422, "bad_value", field)
