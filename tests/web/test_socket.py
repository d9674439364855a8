"""Messages on a socket: what each says, what it is answered, and what it does to the presence."""

from __future__ import annotations

import asyncio
import re
from datetime import datetime
from typing import Any

import httpx
import pytest

from lifesigns.core.codec import JSON, MSGPACK, Codec
from lifesigns.core.instant import from_text
from tests.agent import becomes, connected, living, presence
from tests.chronicle import kinds
from tests.hub import RunningHub

both = pytest.mark.parametrize("codec", [JSON, MSGPACK], ids=lambda codec: codec.name)

INSTANT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")


def without_clocks(shown: dict[str, Any]) -> dict[str, Any]:
    clocks = ("last_heartbeat", "expires_at", "last_seen", "last_pulse")
    return {name: value for name, value in shown.items() if name not in clocks}


def lease_s(shown: dict[str, Any]) -> float:
    return (from_text(shown["expires_at"]) - from_text(shown["last_heartbeat"])) / 1000


# Hello.


@both
async def test_welcome_says_what_was_agreed(hub: RunningHub, codec: Codec) -> None:
    async with living(hub, "a", codec=codec, instance="one", ttl=12) as agent:
        welcome = agent.welcome
    assert welcome["agent"] == "a"
    assert welcome["instance"] == "one"
    assert welcome["ttl"] == 12
    assert welcome["beat_every"] == 4
    assert welcome["node"] == hub.hub.lobby.node
    assert isinstance(welcome["session"], str)
    assert welcome["session"]
    assert INSTANT.fullmatch(welcome["time"])
    assert welcome["limits"]["message_bytes"] == 65_536
    assert "ref" not in welcome


async def test_hello_that_says_nothing_more_gets_the_defaults(
    hub: RunningHub, http: httpx.AsyncClient
) -> None:
    async with living(hub, "a") as agent:
        assert agent.welcome["ttl"] == 30
        assert agent.welcome["beat_every"] == 10
        shown = await presence(http, "a")
    assert shown["alive"]
    assert shown["state"] == "available"
    assert shown["slots"] == shown["free_slots"] == 1
    assert shown["capabilities"] == []
    assert shown["dialect"] == "pulse"
    nothing = ("name", "status", "task", "progress", "metadata", "context", "group", "host")
    assert [shown[name] for name in nothing] == [None] * len(nothing)
    assert lease_s(shown) == 30


async def test_instance_without_a_name_gets_a_random_one(
    hub: RunningHub, http: httpx.AsyncClient
) -> None:
    async with living(hub, "a") as one, living(hub, "a") as other:
        assert one.welcome["instance"] != other.welcome["instance"]
        assert (await presence(http, "a"))["instances"] == 2


@both
async def test_hello_describes_everything(
    hub: RunningHub, http: httpx.AsyncClient, codec: Codec
) -> None:
    described = {
        "status": "thinking",
        "task": "processing user query",
        "progress": {"note": "23 of 50 records", "done": 23, "total": 50},
        "metadata": {"model": "some-model", "queue_depth": 3, "deep": [{"ü": [None, True, 0.5]}]},
        "context": ["any", {"thing": 2**63 - 1}],
        "capabilities": ["search", "summarise"],
        "slots": 4,
        "did": "did:example:123",
        "name": "Sam",
        "group": "night",
        "host": "node-17.example",
        "version": "1.4.2",
    }
    async with living(hub, "a", codec=codec, **described):
        shown = await presence(http, "a")
    assert {name: shown[name] for name in described} == described
    assert shown["state"] == "busy"


async def test_hello_describes_its_instance_whole(hub: RunningHub, http: httpx.AsyncClient) -> None:
    async with living(hub, "a", instance="i", task="old", slots=3, metadata={"old": 1}):
        pass
    async with living(hub, "a", instance="i", name="New"):
        shown = await presence(http, "a")
    assert (shown["task"], shown["slots"], shown["metadata"]) == (None, 1, None)
    assert shown["name"] == "New"
    assert shown["instances"] == 1


@both
async def test_observer_is_nobody_and_may_ask(
    hub: RunningHub, http: httpx.AsyncClient, codec: Codec
) -> None:
    async with living(hub, None, codec=codec) as observer:
        for name in ("session", "agent", "instance", "ttl", "beat_every"):
            assert observer.welcome[name] is None
        assert (await observer.ask("check", agents=["a"]))["type"] == "checked"
        assert (await observer.ask("ping"))["type"] == "pong"
        assert await observer.refused("beat", status="idle") == ("bad_request", None)
        assert (await http.get("/v1/pulse?alive=any")).json()["total"] == 0
        assert await observer.bye() == 1000


async def test_hello_with_a_bad_field_may_be_said_again(hub: RunningHub) -> None:
    async with connected(hub) as socket:
        assert await socket.refused("hello", agent="a", ttl=0.5) == ("bad_value", "ttl")
        assert (await socket.ask("hello", agent="a", ttl=1))["type"] == "welcome"


async def test_second_hello_is_refused_and_the_socket_lives_on(hub: RunningHub) -> None:
    async with living(hub, "a") as agent:
        assert await agent.refused("hello", agent="b") == ("already_greeted", None)
        await agent.beat()


# Refs.


@both
async def test_every_answer_carries_the_ref(hub: RunningHub, codec: Codec) -> None:
    for ref in ("", "a text", 0, -(2**63), 2**63 - 1):
        async with connected(hub, codec=codec) as socket:
            for type_, said, answer in (
                ("hello", {"agent": "a"}, "welcome"),
                ("beat", {}, "ok"),
                ("beat", {"task": f"t {ref}"}, "ok"),
                ("ping", {}, "pong"),
                ("check", {"agents": ["a"]}, "checked"),
                ("check", {"agents": []}, "error"),
                ("beat", {"slots": -1}, "error"),
                ("dance", {}, "error"),
            ):
                await socket.say(type_, ref=ref, **said)
                heard = await socket.hear()
                assert heard["type"] == answer
                assert heard["ref"] == ref
                assert type(heard["ref"]) is type(ref)


async def test_what_has_no_ref_is_not_confirmed(hub: RunningHub) -> None:
    async with living(hub, "a") as agent:
        await agent.say("beat")
        await agent.say("beat", task="t")
        await agent.say("ping")
        pong = await agent.hear()
        assert pong["type"] == "pong"
        assert "ref" not in pong


async def test_ref_of_another_type_is_refused(hub: RunningHub) -> None:
    async with living(hub, "a") as agent:
        for ref in (True, 1.5, ["r"], {"r": 1}):
            await agent.say("ping", ref=ref)
            error = await agent.hear()
            assert (error["type"], error["code"], error["field"]) == ("error", "bad_value", "ref")
            assert "ref" not in error


# Answers.


@both
async def test_ok_of_a_beat_has_its_number_and_the_end_of_the_lease(
    hub: RunningHub, http: httpx.AsyncClient, codec: Codec
) -> None:
    async with living(hub, "a", codec=codec, ttl=20) as agent:
        ok = await agent.beat(task="t")
        shown = await presence(http, "a")
        assert (ok["seq"], ok["epoch"]) == (shown["seq"], shown["epoch"])
        assert ok["expires_at"] == shown["expires_at"]
        later = await agent.beat()
        assert (later["seq"], later["epoch"]) == (ok["seq"], ok["epoch"])
        assert INSTANT.fullmatch(later["expires_at"])
        assert from_text(later["expires_at"]) >= from_text(ok["expires_at"])


@both
async def test_pong_tells_the_hubs_time(hub: RunningHub, codec: Codec) -> None:
    async with living(hub, "a", codec=codec) as agent:
        pong = await agent.ask("ping")
        assert set(pong) == {"type", "ref", "time"}
        assert INSTANT.fullmatch(pong["time"])
        told = datetime.fromisoformat(pong["time"])
        assert abs((told - datetime.now(told.tzinfo)).total_seconds()) < 60


@both
async def test_check_says_of_each_agent_whether_it_is_alive(
    hub: RunningHub, http: httpx.AsyncClient, codec: Codec
) -> None:
    await http.put("/v1/pulse/gone", json={"task": "t"})
    await http.delete("/v1/pulse/gone")
    async with living(hub, "here", codec=codec, ttl=60, status="busy") as agent:
        asked = ["here", "gone", "never", "here"]
        checked = await agent.ask("check", agents=asked, within=60_000)
        agents = checked["agents"]
        assert list(agents) == ["here", "gone", "never"]
        here, gone, never = agents.values()
        assert (here["known"], here["alive"], here["fresh"]) == (True, True, True)
        assert here["state"] == "busy"
        assert 0 <= here["evidence_age_ms"] < 60_000
        assert 0 < here["valid_for_ms"] <= 60_000
        assert (gone["known"], gone["alive"], gone["reason"]) == (True, False, "left")
        assert gone["valid_for_ms"] == 0
        assert (never["known"], never["state"], never["alive"]) == (False, "offline", False)


async def test_check_with_old_evidence_is_not_fresh(hub: RunningHub) -> None:
    async with living(hub, "old", ttl=60), living(hub, None) as observer:
        answer = await observer.ask("check", agents=["old"])
        assert answer["agents"]["old"]["fresh"]
        while answer["agents"]["old"]["fresh"]:  # what is not beaten for grows old
            answer = await observer.ask("check", agents=["old"], within=20)
            await asyncio.sleep(0.005)
        assert answer["agents"]["old"]["evidence_age_ms"] > 20
        assert answer["agents"]["old"]["alive"]


@both
async def test_check_in_lite_names_few_fields(hub: RunningHub, codec: Codec) -> None:
    async with living(hub, "a", codec=codec) as agent:
        checked = await agent.ask("check", agents=["a"], detail="lite")
        lite = {"id", "name", "state", "status", "dialect", "group", "capabilities", "alive"}
        evidence = {"known", "fresh", "evidence_age_ms", "valid_for_ms", "probed"}
        assert set(checked["agents"]["a"]) == lite | evidence | {"epoch", "seq"}


@both
async def test_large_check_comes_in_frames_that_stay_small(
    hub: RunningHub, http: httpx.AsyncClient, codec: Codec
) -> None:
    names = [f"agent-{i:02}" for i in range(80)]
    beats = [{"id": name, "metadata": {"text": "x" * 16_000}} for name in names]
    assert (await http.post("/v1/pulse", json={"beats": beats})).status_code == 200
    async with living(hub, None, codec=codec) as observer:
        await observer.say("check", ref="r", agents=names)
        found: dict[str, Any] = {}
        frames = 0
        while True:
            checked = await observer.hear()
            frames += 1
            assert checked["ref"] == "r"
            assert len(codec.encode(checked)) < 512 * 1024
            assert not found.keys() & checked["agents"].keys()
            found |= checked["agents"]
            if not checked.get("more"):
                break
        assert sorted(found) == names
        assert frames > 1


async def test_check_may_be_longer_than_any_other_message(hub: RunningHub) -> None:
    names = [f"{i:0100}" for i in range(1000)]
    async with living(hub, None) as observer:
        checked = await observer.ask("check", agents=names, detail="lite")
        assert list(checked["agents"]) == names


async def test_bad_check_is_refused_by_its_field(hub: RunningHub) -> None:
    async with living(hub, None) as observer:
        for asked, field in (
            ({}, "agents"),
            ({"agents": []}, "agents"),
            ({"agents": "a"}, "agents"),
            ({"agents": [f"a{i}" for i in range(1001)]}, "agents"),
            ({"agents": ["a", 7]}, "agents[1]"),
            ({"agents": ["a"], "within": -1}, "within"),
            ({"agents": ["a"], "within": "soon"}, "within"),
            ({"agents": ["a"], "detail": "everything"}, "detail"),
            ({"agents": ["a"], "probe": "yes"}, "probe"),
            ({"agents": ["a"], "probe": True, "timeout": 10_001}, "timeout"),
            ({"agents": ["a"], "probe": True, "timeout": -1}, "timeout"),
        ):
            assert await observer.refused("check", **asked) == ("bad_value", field)
        bad_id = await observer.refused("check", agents=["a", "no spaces"])
        assert bad_id == ("bad_request", "agents[1]")


@both
async def test_error_says_code_message_and_field(hub: RunningHub, codec: Codec) -> None:
    async with living(hub, "a", codec=codec) as agent:
        error = await agent.ask("beat", metadata={"deep": "x"}, slots=1001)
        assert set(error) == {"type", "ref", "code", "message", "field"}
        assert (error["code"], error["field"]) == ("bad_value", "slots")
        assert "slots" in error["message"]


@both
async def test_unknown_type_is_refused_and_the_socket_lives_on(
    hub: RunningHub, codec: Codec
) -> None:
    async with living(hub, "a", codec=codec) as agent:
        assert (await agent.refused("dance"))[0] == "unknown_type"
        for type_ in (None, 7, ["beat"], {}):
            await agent.say("beat", **{"type": type_})
            error = await agent.hear()
            assert (error["code"], error["field"]) == ("bad_value", "type")
        await agent.beat()


async def test_unknown_fields_are_ignored(hub: RunningHub, http: httpx.AsyncClient) -> None:
    async with living(hub, "a", colour="red") as agent:
        await agent.beat(task="t", colour={"of": "another version"})
        shown = await presence(http, "a")
    assert shown["task"] == "t"
    assert "colour" not in shown


async def test_bye_ends_the_agent_at_once_with_its_reason(
    hub: RunningHub, http: httpx.AsyncClient
) -> None:
    async with living(hub, "a", task="t") as agent:
        assert await agent.bye(reason="going home") == 1000
    shown = await becomes(http, "a", alive=False)
    assert (shown["state"], shown["reason"]) == ("offline", "left")
    assert shown["reason_text"] == "going home"
    assert (shown["task"], shown["instances"]) == ("t", 0)
    assert await kinds(hub.hub.link, "a") == ["online", "offline"]
