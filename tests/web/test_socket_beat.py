"""Beats on a socket: what they say of the agent, when they are confirmed, what is no news."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
import pytest

from lifesigns.core.codec import JSON, MSGPACK, Codec
from lifesigns.core.instant import from_text
from tests.agent import Agent, becomes, connected, living, presence
from tests.chronicle import kinds
from tests.hub import RunningHub, running_hub

both = pytest.mark.parametrize("codec", [JSON, MSGPACK], ids=lambda codec: codec.name)
# Renewals are folded for so long: a test that waits for one need not wait for a second.
FOLD_MS = 20


def without_clocks(shown: dict[str, Any]) -> dict[str, Any]:
    clocks = ("last_heartbeat", "expires_at", "last_seen", "last_pulse")
    return {name: value for name, value in shown.items() if name not in clocks}


def lease_s(shown: dict[str, Any]) -> float:
    return (from_text(shown["expires_at"]) - from_text(shown["last_heartbeat"])) / 1000


@both
async def test_ok_comes_after_the_commit(hub: RunningHub, fresh_url: str, codec: Codec) -> None:
    async with (
        running_hub(fresh_url) as other,
        other.client() as elsewhere,
        living(hub, "a", codec=codec) as agent,
    ):
        for i in range(40):
            ok = await agent.beat(task=f"task {i}", metadata={"i": i})
            shown = await presence(elsewhere, "a")
            assert (shown["task"], shown["metadata"]) == (f"task {i}", {"i": i})
            assert (shown["seq"], shown["epoch"]) == (ok["seq"], ok["epoch"])


async def test_welcome_comes_after_the_commit(hub: RunningHub, fresh_url: str) -> None:
    async with running_hub(fresh_url) as other, other.client() as elsewhere:
        for i in range(20):
            async with living(hub, f"agent-{i}", status="idle"):
                assert (await presence(elsewhere, f"agent-{i}"))["alive"]


async def test_no_beat_is_confirmed_before_the_welcome(hub: RunningHub) -> None:
    """A plain beat that came while the hello was on its way got an ok without an epoch."""
    for turns in (*range(10), *range(10, 200, 10)):  # of the loop that both ends share
        async with connected(hub) as socket:
            for type_, ref, said in (
                ("hello", "hello", {"agent": f"agent-{turns}"}),
                ("beat", "plain", {}),
                ("beat", "news", {"task": "t"}),
                ("beat", "plain again", {}),
            ):
                await socket.say(type_, ref=ref, **said)
                for _ in range(turns):
                    await asyncio.sleep(0)
            welcome, *oks = [await socket.hear() for _ in range(4)]
            assert (welcome["type"], welcome["ref"]) == ("welcome", "hello")
            assert {ok["ref"] for ok in oks} == {"plain", "news", "plain again"}
            assert [ok["type"] for ok in oks] == ["ok"] * 3
            assert {ok["epoch"] for ok in oks} == {welcome["epoch"]}
            assert min(ok["seq"] for ok in oks) >= welcome["seq"]


@both
async def test_beat_without_news_is_no_change(fresh_url: str, codec: Codec) -> None:
    said: dict[str, Any] = {
        "status": "busy",
        "task": "t",
        "metadata": {"a": 1},
        "capabilities": ["x"],
        "slots": 2,
    }
    async with (
        running_hub(fresh_url, fold_ms=FOLD_MS) as hub,
        hub.client() as http,
        living(hub, "a", codec=codec, **said) as agent,
    ):
        before = await presence(http, "a")
        for beat in ({}, said, {"task": "t"}, {"unknown": 1}, {"slots": 2}):
            await agent.beat(**beat)
        after = await becomes(http, "a", lambda now: now["expires_at"] > before["expires_at"])
        assert without_clocks(after) == without_clocks(before)
        assert await kinds(hub.hub.link, "a") == ["online"]


async def test_absent_is_unchanged_and_null_is_cleared(
    hub: RunningHub, http: httpx.AsyncClient
) -> None:
    said: dict[str, Any] = {
        "status": "thinking",
        "task": "t",
        "progress": {"note": "n"},
        "metadata": {"a": 1},
        "context": "c",
        "capabilities": ["x"],
        "slots": 3,
        "did": "d",
        "name": "N",
        "group": "g",
        "host": "h",
        "version": "v",
    }
    cleared = dict.fromkeys(said) | {"capabilities": [], "slots": 1}
    async with living(hub, "a", **said) as agent:
        for name in said:
            await agent.beat(**{name: None})
            said[name] = cleared[name]
            shown = await presence(http, "a")
            assert {each: shown[each] for each in said} == said


async def test_metadata_is_replaced_whole(hub: RunningHub, http: httpx.AsyncClient) -> None:
    async with living(hub, "a", metadata={"a": 1, "b": {"c": 2}}) as agent:
        await agent.beat(metadata={"b": {"d": 3}})
        assert (await presence(http, "a"))["metadata"] == {"b": {"d": 3}}
        await agent.beat(metadata={})
        assert (await presence(http, "a"))["metadata"] == {}


async def test_progress_as_a_bare_text_is_its_note(
    hub: RunningHub, http: httpx.AsyncClient
) -> None:
    async with living(hub, "a") as agent:
        await agent.beat(progress="halfway")
        assert (await presence(http, "a"))["progress"] == {"note": "halfway"}


async def test_hint_counts_before_the_status(hub: RunningHub, http: httpx.AsyncClient) -> None:
    async with living(hub, "a") as agent:
        for said, state in (
            ({"status": "WORKING"}, "busy"),
            ({"state": "draining"}, "draining"),
            ({"task": "t"}, "draining"),  # neither state nor status: the hint stays
            ({"status": "idle"}, "available"),  # a status without a state drops it
            ({"status": "whatever"}, "busy"),  # no word of the table, and it has a task
            ({"task": None}, "available"),
            ({"status": "idle", "state": "degraded"}, "degraded"),
            ({"state": None}, "available"),
            ({"state": "error"}, "error"),
            ({"status": None}, "available"),
        ):
            await agent.beat(**said)
            assert (await presence(http, "a"))["state"] == state, said


async def test_ttl_once_given_stays_until_another_is_given(
    hub: RunningHub, http: httpx.AsyncClient
) -> None:
    async with living(hub, "a", ttl=7) as agent:
        for said, kept_s in (
            ({}, 7),
            ({"task": "t"}, 7),
            ({"ttl": 86_400}, 86_400),
            ({}, 86_400),
            ({"task": None}, 86_400),
            ({"ttl": None, "task": "u"}, 86_400),
            ({"ttl": 2.5}, 2.5),
            ({"ttl": 1}, 1),
        ):
            await agent.beat(**said)
            shown = await becomes(http, "a", lambda shown: shown["alive"])
            assert lease_s(shown) == kept_s, said


@both
async def test_ttl_out_of_range_is_refused_and_changes_nothing(
    hub: RunningHub, http: httpx.AsyncClient, codec: Codec
) -> None:
    async with living(hub, "a", codec=codec, ttl=7) as agent:
        before = await presence(http, "a")
        for ttl in (0, 0.999, 86_400.5, -5, 10**15, "30", True, [30]):
            assert await agent.refused("beat", ttl=ttl, task="no") == ("bad_value", "ttl")
        await agent.beat()
        after = await presence(http, "a")
        assert without_clocks(after) == without_clocks(before)
        assert lease_s(after) == 7


async def test_any_frame_renews_the_lease(fresh_url: str) -> None:
    async def pinged(agent: Agent) -> None:
        await (await agent.socket.ping())

    async def refused(agent: Agent) -> None:
        await agent.refused("dance")

    async def asked(agent: Agent) -> None:
        await agent.ask("check", agents=["a"])

    async with (
        running_hub(fresh_url, fold_ms=FOLD_MS) as hub,
        hub.client() as http,
        living(hub, "a", ttl=60) as agent,
    ):
        for sign in (pinged, refused, asked):
            before = await presence(http, "a")
            await sign(agent)
            await becomes(
                http, "a", lambda shown, was=before: shown["expires_at"] > was["expires_at"]
            )


# Instances.


async def test_same_beat_twice_is_one_presence(hub: RunningHub, http: httpx.AsyncClient) -> None:
    async with living(hub, "a") as agent:
        first = await agent.beat(task="t", progress={"done": 1})
        again = await agent.beat(task="t")
        assert again["seq"] == first["seq"]
        listed = (await http.get("/v1/pulse")).json()
    assert listed["total"] == 1
    assert listed["agents"][0]["instances"] == 1


async def test_agent_stays_while_one_of_its_instances_does(
    hub: RunningHub, http: httpx.AsyncClient
) -> None:
    async with (
        living(hub, "a", instance="one", status="busy", capabilities=["x"], slots=2) as one,
        living(hub, "a", instance="two", status="error", capabilities=["y"], slots=5) as two,
    ):
        shown = await presence(http, "a")
        assert (shown["state"], shown["instances"]) == ("busy", 2)
        assert shown["instance_states"] == {"busy": 1, "error": 1}
        assert sorted(shown["capabilities"]) == ["x", "y"]
        assert shown["slots"] == 2
        await one.bye(reason="one goes")
        shown = await becomes(http, "a", instances=1)
        assert (shown["alive"], shown["state"], shown["reason"]) == (True, "error", None)
        await two.bye()
        shown = await becomes(http, "a", instances=0)
        assert (shown["state"], shown["reason"]) == ("offline", "left")
    assert (await kinds(hub.hub.link, "a"))[-1] == "offline"
    assert (await kinds(hub.hub.link, "a")).count("offline") == 1


async def test_leaving_in_the_name_of_one_instance_is_no_concern_of_the_other(
    hub: RunningHub, http: httpx.AsyncClient
) -> None:
    async with (
        living(hub, "a", instance="one") as one,
        living(hub, "a", instance="two") as two,
    ):
        assert (await http.delete("/v1/pulse/a?instance=one")).status_code == 200
        assert await one.ended() == 1000
        await two.beat()
        assert (await presence(http, "a"))["instances"] == 1
        assert (await http.delete("/v1/pulse/a")).json()["reason"] == "left"
        assert await two.ended() == 1000
