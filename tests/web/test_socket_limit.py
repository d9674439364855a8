"""Values and rates beyond the limits, on a socket: each is refused by its name and harms nobody."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Iterator
from typing import Any

import httpx
import msgpack
import pytest

from lifesigns.core.codec import JSON, MSGPACK, Codec
from lifesigns.core.instant import to_text
from tests.agent import (
    BINARY,
    PING,
    TEXT,
    becomes,
    connected,
    framed,
    living,
    presence,
    upgraded,
)
from tests.chronicle import kinds
from tests.hub import RunningHub, running_hub
from tests.patience import until

both = pytest.mark.parametrize("codec", [JSON, MSGPACK], ids=lambda codec: codec.name)

ERRORS = 20  # so many in ten seconds end a socket


def nested(depth: int) -> Any:
    return {} if depth == 1 else {"a": nested(depth - 1)}


# What a beat may not say, and the field that the refusal names, if it is not the first one.
BAD_BEATS: tuple[tuple[dict[str, Any], str | None], ...] = (
    ({"status": 5}, None),
    ({"status": "x" * 129}, None),
    ({"state": "happy"}, None),
    ({"state": ["busy"]}, None),
    ({"task": "x" * 1025}, None),
    ({"task": {}}, None),
    ({"progress": 5}, None),
    ({"progress": "x" * 1025}, None),
    ({"progress": {"note": "x" * 1025}}, "progress.note"),
    ({"progress": {"data": "x" * 17_000}}, None),
    ({"progress_ttl": 0}, None),
    ({"progress_ttl": "soon"}, None),
    ({"busy_until": "tomorrow"}, None),
    ({"busy_until": 1_700_000_000}, None),
    ({"busy_until": to_text(4_000_000_000_000)}, None),
    ({"busy_for": -1}, None),
    ({"busy_for": 86_401}, None),
    ({"metadata": "text"}, None),
    ({"metadata": [1]}, None),
    ({"metadata": {"a": "x" * 16_400}}, None),
    ({"metadata": nested(17)}, None),
    ({"context": "x" * 16_385}, None),
    ({"context": nested(17)}, None),
    ({"capabilities": "search"}, None),
    ({"capabilities": {"search": True}}, None),
    ({"capabilities": [f"c{i}" for i in range(65)]}, None),
    ({"capabilities": ["a", "x" * 129]}, "capabilities[1]"),
    ({"capabilities": ["a", "b", None]}, "capabilities[2]"),
    ({"slots": -1}, None),
    ({"slots": 1001}, None),
    ({"slots": 1.5}, None),
    ({"slots": True}, None),
    ({"did": 7}, None),
    ({"name": ["n"]}, None),
    ({"group": "x" * 129}, None),
    ({"host": {}}, None),
    ({"version": 1.0}, None),
    ({"ttl": "30"}, None),
)


@both
async def test_bad_value_is_refused_by_its_field_and_nothing_of_it_is_stored(
    hub: RunningHub, http: httpx.AsyncClient, codec: Codec
) -> None:
    kept = {"status": "busy", "task": "kept", "metadata": {"kept": True}, "slots": 2}
    async with living(hub, "bystander", codec=codec) as bystander:
        for i in range(0, len(BAD_BEATS), ERRORS - 1):
            async with living(hub, "a", codec=codec, instance="i", **kept) as agent:
                before = await presence(http, "a")
                for bad, path in BAD_BEATS[i : i + ERRORS - 1]:
                    (field,) = bad
                    spoilt = {"status": "idle", "task": "not kept"} | bad
                    refused = await agent.refused("beat", **spoilt)
                    if not (field.startswith(("meta", "con")) and path is None):
                        assert refused == ("bad_value", path or field), bad
                    else:  # how deep inside it is wrong may be said as well
                        assert refused[0] == "bad_value"
                        assert str(refused[1]).startswith(field)
                assert (await presence(http, "a"))["seq"] == before["seq"]
                await agent.beat()
                await bystander.beat()


@both
async def test_values_at_the_limits_are_taken(
    hub: RunningHub, http: httpx.AsyncClient, codec: Codec
) -> None:
    said: dict[str, Any] = {
        "status": "ü" * 128,
        "task": "x" * 1024,
        "metadata": nested(16) | {"b": "x" * 16_000},
        "context": "x" * 16_384,
        "capabilities": [f"{i:0128}" for i in range(64)],
        "slots": 1000,
        "progress": {"note": "x" * 1024},
    }
    async with living(hub, "a", codec=codec, ttl=86_400, **said) as agent:
        await agent.beat(slots=0, ttl=1)
        shown = await presence(http, "a")
    assert {name: shown[name] for name in said} == said | {"slots": 0}


@both
async def test_names_that_are_none_are_refused_and_good_ones_may_follow(
    hub: RunningHub, codec: Codec
) -> None:
    async with connected(hub, codec=codec) as socket:
        for hello, code in (
            ({"agent": ""}, "bad_request"),
            ({"agent": "a b"}, "bad_request"),
            ({"agent": "me"}, "bad_request"),
            ({"agent": "x" * 129}, "bad_request"),
            ({"agent": "ü"}, "bad_request"),
            ({"agent": 7}, "bad_value"),
            ({"agent": "a", "instance": ""}, "bad_request"),
            ({"agent": "a", "instance": "x" * 129}, "bad_request"),
            ({"agent": "a", "instance": "\x1f"}, "bad_request"),
            ({"agent": "a", "instance": 1}, "bad_value"),
        ):
            field = "instance" if "instance" in hello else "agent"
            refused = await socket.refused("hello", **hello)
            assert refused[1] == field
            assert refused[0] in (code, "bad_value"), hello
        welcome = await socket.ask("hello", agent="A.z_9:@~-", instance="Ü " * 64)
        assert welcome["type"] == "welcome"


async def test_reason_that_is_too_long_does_not_end_the_agent(hub: RunningHub) -> None:
    async with living(hub, "a") as agent:
        assert await agent.refused("bye", reason="x" * 1025) == ("bad_value", "reason")
        await agent.beat()
        assert await agent.bye(reason="x" * 1024) == 1000


# Values that one of the codecs can write and the domain does not have.
FOREIGN_JSON = (
    ('{"a": NaN}', "metadata.a"),
    ('{"a": [1, -Infinity]}', "metadata.a[1]"),
    ('{"a": 1e999}', "metadata.a"),
    ('{"a": 9223372036854775808}', "metadata.a"),
    ('{"a": -9223372036854775809}', "metadata.a"),
    ('{"a": 1' + "0" * 5000 + "}", "metadata.a"),
    (r'{"a": {"b": "\ud800"}}', "metadata.a.b"),
    ('{"a": 1, "a": 2}', "metadata.a"),
)
FOREIGN_MSGPACK = (
    ({"a": float("nan")}, "metadata.a"),
    ({"a": [1, float("inf")]}, "metadata.a[1]"),
    ({"a": 2**64 - 1}, "metadata.a"),
    ({"a": b"bytes"}, "metadata.a"),
    ({"a": {"b": msgpack.Timestamp(1, 0)}}, "metadata.a.b"),
    ({"a": msgpack.ExtType(42, b"x")}, "metadata.a"),
    ({1: "one"}, "metadata"),
    ({"a": {b"b": 1}}, "metadata.a"),
)
NO_MESSAGE = (b"", b" ", b"{", b"nonsense", b'"beat"', b"[]", b"null", b"\xc1", b"\x81\xa4type")


def foreign(codec: Codec) -> Iterator[tuple[bytes, str]]:
    if codec is JSON:
        for value, path in FOREIGN_JSON:
            yield f'{{"type": "beat", "ref": "r", "task": "t", "metadata": {value}}}'.encode(), path
    else:
        for packed, path in FOREIGN_MSGPACK:
            said = {"type": "beat", "ref": "r", "task": "t", "metadata": packed}
            yield msgpack.packb(said), path


@both
async def test_value_outside_the_domain_is_refused_by_its_path(
    hub: RunningHub, http: httpx.AsyncClient, codec: Codec
) -> None:
    opcode = BINARY if codec.binary else TEXT
    async with upgraded(hub, codec=codec, hello={"agent": "a"}) as peer:
        for payload, path in foreign(codec):
            await peer.write(framed(opcode, payload))
            error = await peer.hear()
            assert (error["type"], error["code"], error["field"]) == ("error", "bad_value", path)
            assert error["ref"] == "r"
        shown = await presence(http, "a")
        assert (shown["task"], shown["metadata"]) == (None, None)
        await peer.say("ping", ref=1)
        assert (await peer.hear())["type"] == "pong"


@both
async def test_what_is_no_message_is_refused_and_the_socket_lives_on(
    hub: RunningHub, codec: Codec
) -> None:
    opcode = BINARY if codec.binary else TEXT
    async with upgraded(hub, codec=codec, hello={"agent": "a"}) as peer:
        for payload in NO_MESSAGE:
            if opcode == TEXT and not payload.isascii():
                continue  # bad UTF-8 is another matter
            await peer.write(framed(opcode, payload))
            error = await peer.hear()
            assert (error["type"], error["code"]) == ("error", "bad_json")
        await peer.say("ping", ref=1)
        assert (await peer.hear())["type"] == "pong"


# Rates.


async def test_burst_of_twice_the_rate_is_taken(hub: RunningHub) -> None:
    async with living(hub, "a") as agent:
        for i in range(98):  # with the hello, and one to come
            await agent.say("ping", ref=i)
        for i in range(98):
            assert (await agent.hear())["ref"] == i
        await agent.beat()


async def test_flood_is_refused_while_the_lease_is_kept_and_ends_with_4029(fresh_url: str) -> None:
    """The lease is one second, the flood lasts longer."""
    settings = {"messages_per_s": 10, "burst_s": 0.5, "flood_s": 2, "fold_ms": 20}
    async with (
        running_hub(fresh_url, **settings) as hub,
        hub.client() as http,
        upgraded(hub, hello={"agent": "a", "ttl": 1}) as peer,
    ):
        refused = 0

        async def flood() -> None:
            for i in itertools.count():
                await peer.say("beat", ref=i, task=f"task {i}")
                await asyncio.sleep(0.01)

        flooding = asyncio.ensure_future(flood())
        try:
            while True:
                opcode, payload = await peer.frame()
                if opcode not in (TEXT, PING):
                    break
                heard = peer.codec.decode(payload) if opcode == TEXT else {}
                if heard.get("type") == "error":
                    assert heard["code"] == "rate_limited"
                    assert isinstance(heard["ref"], int)
                    refused += 1
        finally:
            flooding.cancel()
        assert int.from_bytes(payload[:2], "big") == 4029
        assert refused > 50
        written = await kinds(hub.hub.link, "a")
        assert written[0] == "online"
        assert set(written[1:]) <= {"updated", "suspect"}
        await becomes(http, "a", alive=False)


async def test_who_slows_down_in_time_is_not_closed(fresh_url: str) -> None:
    settings = {"messages_per_s": 20, "burst_s": 0.5, "flood_s": 1}
    async with running_hub(fresh_url, **settings) as hub, living(hub, "a") as agent:
        for _ in range(2):
            types = set()
            for _ in range(30):
                await agent.say("ping")
            for _ in range(30):
                types.add((await agent.hear())["type"])
            assert types == {"pong", "error"}
            await asyncio.sleep(0.6)  # longer than the burst takes to be allowed again
        await agent.beat()


async def test_nineteen_errors_are_borne_and_twenty_are_not(hub: RunningHub) -> None:
    async with living(hub, "a") as agent, living(hub, "b") as other:
        for _ in range(ERRORS - 1):
            await agent.refused("dance")
        await agent.beat()
        await agent.say("dance")
        assert await agent.ended() == 4000
        await other.beat()
    await until(lambda: not hub.hub.lobby.open)


async def test_one_instance_more_than_an_agent_may_have_waits_for_another_to_end(
    fresh_url: str,
) -> None:
    async with running_hub(fresh_url, max_instances=2) as hub, hub.client() as http:
        async with living(hub, "a", instance="one") as one, living(hub, "a", instance="two"):
            async with connected(hub) as third:
                error = await third.ask("hello", agent="a", instance="three")
                assert (error["type"], error["code"]) == ("error", "rate_limited")
                assert error["message"] == "An agent may have at most 2 instances."
                assert await third.ended() == 4029
            refused = await http.put("/v1/pulse/a", json={"instance": "three"})
            assert (refused.status_code, refused.json()["code"]) == (429, "rate_limited")
            beats = [{"id": "a", "instance": "three"}, {"id": "a", "instance": "two"}, {"id": "b"}]
            results = (await http.post("/v1/pulse", json={"beats": beats})).json()["results"]
            assert [result.get("code") for result in results] == ["rate_limited", None, None]
            await one.beat(task="those who are there are not concerned")
            assert (await presence(http, "a"))["instances"] == 2
            await one.bye()
            async with living(hub, "a", instance="three"):
                assert (await presence(http, "a"))["instances"] == 2
        await http.delete("/v1/pulse/a")
