"""Delegation over HTTP."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx

from lifesigns.core.instant import from_text
from tests.agent import becomes, living
from tests.hub import RunningHub
from tests.patience import SOON_S, until


async def test_a_claim_over_http_is_made_renewed_listed_and_released(
    hub: RunningHub, http: httpx.AsyncClient
) -> None:
    async with living(hub, "worker", instance="w", capabilities=["x"]) as worker:
        asked = {"filter": {"capability": "x"}, "ttl": 30, "note": "n"}
        made = await http.post("/v1/claims", json=asked)
        assert made.status_code == 201
        claim = made.json()
        assert (claim["agent"], claim["instance"], claim["note"]) == ("worker", "w", "n")
        assert claim["presence"]["claims"] == 1
        assert (await worker.hear())["type"] == "assigned"
        assert (await http.get("/v1/stats")).json()["claims"] == 1
        for query in ("", "?agent=worker"):
            listed = (await http.get(f"/v1/claims{query}")).json()["claims"]
            assert [each["claim"] for each in listed] == [claim["claim"]]
        address = f"/v1/claims/{claim['claim']}"
        renewed = (await http.put(address, json={"ttl": 300})).json()
        assert renewed["fence"] == claim["fence"]
        gained_ms = from_text(renewed["expires_at"]) - from_text(claim["expires_at"])
        assert gained_ms >= 270_000
        assert (await http.delete(address)).json() == {"ok": True, "claim": claim["claim"]}
        assert (await worker.hear())["why"] == "released"
        for again in (await http.delete(address), await http.put(address)):
            assert (again.status_code, again.json()["code"]) == (409, "claim_lost")
        await becomes(http, "worker", state="available", free_slots=1)


async def test_a_claim_over_http_ends_by_its_time_alone(
    hub: RunningHub, http: httpx.AsyncClient
) -> None:
    async with living(hub, "worker"):
        await http.post("/v1/claims", json={"agent": "worker", "ttl": 1})
        refused = await http.post("/v1/claims", json={"agent": "worker"})
        assert refused.status_code == 409
        assert refused.json() | {"error": ""} == {
            "error": "",
            "code": "busy",
            "detail": [],
            "state": "busy",
        }
        waited = await http.post("/v1/claims", json={"agent": "worker", "wait": 30})
        assert waited.status_code == 201


async def test_what_cannot_be_claimed_says_so(hub: RunningHub, http: httpx.AsyncClient) -> None:
    async def refusal(**asked: Any) -> tuple[int, str]:
        answer = await http.post("/v1/claims", json=asked)
        return answer.status_code, answer.json()["code"]

    assert await refusal() == (409, "no_match")
    assert await refusal(agent="nobody") == (409, "not_alive")
    assert await refusal(agent="me") == (400, "bad_request")
    assert await refusal(agent="a", filter={}) == (422, "bad_value")
    for claim in ("nothing", "@", "k1@nobody", "%C3%A9@me", "k" * 500):
        for method in ("PUT", "DELETE"):
            answer = await http.request(method, f"/v1/claims/{claim}")
            assert (answer.status_code, answer.json()["code"]) == (409, "claim_lost")
    await http.put("/v1/pulse/left", json={"status": "idle"})
    await http.delete("/v1/pulse/left")
    assert await refusal(agent="left") == (409, "not_alive")


async def test_an_agent_that_only_polls_finds_it_in_its_inbox(
    hub: RunningHub, http: httpx.AsyncClient
) -> None:
    await http.put("/v1/pulse/worker", json={"status": "idle"})
    claim = (await http.post("/v1/claims", json={"agent": "worker", "note": "n"})).json()
    await http.delete(f"/v1/claims/{claim['claim']}")
    told, untold = (await http.get("/v1/inbox?agent=worker")).json()["messages"]
    assert (told["kind"], told["claim"], told["note"]) == ("assigned", claim["claim"], "n")
    assert (untold["kind"], untold["why"]) == ("unassigned", "released")


async def test_a_hub_that_goes_keeps_nobody_waiting(
    hub: RunningHub, http: httpx.AsyncClient
) -> None:
    waiting = asyncio.create_task(http.post("/v1/claims", json={"wait": 60}))
    await until(lambda: hub.hub.delegation.waiters)
    await hub.hub.lobby.drain()
    async with asyncio.timeout(SOON_S):
        assert (await waiting).status_code == 503


async def test_a_key_holds_what_it_claims_and_an_admin_lets_go_of_any(
    hub: RunningHub, http: httpx.AsyncClient
) -> None:
    keys = [(await http.post("/v1/keys", json={"scope": "agent"})).json()["key"] for _ in "ab"]
    await http.put("/v1/pulse/worker", json={"status": "idle", "slots": 2})
    async with hub.client(keys[0]) as one, hub.client(keys[1]) as other:
        claim = (await one.post("/v1/claims", json={"agent": "worker"})).json()["claim"]
        assert (await other.put(f"/v1/claims/{claim}")).json()["code"] == "claim_lost"
        assert (await other.delete(f"/v1/claims/{claim}")).json()["code"] == "claim_lost"
        assert (await one.put(f"/v1/claims/{claim}")).status_code == 200
        # The same key over a socket is the same holder.
        async with living(hub, None, key=keys[0]) as observer:
            assert (await observer.ask("renew", claim=claim))["type"] == "ok"
            assert (await http.delete(f"/v1/claims/{claim}")).status_code == 200
            assert (await observer.hear())["final"]
        watch = (await http.post("/v1/keys", json={"scope": "watch"})).json()["key"]
        async with hub.client(watch) as watcher:
            assert (await watcher.post("/v1/claims")).status_code == 403
            assert (await watcher.get("/v1/claims")).json() == {"claims": []}
            picked = (await watcher.post("/v1/pick", json={"detail": "lite"})).json()["agents"]
            assert [each["id"] for each in picked] == ["worker"]


async def test_an_agent_that_drains_is_given_nothing_and_then_again(
    hub: RunningHub, http: httpx.AsyncClient
) -> None:
    async with living(hub, "worker"):
        claim = (await http.post("/v1/claims", json={"agent": "worker"})).json()["claim"]
        await http.put("/v1/pulse/worker/override", json={"state": "draining"})
        await http.delete(f"/v1/claims/{claim}")
        assert (await http.post("/v1/pick")).json() == {"agents": []}
        refused = (await http.post("/v1/claims", json={"agent": "worker"})).json()
        assert (refused["code"], refused["state"]) == ("busy", "draining")
        waiting = asyncio.create_task(http.post("/v1/claims", json={"wait": 30}))
        await http.delete("/v1/pulse/worker/override")
        async with asyncio.timeout(SOON_S):
            assert (await waiting).json()["agent"] == "worker"
