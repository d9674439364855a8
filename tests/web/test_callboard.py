"""Heartbeats of Callboard's runtimes on a real hub: leases, signs of life, rows, quotas."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from lifesigns.core.access import DEFAULT_PROJECT
from lifesigns.core.instant import from_text
from lifesigns.core.job import ASSIGNED, IN_PROGRESS
from lifesigns.dialects.callboard import heartbeat
from lifesigns.dialects.callboard.guide import CALLS
from lifesigns.web.callboard import register
from tests.agent import living
from tests.hub import RunningHub, running_hub
from tests.patience import until_told
from tests.server import Server
from tests.web.board import ME, SEED, post_job, visitor


async def presence(http: httpx.AsyncClient, agent: str = "codex") -> dict[str, Any]:
    shown: dict[str, Any] = (await http.get(f"/v1/pulse/{agent}?expand=instances")).json()
    return shown


async def set_up(http: httpx.AsyncClient, agent: str, **said: bool) -> None:
    flags = {"claimed": True, "cardReady": True, "payoutReady": True} | said
    assert (await http.patch(f"/api/v2/agents/{agent}", json=flags)).status_code == 200


@pytest.mark.parametrize(
    ("role", "claimed", "lease_s"),
    [
        ("WORKER", True, 1_200),
        ("BOTH", True, 1_200),
        ("REQUESTER", True, 1_800),
        ("REQUESTER", False, 1_200),  # whoever waits to be claimed comes more often
    ],
)
async def test_a_lease_lasts_for_two_calls_at_the_rate_that_is_due(
    role: str, claimed: bool, lease_s: int, http: httpx.AsyncClient
) -> None:
    agent = await visitor(http, "codex")
    await set_up(http, "codex", claimed=claimed)
    row = await agent.beat(roleMode=role)
    assert abs(from_text(row["staleAt"]) - from_text(row["lastSeenAt"]) - lease_s * 1000) < 10
    assert (await presence(http))["instances"][0]["ttl"] == lease_s
    assert (await agent.home())["runtimePresence"]["staleAfterSeconds"] == lease_s


async def test_a_lease_is_never_shorter_than_a_quarter_of_an_hour(
    hub: RunningHub, http: httpx.AsyncClient
) -> None:
    agent = await visitor(http, "codex")
    await set_up(http, "codex", claimed=False, ownerAttending=True)
    await agent.beat()
    assert (await presence(http))["instances"][0]["ttl"] == 900


CALLS_OF_AN_AGENT = [
    ("GET", "/api/v2/home", 200),
    ("GET", f"{ME}/heartbeats", 200),
    ("GET", ME, 200),
    ("POST", f"{ME}/claim-link", 201),
    ("GET", "/api/v2/bounties", 200),
    ("GET", "/api/v2/slots", 200),
    ("GET", "/api/v2/slots/none", 404),
    ("PATCH", "/api/v2/agents/codex", 403),
]


@pytest.mark.parametrize(("method", "path", "status"), CALLS_OF_AN_AGENT)
async def test_any_call_is_a_sign_of_life_of_the_runtime_that_beat_last(
    method: str, path: str, status: int, http: httpx.AsyncClient
) -> None:
    agent = await visitor(http, "codex")
    await agent.beat(runtimeId="former")
    await agent.beat(runtimeId="latter")
    before = {each["instance"]: each for each in (await presence(http))["instances"]}
    await agent.call(method, path, {} if method != "GET" else None, status)
    after = {each["instance"]: each for each in (await presence(http))["instances"]}
    assert after["former"]["last_heartbeat"] == before["former"]["last_heartbeat"]
    assert after["latter"]["last_heartbeat"] > before["latter"]["last_heartbeat"]


async def test_who_has_said_offline_is_not_revived_by_a_call(http: httpx.AsyncClient) -> None:
    agent = await visitor(http, "codex")
    await agent.beat(runtimeId="other")
    row = await agent.beat(status="OFFLINE")
    home = await agent.home()
    assert [each["instance"] for each in (await presence(http))["instances"]] == ["other"]
    assert home["runtimePresence"]["latestHeartbeat"]["runtimeId"] == row["runtimeId"]
    assert home["runtimePresence"]["state"] == "ONLINE", "its other runtime is there"
    await agent.beat(runtimeId="other", status="OFFLINE")
    assert (await agent.home())["runtimePresence"]["state"] == "OFFLINE"
    assert not (await presence(http))["alive"]
    assert (await agent.beat())["id"] == row["id"]
    assert (await presence(http))["alive"]


async def test_a_first_word_of_going_makes_a_row_and_no_presence(http: httpx.AsyncClient) -> None:
    agent = await visitor(http, "codex")
    row = await agent.beat(status="OFFLINE")
    assert (row["status"], row["staleAt"], row["isStale"]) == ("OFFLINE", None, False)
    assert (await http.get("/v1/pulse/codex")).status_code == 404
    assert (await agent.home())["runtimePresence"]["state"] == "OFFLINE"


async def test_a_runtime_whose_lease_has_ended_is_stale_and_a_call_says_all_again(
    hub: RunningHub, http: httpx.AsyncClient
) -> None:
    agent = await visitor(http, "codex")
    await agent.beat(currentAction="digging", metadataJson={"depth": 3})
    await http.delete("/v1/pulse/codex")  # as if it had run out
    rows = await register.rows(hub.hub.ledger, DEFAULT_PROJECT, "codex", 10)
    read = await hub.hub.store.read(DEFAULT_PROJECT, "codex")
    (shown,) = heartbeat.shown_rows(DEFAULT_PROJECT, "codex", rows, read.presence)
    assert shown.is_stale
    home = await agent.home()
    assert home["runtimePresence"]["state"] == "ONLINE"
    assert not home["runtimePresence"]["latestHeartbeat"]["isStale"]
    again = await presence(http)
    assert (again["state"], again["task"], again["dialect"]) == ("busy", "digging", "callboard")
    assert again["metadata"] == {"roleMode": "WORKER", "depth": 3}


async def test_going_and_calling_at_once_ends_in_what_was_said_last(
    http: httpx.AsyncClient,
) -> None:
    agent = await visitor(http, "codex")
    for _ in range(5):
        await agent.beat()
        calls = [agent.home(), agent.beat(status="OFFLINE"), agent.home(), agent.home()]
        await asyncio.gather(*calls)
        assert not (await presence(http))["alive"]


async def test_a_runtime_has_so_many_calls_and_the_others_theirs(http: httpx.AsyncClient) -> None:
    agent = await visitor(http, "codex")
    beat = {"runtimeId": "busy"}
    for left in reversed(range(CALLS)):
        answer = await agent.raw("POST", f"{ME}/heartbeat", json=beat)
        assert answer.status_code == 200
        assert answer.headers["ratelimit"].startswith(f"limit=60, remaining={left}, reset=")
    before = (await presence(http))["last_heartbeat"]
    for call in (("POST", f"{ME}/heartbeat"), ("GET", "/api/v2/home")):
        answer = await agent.raw(*call, json=beat)
        assert answer.status_code == 429
        assert answer.json()["error"]["code"] == "RATE_LIMITED"
        assert answer.headers["ratelimit-policy"] == "60;w=60"
        assert "remaining=0" in answer.headers["ratelimit"]
        assert 1 <= int(answer.headers["retry-after"]) <= 60
    assert (await presence(http))["last_heartbeat"] > before, "it beats too often, so it is there"
    other = await agent.raw("POST", f"{ME}/heartbeat", json={"runtimeId": "calm"})
    assert (other.status_code, "remaining=59" in other.headers["ratelimit"]) == (200, True)
    assert (await (await visitor(http, "another")).beat())["runtimeId"] == "codex-local-1"


async def test_the_oldest_row_goes_when_there_are_too_many(
    hub: RunningHub, http: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(heartbeat, "ROWS", 3)
    agent = await visitor(http, "codex")
    for name in "abcd":
        await agent.beat(runtimeId=name)
        await agent.beat(runtimeId=name, status="OFFLINE")
    rows = (await agent.call("GET", f"{ME}/heartbeats"))["heartbeats"]
    assert [row["runtimeId"] for row in rows] == ["d", "c", "b"]


async def test_a_row_is_forgotten_when_nothing_was_heard_of_it_for_a_month(
    hub: RunningHub, http: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    agent = await visitor(http, "codex")
    monkeypatch.setattr(heartbeat, "KEPT_MS", 1)
    await agent.beat()

    async def gone() -> bool:
        return not await register.rows(hub.hub.ledger, DEFAULT_PROJECT, "codex", 10)

    assert await until_told(gone)


async def test_an_agent_of_another_dialect_is_read_in_the_words_of_this_one(
    hub: RunningHub, http: httpx.AsyncClient
) -> None:
    agent = await visitor(http, "codex")
    assert (await agent.home())["runtimePresence"] == {
        "state": "NEVER_SEEN",
        "staleAfterSeconds": 1_200,
        "latestHeartbeat": None,
    }
    async with living(hub, "codex", instance="socket", status="thinking", task="x", version="2"):
        seen = (await agent.home())["runtimePresence"]
        row = seen["latestHeartbeat"]
        assert (seen["state"], row["runtimeId"], row["status"]) == ("ONLINE", "socket", "ONLINE")
        assert (row["currentAction"], row["version"], row["isStale"]) == ("x", "2", False)
    # Its socket broke, and for a while it may come back.
    assert (await agent.home())["runtimePresence"]["state"] == "DEGRADED"
    await http.delete("/v1/pulse/codex")
    assert (await agent.home())["runtimePresence"]["state"] == "OFFLINE"


async def test_an_agent_that_is_a_poster_finds_its_open_jobs_in_its_cadence(
    hub: RunningHub, http: httpx.AsyncClient
) -> None:
    agent = await visitor(http, "codex")
    await set_up(http, "codex")
    await agent.beat(roleMode="REQUESTER")
    assert (await agent.home())["cadence"]["reason"] == "idle_requester"
    await post_job(hub, "mine", poster="codex")
    home = await agent.home()
    assert (home["cadence"]["reason"], home["eligibleJobs"]) == ("open_bounty", [])


async def test_a_runtime_too_many_is_refused_and_leaves_no_row(fresh_url: str) -> None:
    async with running_hub(fresh_url, max_instances=2) as hub, hub.client() as http:
        agent = await visitor(http, "codex")
        for name in "ab":
            await agent.beat(runtimeId=name)
        refused = await agent.raw("POST", f"{ME}/heartbeat", json={"runtimeId": "c"})
        assert (refused.status_code, refused.json()["error"]["code"]) == (429, "RATE_LIMITED")
        rows = (await agent.call("GET", f"{ME}/heartbeats"))["heartbeats"]
        assert [row["runtimeId"] for row in rows] == ["b", "a"]
        await agent.beat(runtimeId="a", status="OFFLINE")
        assert (await agent.beat(runtimeId="c"))["runtimeId"] == "c"


async def test_a_heartbeat_that_names_a_job_of_its_agent_ends_the_silence_of_that_job(
    hub: RunningHub, http: httpx.AsyncClient
) -> None:
    agent = await visitor(http, "codex")
    await post_job(hub, "mine", status=ASSIGNED, agent="codex")
    await post_job(hub, "theirs", status=ASSIGNED, agent="another")
    for name in ("mine", "theirs", "none"):
        await agent.beat(currentJobId=name, currentAction="step 2")
    mine, theirs = await hub.hub.jobs.read(DEFAULT_PROJECT, ["mine", "theirs"])
    assert mine is not None
    assert theirs is not None
    assert (mine.status, mine.report) == (IN_PROGRESS, "step 2")
    assert (theirs.status, theirs.beat_ms) == (ASSIGNED, None)


async def test_a_store_that_hangs_is_told_in_this_apis_words(
    valkey_server: Callable[..., Server],
) -> None:
    server = valkey_server()
    async with running_hub(server.url, store_timeout_s=0.5) as hub, hub.client() as http:
        agent = await visitor(http, "codex")
        await agent.beat()
        server.pause()
        try:
            for call in (("POST", f"{ME}/heartbeat"), ("GET", "/api/v2/home")):
                answer = await agent.raw(*call, json=SEED)
                assert answer.status_code == 503
                assert answer.json()["error"]["code"] == "UNAVAILABLE"
                assert int(answer.headers["retry-after"]) >= 1
                assert answer.headers["ratelimit-policy"] == "60;w=60"
        finally:
            server.resume()

        async def again() -> bool:
            return (await agent.raw("POST", f"{ME}/heartbeat", json=SEED)).status_code == 200

        assert await until_told(again)
        assert (await presence(http))["alive"]
