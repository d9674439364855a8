"""Agents of Mission Control as Server-Sent Events, against running hubs."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest

from lifesigns.web import mission_stream
from tests.agent import connected
from tests.events import Events, listening
from tests.hub import RunningHub, running_hub
from tests.server import Server
from tests.web.refusal import takes

STREAM = "/api/v1/agents/stream"
BEAT = "/api/v1/agents/heartbeat"
BOARD = "550e8400-e29b-41d4-a716-446655440000"


@asynccontextmanager
async def following(hub: RunningHub, **query: Any) -> AsyncIterator[Events]:
    async with listening(hub, path=STREAM, **query) as events:
        assert await events.block() == ": still here"  # from here on nothing is missed
        yield events


async def told(events: Events) -> dict[str, Any]:
    event = await events.hear()
    assert event.type == "agent"
    assert event.frame.keys() == {"agent"}
    agent: dict[str, Any] = event.frame["agent"]
    return agent


async def beat(http: httpx.AsyncClient, name: str, **said: Any) -> dict[str, Any]:
    answer = await http.post(BEAT, json={"name": name, **said})
    assert answer.status_code == 200, answer.text
    agent: dict[str, Any] = answer.json()
    return agent


async def test_whoever_comes_changes_or_leaves_is_told_as_the_record_shows_it(
    hub: RunningHub, http: httpx.AsyncClient
) -> None:
    async with following(hub) as events:
        for said in ({"status": "healthy"}, {"status": "degraded"}, {"status": "offline"}, {}):
            agent = await beat(http, "Worker", **said)
            assert await told(events) == agent
        await beat(http, "Worker")  # which changes nothing
        await http.put("/v1/pulse/native", json={"status": "thinking"})
        stranger = await told(events)
        assert (stranger["name"], stranger["status"]) == ("native", "thinking")
        assert stranger["is_mc_agent"] is False


async def test_an_end_by_silence_is_told_on_any_hub(fresh_url: str) -> None:
    async with (
        running_hub(fresh_url) as here,
        running_hub(fresh_url) as there,
        here.client() as http,
        following(there) as events,
    ):
        terms = {"missing_tolerance": 1}
        made = await http.post("/api/v1/agents", json={"name": "W", "heartbeat_config": terms})
        assert (await told(events))["status"] == "provisioning"
        await beat(http, "W", status="healthy")
        came = await told(events)
        gone = await told(events)
        assert came["id"] == gone["id"] == made.json()["id"]
        assert (came["status"], gone["status"]) == ("healthy", "offline")
        assert gone["last_seen_at"] == came["last_seen_at"]


async def test_what_is_altered_of_an_enrolment_is_told_on_any_hub(fresh_url: str) -> None:
    async with (
        running_hub(fresh_url) as here,
        running_hub(fresh_url) as there,
        here.client() as http,
    ):
        agent = await beat(http, "Worker")
        async with following(there) as events:
            changes = {"heartbeat_config": {"interval_seconds": 5}}
            altered = await http.patch(f"/api/v1/agents/{agent['id']}", json=changes)
            assert await told(events) == altered.json()


async def test_what_is_altered_while_nothing_can_be_heard_is_told_afterwards(
    valkey_server: Callable[..., Server],
) -> None:
    server = valkey_server()
    async with (
        running_hub(server.url) as here,
        running_hub(server.url) as there,
        here.client() as http,
    ):
        agent = await beat(http, "Worker")
        async with following(there) as events:
            for interval_s in range(1, 6):
                server.ask("CLIENT KILL TYPE pubsub")
                changes = {"heartbeat_config": {"interval_seconds": interval_s}}
                await takes(http, "PATCH", f"/api/v1/agents/{agent['id']}", json=changes)
                while (await told(events))["heartbeat_config"]["interval_seconds"] != interval_s:
                    pass  # an earlier one, told again


async def test_a_board_is_told_of_its_own_agents(hub: RunningHub, http: httpx.AsyncClient) -> None:
    async with following(hub, board_id=BOARD) as events:
        await beat(http, "Elsewhere")
        await http.put("/v1/pulse/native", json={})
        await beat(http, "Here", board_id=BOARD)
        assert (await told(events))["name"] == "Here"


async def test_since_tells_first_who_changed_from_then_on(
    hub: RunningHub, http: httpx.AsyncClient
) -> None:
    await beat(http, "Early")
    late = await beat(http, "Late")
    async with following(hub, since=late["last_seen_at"]) as events:
        assert await told(events) == late
        await beat(http, "Later")
        assert (await told(events))["name"] == "Later"


async def test_who_hears_nothing_is_told_that_the_stream_is_there(
    hub: RunningHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert mission_stream.COMMENT_S == 15
    monkeypatch.setattr(mission_stream, "COMMENT_S", 0.02)
    async with following(hub) as events:
        assert await events.block() == await events.block() == ": still here"


async def test_many_that_come_at_once_are_each_told(
    hub: RunningHub, http: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mission_stream, "WAITING", 10)  # so that its watch has to wait as well
    async with following(hub) as events:
        names = {f"agent-{n:03}" for n in range(300)}
        beats = [{"id": name, "status": "idle"} for name in names]
        assert (await http.post("/v1/pulse", json={"beats": beats})).status_code == 200
        assert {(await told(events))["name"] for _ in names} == names


async def test_a_stream_ends_with_its_key(hub: RunningHub, http: httpx.AsyncClient) -> None:
    key = (await http.post("/v1/keys", json={"scope": "watch"})).json()
    async with following(hub, key=key["key"]) as events:
        assert (await http.delete(f"/v1/keys/{key['id']}")).status_code == 200
        await events.ended()


async def test_a_browser_comes_with_a_ticket(hub: RunningHub, http: httpx.AsyncClient) -> None:
    ticket = (await http.post("/v1/tickets", json={"for": "events"})).json()["ticket"]
    async with following(hub, key="", ticket=ticket) as events:
        await beat(http, "Worker")
        assert (await told(events))["name"] == "Worker"


async def test_an_agent_that_holds_a_socket_is_told_of_as_well(
    hub: RunningHub, http: httpx.AsyncClient
) -> None:
    agent = await beat(http, "Worker")
    token = (await http.post(f"/api/v1/agents/{agent['id']}/token")).json()["token"]
    async with following(hub) as events:
        async with connected(hub, key=token) as socket:
            await socket.say("hello", agent=agent["id"], status="thinking")
            seen = await told(events)
            assert (seen["id"], seen["name"]) == (agent["id"], "Worker")
        assert (await http.get(f"/api/v1/agents/{agent['id']}")).json()["is_mc_agent"] is True
