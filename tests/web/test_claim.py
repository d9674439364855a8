"""Delegation over sockets: a claim is made, stands, is in doubt, and ends with either side."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from lifesigns.core.codec import MSGPACK
from tests.agent import Agent, becomes, living
from tests.hub import RunningHub, running_hub

SETTINGS = {"grace_s": 0.5, "fold_ms": 20}


@pytest.fixture
async def hubs(fresh_url: str) -> AsyncIterator[tuple[RunningHub, RunningHub]]:
    """Run two hubs on one store."""
    async with running_hub(fresh_url, **SETTINGS) as one, running_hub(fresh_url, **SETTINGS) as two:
        yield one, two


@pytest.fixture
async def http(hubs: tuple[RunningHub, RunningHub]) -> AsyncIterator[httpx.AsyncClient]:
    """Ask the second of them."""
    async with hubs[1].client() as client:
        yield client


Hubs = tuple[RunningHub, RunningHub]


async def claims(holder: Agent, **asked: Any) -> dict[str, Any]:
    answer = await holder.ask("claim", **asked)
    assert answer["type"] == "claimed", answer
    return answer


async def test_a_claim_reserves_a_slot_and_both_sides_are_told(
    hubs: Hubs, http: httpx.AsyncClient
) -> None:
    one, two = hubs
    async with (
        living(one, "worker", instance="w1", capabilities=["search"], codec=MSGPACK) as worker,
        living(two, "boss") as boss,
    ):
        claim = await claims(boss, filter={"capability": ["search"]}, ttl=30, note="job 7")
        assert (claim["agent"], claim["instance"], claim["note"]) == ("worker", "w1", "job 7")
        assert claim["claim"].endswith("@worker")
        shown = claim["presence"]
        assert (shown["state"], shown["claims"], shown["free_slots"]) == ("busy", 1, 0)
        told = await worker.hear()
        assert told == {
            "type": "assigned",
            "claim": claim["claim"],
            "by": "boss",
            "note": "job 7",
            "fence": claim["fence"],
            "expires_at": claim["expires_at"],
        }
        assert await boss.refused("claim", agent="worker") == ("busy", None)
        assert await boss.refused("claim", filter={"capability": ["search"]}) == ("no_match", None)
        assert (await boss.ask("release", claim=claim["claim"]))["type"] == "ok"
        assert await worker.hear() == {
            "type": "unassigned",
            "claim": claim["claim"],
            "why": "released",
        }
        await becomes(http, "worker", state="available", claims=0)
        again = await claims(boss, agent="worker")
        assert again["fence"] > claim["fence"]
        assert await boss.refused("renew", claim=claim["claim"]) == ("claim_lost", "claim")


async def test_a_named_agent_says_why_it_cannot_be_claimed(hubs: Hubs) -> None:
    one, two = hubs
    async with (
        living(one, "works", status="busy"),
        living(one, "drains", state="draining"),
        living(one, "never", slots=0),
        living(two, None) as boss,
    ):
        for agent, code, state in (
            ("works", "busy", "busy"),
            ("drains", "busy", "draining"),
            ("never", "busy", "available"),
            ("nobody", "not_alive", "offline"),
        ):
            answer = await boss.ask("claim", agent=agent)
            assert (answer["code"], answer["state"]) == (code, state)


async def test_who_waits_is_served_in_turn_when_somebody_is_free(hubs: Hubs) -> None:
    one, two = hubs
    async with living(one, "worker", status="busy") as worker, living(two, None) as boss:
        for ref in ("first", "second", "third"):
            named = {"agent": "worker"} if ref == "third" else {"filter": {"ids": ["worker"]}}
            await boss.say("claim", ref=ref, wait=30, **named)
        await boss.ask("ping")
        await worker.beat(status="idle")
        for ref in ("first", "second", "third"):
            claim = await boss.hear()
            assert (claim["type"], claim["ref"]) == ("claimed", ref)
            await boss.ask("release", claim=claim["claim"])
        waiting = await boss.ask("claim", filter={"capability": ["none"]}, wait=0.05)
        assert (waiting["type"], waiting["code"]) == ("error", "no_match")


async def test_a_holder_is_told_how_its_claim_stands(hubs: Hubs, http: httpx.AsyncClient) -> None:
    one, two = hubs
    async with living(two, "boss") as boss:
        async with living(one, "worker", instance="w") as worker:
            claim = (await claims(boss, agent="worker"))["claim"]
            worker.abort()
            lost = {"type": "lost", "claim": claim, "agent": "worker"}
            assert await boss.hear() == {**lost, "why": "suspect", "final": False}
        async with living(one, "worker", instance="w", progress_ttl=0.2) as worker:
            assert [each["claim"] for each in worker.welcome["assigned"]] == [claim]
            told = await boss.hear()
            assert told == {"type": "regained", "claim": claim, "agent": "worker"}
            await worker.beat(status="busy")
            assert await boss.hear() == {**lost, "why": "stalled", "final": False}
            await worker.beat(progress="on")
            assert (await boss.hear())["type"] == "regained"
            await worker.bye()
            assert await boss.hear() == {**lost, "why": "offline", "final": True}
        async with living(one, "worker"):
            first = (await claims(boss, agent="worker"))["claim"]
            assert (await http.delete(f"/v1/claims/{first}")).status_code == 200
            told = await boss.hear()
            assert (told["claim"], told["why"], told["final"]) == (first, "released", True)
            second = (await claims(boss, agent="worker", ttl=1))["claim"]
            told = await boss.hear()
            assert (told["claim"], told["why"], told["final"]) == (second, "expired", True)
            third = (await claims(boss, agent="worker"))["claim"]
            await http.delete("/v1/pulse/worker?forget=true")
            told = await boss.hear()
            assert (told["claim"], told["why"], told["final"]) == (third, "forgotten", True)


async def test_a_claim_is_taken_along_to_another_socket_and_ends_with_a_bye(
    hubs: Hubs, http: httpx.AsyncClient
) -> None:
    one, two = hubs
    async with living(one, "worker", slots=2) as worker:
        async with living(one, "boss", instance="b") as boss:
            kept = (await claims(boss, agent="worker"))["claim"]
            left = (await claims(boss, agent="worker"))["claim"]
            for _ in range(2):
                await worker.hear()
            boss.abort()
        async with living(two, "boss", instance="b", claims=[kept, "nosuchclaim@worker"]) as boss:
            lost = await boss.hear()
            assert (lost["claim"], lost["final"]) == ("nosuchclaim@worker", True)
            assert (await boss.ask("renew", claim=left, ttl=20))["type"] == "ok"
            await worker.bye()
            assert {(await boss.hear())["claim"] for _ in range(2)} == {kept, left}
    async with living(one, "worker") as worker:
        async with living(two, "boss", instance="b") as boss:
            await claims(boss, agent="worker")
            assert (await worker.hear())["type"] == "assigned"
            await boss.bye()
        assert (await worker.hear())["type"] == "unassigned"
        await becomes(http, "worker", state="available")


async def test_only_its_holder_may_renew_or_release_a_claim(hubs: Hubs) -> None:
    one, two = hubs
    async with (
        living(one, "worker"),
        living(one, "boss") as boss,
        living(two, "other") as other,
        living(two, None) as observer,
    ):
        claim = (await claims(boss, agent="worker"))["claim"]
        for thief in (other, observer):
            for what in ("renew", "release"):
                assert await thief.refused(what, claim=claim) == ("claim_lost", "claim")
        renewed = await boss.ask("renew", claim=claim, ttl=100)
        assert renewed["claim"] == claim


async def test_a_pick_is_a_dry_run(hubs: Hubs, http: httpx.AsyncClient) -> None:
    one, two = hubs
    async with (
        living(one, "a"),
        living(one, "b"),
        living(one, "busy", status="busy"),
        living(two, None) as boss,
    ):
        picked = await boss.ask("pick", n=10, detail="lite")
        assert sorted(each["id"] for each in picked["agents"]) == ["a", "b"]
        assert (await boss.ask("pick", filter={"ids": ["busy"]}))["agents"] == []
        seen = {(await boss.ask("pick"))["agents"][0]["id"] for _ in range(30)}
        assert seen == {"a", "b"}  # a herd does not choose the same
        await becomes(http, "a", claims=0, state="available")


async def test_nobody_is_given_itself(hubs: Hubs) -> None:
    one, _ = hubs
    async with living(one, "a") as a, living(one, "b") as b:
        assert (await claims(a))["agent"] == "b"
        assert (await b.hear())["by"] == "a"
        assert await a.refused("claim") == ("no_match", None)
        assert (await a.ask("pick"))["agents"] == []
        await a.say("claim", ref="waits", wait=30)
        assert (await claims(b))["agent"] == "a"  # it does not wait behind who cannot be served


async def test_a_key_that_only_watches_may_pick_and_not_claim(
    hubs: Hubs, http: httpx.AsyncClient
) -> None:
    one, _ = hubs
    key = (await http.post("/v1/keys", json={"scope": "watch"})).json()["key"]
    async with living(one, "a"), living(one, None, key=key) as watcher:
        assert (await watcher.ask("pick"))["type"] == "picked"
        assert await watcher.refused("claim", agent="a") == ("forbidden", None)
        assert await watcher.refused("release", claim="x@a") == ("forbidden", None)


async def test_a_connection_has_so_many_claims_and_no_more(fresh_url: str) -> None:
    async with (
        running_hub(fresh_url, messages_per_s=10_000) as hub,
        living(hub, "worker", slots=200),
        living(hub, None) as boss,
    ):
        made = [(await claims(boss, agent="worker"))["claim"] for _ in range(100)]
        assert len(set(made)) == 100
        assert await boss.refused("claim", agent="worker") == ("bad_request", None)
        await boss.ask("release", claim=made[0])
        await claims(boss, agent="worker")
        await asyncio.sleep(0)
