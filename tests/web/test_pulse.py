"""Presence over HTTP, against a running hub: one beat, one agent, its end, and the check."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import AsyncIterator, Callable
from datetime import datetime
from typing import Any

import httpx
import pytest

from lifesigns.web.description.schema import SCHEMAS
from tests.agent import becomes, living, presence
from tests.hub import RunningHub, hub_process, running_hub
from tests.server import Server

LITE = set(SCHEMAS["Lite"]["properties"])


async def put(http: httpx.AsyncClient, agent: str, **said: Any) -> dict[str, Any]:
    answer = await http.put(f"/v1/pulse/{agent}", json=said)
    assert answer.status_code == 200, answer.text
    shown: dict[str, Any] = answer.json()
    return shown


async def instances(http: httpx.AsyncClient, agent: str) -> dict[str, dict[str, Any]]:
    answer = await http.get(f"/v1/pulse/{agent}", params={"expand": "instances"})
    return {each["instance"]: each for each in answer.json()["instances"]}


def lease_s(shown: dict[str, Any]) -> float:
    """Tell how long after its last beat an agent's lease ends."""
    ends, heard = (datetime.fromisoformat(shown[f]) for f in ("expires_at", "last_heartbeat"))
    return (ends - heard).total_seconds()


@contextlib.asynccontextmanager
async def two_hubs(url: str) -> AsyncIterator[tuple[httpx.AsyncClient, httpx.AsyncClient]]:
    async with (
        running_hub(url) as one,
        running_hub(url) as two,
        one.client() as here,
        two.client() as there,
    ):
        yield here, there


# One beat.


async def test_first_beat_makes_an_agent_that_is_idle_for_a_minute(http: httpx.AsyncClient) -> None:
    shown = await put(http, "a")
    assert shown["ok"] is True
    assert (shown["id"], shown["agent_id"], shown["dialect"]) == ("a", "a", "pulse")
    assert (shown["alive"], shown["state"], shown["status"]) == (True, "available", "idle")
    assert (shown["instances"], shown["instance_states"]) == (1, {"available": 1})
    # It came before it was stored: on a loaded machine by some milliseconds.
    assert shown["last_heartbeat"] <= shown["online_since"]
    assert shown["offline_since"] is None
    assert shown["last_pulse"] == shown["last_seen"] == shown["last_heartbeat"]
    assert lease_s(shown) == 60
    assert list(await instances(http, "a")) == ["-"]


async def test_a_beat_says_all_that_a_hello_can(http: httpx.AsyncClient) -> None:
    said = {
        "status": "thinking",
        "task": "processing user query",
        "progress": {"note": "23 of 50 records", "done": 23, "total": 50},
        "metadata": {"model": "some-model", "queue_depth": 3},
        "context": ["anything", {"at": "all"}],
        "capabilities": ["search", "summarise"],
        "slots": 4,
        "did": "did:web:a",
        "name": "Ann",
        "group": "night",
        "host": "h1",
        "version": "1.2",
        "busy_until": "2026-03-22T14:30:00.000Z",
    }
    shown = await put(http, "a", **said, progress_ttl=3600, instance="i 1", ttl=90.5)
    assert {field: shown[field] for field in said} == said
    assert (shown["state"], lease_s(shown)) == ("busy", 90.5)
    assert shown == shown | await presence(http, "a")
    assert list(await instances(http, "a")) == ["i 1"]


async def test_a_status_clears_what_is_said_of_the_work_before(http: httpx.AsyncClient) -> None:
    await put(http, "a", status="busy", task="x", progress="half", context=1, metadata={"m": 1})
    shown = await put(http, "a", status="waiting")
    assert (shown["task"], shown["progress"], shown["context"]) == (None, None, None)
    assert (shown["metadata"], shown["state"]) == ({"m": 1}, "available")


async def test_a_status_keeps_what_comes_with_it(http: httpx.AsyncClient) -> None:
    await put(http, "a", status="busy", task="x", progress="half", context=1)
    shown = await put(http, "a", status="busy", task="y", context=None)
    assert (shown["task"], shown["progress"], shown["context"]) == ("y", None, None)


async def test_without_a_status_all_that_is_absent_is_unchanged(http: httpx.AsyncClient) -> None:
    said = {"status": "busy", "task": "x", "progress": {"note": "half"}, "context": 1}
    await put(http, "a", **said, state="draining", capabilities=["c"], slots=3)
    shown = await put(http, "a", metadata={"m": 1})
    assert {field: shown[field] for field in said} == said
    assert (shown["state"], shown["capabilities"], shown["metadata"]) == (
        "draining",
        ["c"],
        {"m": 1},
    )


async def test_null_clears(http: httpx.AsyncClient) -> None:
    said = {"task": "x", "metadata": {"m": 1}, "capabilities": ["c"], "slots": 3, "name": "n"}
    await put(http, "a", **said)
    shown = await put(http, "a", **dict.fromkeys(said))
    cleared: dict[str, Any] = {
        "task": None,
        "metadata": None,
        "capabilities": [],
        "slots": 1,
        "name": None,
    }
    assert {field: shown[field] for field in said} == cleared


async def test_metadata_is_replaced_whole(http: httpx.AsyncClient) -> None:
    await put(http, "a", metadata={"a": 1, "b": {"c": 2}})
    assert (await put(http, "a", metadata={"b": {"d": 3}}))["metadata"] == {"b": {"d": 3}}


async def test_a_ttl_stays_until_another_is_given(http: httpx.AsyncClient) -> None:
    assert lease_s(await put(http, "a", ttl=300)) == 300
    assert lease_s(await put(http, "a", status="busy")) == 300
    assert lease_s(await put(http, "a", ttl=None)) == 300
    assert lease_s(await put(http, "a", ttl=1)) == 1
    assert lease_s(await put(http, "a", ttl=86_400)) == 86_400


async def test_a_silent_agent_is_offline_after_its_ttl(http: httpx.AsyncClient) -> None:
    await put(http, "a", status="busy", ttl=1)
    shown = await becomes(http, "a", state="offline")
    assert (shown["alive"], shown["reason"], shown["expires_at"]) == (False, "expired", None)
    assert shown["status"] == "busy"  # its last words stay


async def test_an_agent_comes_back_with_a_new_life(http: httpx.AsyncClient) -> None:
    first = await put(http, "a", task="x")
    await http.delete("/v1/pulse/a")
    shown = await put(http, "a")
    assert (shown["alive"], shown["task"], shown["reason"]) == (True, "x", None)
    assert shown["online_since"] > first["online_since"]
    assert shown["seq"] > first["seq"]


async def test_a_beat_without_news_moves_the_clocks_alone(http: httpx.AsyncClient) -> None:
    first = await put(http, "a", status="busy", metadata={"m": 1})
    await asyncio.sleep(0.01)  # the clock has to move for the test to see it
    second = await put(http, "a", status="busy", metadata={"m": 1})
    assert second["seq"] == first["seq"]
    assert second["last_heartbeat"] > first["last_heartbeat"]
    assert second["expires_at"] > first["expires_at"]


async def test_what_was_answered_is_seen_by_any_hub(fresh_url: str) -> None:
    async with two_hubs(fresh_url) as (here, there):
        for i in range(20):
            told = await put(here, "a", task=f"task {i}")
            assert told == told | await presence(there, "a")
            here, there = there, here


async def test_many_who_write_to_one_agent_at_once_lose_nothing(fresh_url: str) -> None:
    fields = ["task", "name", "group", "host", "version", "did"]
    async with two_hubs(fresh_url) as hubs:
        writes = [
            put(http, "a", **{field: f"{field} of hub {i}"})
            for field in fields
            for i, http in enumerate(hubs)
        ]
        await asyncio.gather(*writes)
        shown = await presence(hubs[0], "a")
    assert all(shown[field] in {f"{field} of hub {i}" for i in (0, 1)} for field in fields)


async def test_a_crowd_of_instances_gets_through(fresh_url: str) -> None:
    """Beyond sixteen at once, each judged on what the others had just altered, the rest got 503."""
    async with running_hub(fresh_url, beats_per_s=1000.0) as hub, hub.client() as http:
        beats = [put(http, "a", instance=f"i{i}", task=f"task {i}") for i in range(50)]
        await asyncio.gather(*beats)
        tasks = {name: each["task"] for name, each in (await instances(http, "a")).items()}
    assert tasks == {f"i{i}": f"task {i}" for i in range(50)}


async def test_a_hint_counts_until_a_status_drops_it(http: httpx.AsyncClient) -> None:
    assert (await put(http, "a", status="idle", state="error"))["state"] == "error"
    assert (await put(http, "a", task="x"))["state"] == "error"
    assert (await put(http, "a", status="thinking"))["state"] == "busy"
    assert (await put(http, "a", state="draining"))["state"] == "draining"
    assert (await put(http, "a", state=None))["state"] == "busy"


async def test_a_busy_agent_that_gets_nowhere_is_stalled(http: httpx.AsyncClient) -> None:
    await put(http, "a", status="busy", task="x", progress_ttl=0.1)
    await becomes(http, "a", state="stalled")
    assert (await put(http, "a", progress="half"))["state"] == "busy"


# A beat for an agent that holds a socket.


async def test_a_beat_without_an_instance_speaks_for_the_only_live_socket(
    hub: RunningHub, http: httpx.AsyncClient
) -> None:
    async with living(hub, "a", instance="i", ttl=300, status="busy", version="1") as agent:
        shown = await put(http, "a", task="x", ttl=1)
        assert (shown["instances"], shown["task"], shown["version"]) == (1, "x", "1")
        assert lease_s(shown) == 300
        await agent.beat(metadata={"m": 1})  # knows nothing of the task, and leaves it alone
        shown = await presence(http, "a")
        assert (shown["task"], shown["metadata"], shown["version"]) == ("x", {"m": 1}, "1")
        assert list(await instances(http, "a")) == ["i"]


async def test_a_beat_does_not_shorten_the_lease_of_a_socket_on_another_hub(
    hub: RunningHub, http: httpx.AsyncClient, fresh_url: str
) -> None:
    async with running_hub(fresh_url) as other, living(other, "a", instance="i", ttl=300) as agent:
        assert lease_s(await put(http, "a", status="busy", ttl=2)) == 300
        await agent.beat(task="x")
        shown = await presence(http, "a")
        assert (lease_s(shown), shown["status"], shown["task"]) == (300, "busy", "x")


async def test_between_two_sockets_a_beat_speaks_for_itself(
    hub: RunningHub, http: httpx.AsyncClient
) -> None:
    async with living(hub, "a", instance="i"), living(hub, "a", instance="j"):
        await put(http, "a", task="x")
        tasks = {name: each["task"] for name, each in (await instances(http, "a")).items()}
        assert tasks == {"i": None, "j": None, "-": "x"}


async def test_a_socket_that_broke_is_not_spoken_for(
    hub: RunningHub, http: httpx.AsyncClient
) -> None:
    async with living(hub, "a", instance="i", ttl=300):
        pass
    await becomes(http, "a", state="suspect")
    shown = await put(http, "a", status="busy")
    assert (shown["state"], shown["instances"]) == ("busy", 2)
    assert set(await instances(http, "a")) == {"i", "-"}


async def test_a_beat_for_a_named_instance_speaks_for_that_one(
    hub: RunningHub, http: httpx.AsyncClient
) -> None:
    async with living(hub, "a", instance="i"):
        await put(http, "a", instance="k", status="error")
        await put(http, "a", instance="i", status="busy")
        states = {name: each["state"] for name, each in (await instances(http, "a")).items()}
        assert states == {"i": "busy", "k": "error"}
        assert (await presence(http, "a"))["state"] == "busy"


# Reading one.


async def test_an_agent_that_was_never_seen_is_not_found(http: httpx.AsyncClient) -> None:
    for method in ("GET", "DELETE"):
        answer = await http.request(method, "/v1/pulse/nobody")
        assert (answer.status_code, answer.json()["code"]) == (404, "not_found")


async def test_a_presence_is_told_in_the_detail_that_is_asked_for(http: httpx.AsyncClient) -> None:
    await put(http, "a", status="busy", name="Ann")
    lite = (await http.get("/v1/pulse/a?detail=lite")).json()
    assert set(lite) == LITE
    assert (lite["name"], lite["state"]) == ("Ann", "busy")
    assert (await http.get("/v1/pulse/a?detail=full")).json() == await presence(http, "a")
    (instance,) = (await http.get("/v1/pulse/a?expand=instances")).json()["instances"]
    assert (instance["instance"], instance["state"], instance["ttl"]) == ("-", "busy", 60)


async def test_head_tells_whether_an_agent_is_known(http: httpx.AsyncClient) -> None:
    await put(http, "a")
    answer = await http.head("/v1/pulse/a")
    assert (answer.status_code, answer.content) == (200, b"")
    assert (await http.head("/v1/pulse/b")).status_code == 404


# The end of one.


async def test_removal_ends_all_instances(http: httpx.AsyncClient) -> None:
    for instance in ("i", "j"):
        await put(http, "a", instance=instance, status="busy")
    answer = await http.delete("/v1/pulse/a")
    shown = answer.json()
    assert (answer.status_code, shown["state"], shown["reason"]) == (200, "offline", "left")
    assert (shown["instances"], shown["expires_at"]) == (0, None)
    assert shown == {field: (await presence(http, "a"))[field] for field in shown}
    assert (await http.delete("/v1/pulse/a")).json()["seq"] == shown["seq"]


async def test_removal_of_one_instance_leaves_the_others(http: httpx.AsyncClient) -> None:
    for instance in ("i", "j"):
        await put(http, "a", instance=instance)
    shown = (await http.delete("/v1/pulse/a?instance=i")).json()
    assert (shown["alive"], shown["instances"]) == (True, 1)
    assert list(await instances(http, "a")) == ["j"]
    assert (await http.delete("/v1/pulse/a?instance=i")).json()["alive"] is True
    assert (await http.delete("/v1/pulse/a?instance=j")).json()["alive"] is False


async def test_removal_closes_the_sockets_of_the_agent_on_every_hub(
    hub: RunningHub, http: httpx.AsyncClient, fresh_url: str
) -> None:
    async with (
        running_hub(fresh_url) as other,
        living(hub, "a", instance="i") as here,
        living(other, "a", instance="j") as there,
        living(other, "b") as bystander,
    ):
        await http.delete("/v1/pulse/a")
        assert [await here.ended(), await there.ended()] == [1000, 1000]
        await bystander.beat(task="unharmed")
    shown = await presence(http, "a")
    assert (shown["state"], shown["reason"]) == ("offline", "left")


async def test_removal_of_one_instance_closes_its_socket_alone(
    hub: RunningHub, http: httpx.AsyncClient
) -> None:
    async with living(hub, "a", instance="i") as one, living(hub, "a", instance="j") as two:
        await http.delete("/v1/pulse/a?instance=i")
        assert await one.ended() == 1000
        await two.beat(task="x")
        assert (await presence(http, "a"))["task"] == "x"


async def test_an_agent_that_was_removed_may_connect_again(
    hub: RunningHub, http: httpx.AsyncClient
) -> None:
    async with living(hub, "a", instance="i"):
        await http.delete("/v1/pulse/a")
    async with living(hub, "a", instance="i"):
        assert (await presence(http, "a"))["state"] == "available"


@pytest.mark.parametrize("query", ["", "?instance=i", "?forget=true"])
async def test_a_removed_agent_is_not_brought_back_by_a_hub_that_slept(
    query: str, hub: RunningHub, http: httpx.AsyncClient, fresh_url: str
) -> None:
    async with hub_process(fresh_url) as other, living(other, "a", instance="i") as agent:
        other.process.send_signal(signal.SIGSTOP)
        try:
            await http.delete(f"/v1/pulse/a{query}")
            await agent.say("beat", task="too late")
        finally:
            other.process.send_signal(signal.SIGCONT)
        assert await agent.ended() in (1000, 4009)
        async with other.client() as there:
            await put(there, "witness")  # what the other hub had to write is written by now
        answer = await http.get("/v1/pulse/a")
        if "forget" in query:
            assert answer.status_code == 404
        else:
            shown = answer.json()
            assert (shown["state"], shown["reason"]) == ("offline", "left")
            assert shown["task"] is None


async def test_a_socket_whose_hub_did_not_hear_of_its_removal_is_fenced(
    valkey_server: Callable[..., Server],
) -> None:
    server = valkey_server()
    async with (
        running_hub(server.url) as hub,
        hub.client() as http,
        hub_process(server.url) as other,
        living(other, "a", instance="i") as agent,
    ):
        other.process.send_signal(signal.SIGSTOP)
        try:
            server.ask("CLIENT KILL TYPE pubsub")
            await http.delete("/v1/pulse/a")
        finally:
            other.process.send_signal(signal.SIGCONT)
        await agent.say("beat", task="too late")
        assert await agent.ended() in (1000, 4009)
        shown = await presence(http, "a")
        assert (shown["state"], shown["reason"], shown["task"]) == ("offline", "left", None)


async def test_a_forgotten_agent_was_never_seen(hub: RunningHub, http: httpx.AsyncClient) -> None:
    async with living(hub, "a", task="x") as agent:
        answer = await http.delete("/v1/pulse/a?forget=true")
        assert answer.json() == {"ok": True, "id": "a", "forgotten": True}
        assert await agent.ended() == 1000
    assert (await http.get("/v1/pulse/a")).status_code == 404
    assert (await http.get("/v1/pulse?alive=any")).json()["total"] == 0
    assert (await http.delete("/v1/pulse/a?forget=true")).status_code == 404
    shown = await put(http, "a")
    assert (shown["task"], shown["status"]) == (None, "idle")


async def test_numbers_go_on_after_an_agent_was_forgotten(http: httpx.AsyncClient) -> None:
    before = await put(http, "a", status="busy")
    await http.delete("/v1/pulse/a?forget=true")
    after = await put(http, "a")
    assert (after["epoch"], after["seq"]) > (before["epoch"], before["seq"])


# The check.


async def check(http: httpx.AsyncClient, *agents: str, **asked: Any) -> dict[str, Any]:
    answer = await http.post("/v1/check", json={"agents": agents, **asked})
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()["agents"]
    return found


async def test_check_tells_of_the_known_and_of_the_unknown(http: httpx.AsyncClient) -> None:
    told = await put(http, "a", status="busy", ttl=60)
    await put(http, "gone")
    await http.delete("/v1/pulse/gone")
    found = await check(http, "a", "gone", "never")
    assert list(found) == ["a", "gone", "never"]
    assert {field: found["a"][field] for field in ("known", "alive", "state", "seq")} == {
        "known": True,
        "alive": True,
        "state": "busy",
        "seq": told["seq"],
    }
    assert 0 <= found["a"]["evidence_age_ms"] <= 60_000
    assert 0 < found["a"]["valid_for_ms"] <= 60_000
    assert (found["gone"]["known"], found["gone"]["state"]) == (True, "offline")
    assert found["gone"]["valid_for_ms"] == 0
    never = found["never"]
    assert (never["known"], never["alive"], never["state"]) == (False, False, "offline")
    assert (never["evidence_age_ms"], never["valid_for_ms"]) == (None, 0)


async def test_check_tells_whether_the_evidence_is_young_enough(http: httpx.AsyncClient) -> None:
    await put(http, "a", ttl=3600)
    assert (await check(http, "a", within=3_600_000))["a"]["fresh"] is True
    await asyncio.sleep(0.002)  # it has to be older than nothing
    assert (await check(http, "a", within=0))["a"]["fresh"] is False
    assert (await check(http, "never", within=3_600_000))["never"]["fresh"] is False


async def test_check_tells_in_the_detail_that_is_asked_for(http: httpx.AsyncClient) -> None:
    await put(http, "a")
    evidence = {"known", "evidence_age_ms", "valid_for_ms", "fresh", "probed"}
    assert set((await check(http, "a", detail="lite"))["a"]) == LITE | evidence
    assert "expires_at" in (await check(http, "a", detail="full"))["a"]


async def test_check_takes_a_thousand_ids_and_each_once(http: httpx.AsyncClient) -> None:
    ids = [f"{i:0>127}" for i in range(1000)]
    assert list(await check(http, *ids)) == ids
    assert list(await check(http, "b", "a", "b")) == ["b", "a"]


async def test_what_is_told_and_what_is_checked_agree(
    hub: RunningHub, http: httpx.AsyncClient
) -> None:
    async with living(hub, "a", instance="i", status="thinking"):
        shown = await presence(http, "a")
        found = (await check(http, "a"))["a"]
    for field in set(shown) & set(found) - {"last_heartbeat", "expires_at"}:
        assert shown[field] == found[field]
