"""The store goes away and comes back: sockets stay, nothing said meanwhile is lost, nobody dies."""

from __future__ import annotations

import asyncio
import contextlib
import functools
from collections.abc import AsyncIterator, Callable

import httpx
import pytest

from tests.agent import Agent, becomes, connected, living, presence
from tests.chaos.proxy import Proxy
from tests.chronicle import chronicle
from tests.hub import RunningHub, running_hub
from tests.patience import until
from tests.server import Server

Maker = Callable[..., Server]
# What was confirmed is on the disk, so that a killed server comes back with it.
DURABLE = ("--appendonly", "yes", "--appendfsync", "always")
TTL_S = 1.0  # shorter than the store is away


@contextlib.asynccontextmanager
async def beating(hub: RunningHub, name: str, ttl: float = TTL_S) -> AsyncIterator[Agent]:
    """Hold an agent that beats three times a ttl, whatever becomes of the store."""

    async def beat() -> None:
        while True:
            await asyncio.sleep(ttl / 3)
            await agent.say("beat")

    async with living(hub, name, ttl=ttl, task="before") as agent:
        heart = asyncio.ensure_future(beat())
        try:
            yield agent
        finally:
            heart.cancel()


async def away(hub: RunningHub) -> None:
    """Return when the hub has noticed that the store is away."""
    await until(lambda: not hub.hub.link.up)


async def a_while() -> None:
    """Let more time pass than the leases last."""
    await asyncio.sleep(1.5 * TTL_S)


async def kinds_by_agent(hub: RunningHub) -> dict[str, list[str]]:
    written = await chronicle(hub.hub.link)
    return {agent: [change.kind for change in changes] for agent, changes in written.items()}


async def test_what_was_said_while_the_store_was_away_is_there_afterwards(
    valkey_server: Maker,
) -> None:
    server = valkey_server(*DURABLE)
    async with (
        running_hub(server.url) as hub,
        hub.client() as http,
        beating(hub, "silent"),
        beating(hub, "talks") as talks,
        living(hub, "leaves", ttl=60) as leaves,
        living(hub, "breaks", ttl=60) as breaks,
        living(hub, None) as observer,
    ):
        await http.put("/v1/pulse/over-http", json={"status": "idle", "ttl": 60})
        server.kill()
        await away(hub)

        # Reads are refused at once, and so is what could not be stored.
        for path in ("/v1/pulse/silent", "/v1/pulse", "/readyz"):
            answer = await http.get(path)
            assert (answer.status_code, answer.json()["code"]) == (503, "unavailable")
            assert int(answer.headers["Retry-After"]) >= 1
        assert (await http.put("/v1/pulse/over-http", json={"task": "t"})).status_code == 503
        assert (await observer.refused("check", agents=["silent"]))[0] == "unavailable"
        assert (await http.get("/livez")).status_code == 200

        # Sockets stay, and new ones come.
        await talks.say("beat", task="first", metadata={"a": 1})
        await talks.say("beat", task="second", slots=7)
        await talks.say("beat", task="third", ref="confirm")
        async with beating(hub, "newcomer") as newcomer:
            assert newcomer.welcome["agent"] == "newcomer"
            await newcomer.say("beat", task="as a newcomer")
            assert await leaves.bye(reason="while it was away") == 1000
            breaks.abort()
            await a_while()

            server.start()
            ok = await talks.hear()
            assert (ok["type"], ok["ref"]) == ("ok", "confirm")
            shown = await presence(http, "talks")
            assert (shown["task"], shown["metadata"], shown["slots"]) == ("third", {"a": 1}, 7)
            await becomes(http, "newcomer", task="as a newcomer", alive=True)
            await becomes(http, "leaves", state="offline", reason="left")
            await becomes(http, "breaks", state="suspect")
            assert (await presence(http, "over-http"))["alive"]

            await a_while()  # whoever beats goes on, and nobody was declared dead
            assert (await newcomer.ask("ping"))["type"] == "pong"
            assert (await talks.beat())["type"] == "ok"
        written = await kinds_by_agent(hub)
        for agent in ("silent", "talks", "newcomer", "over-http"):
            assert "offline" not in written.get(agent, []), (agent, written)


async def refused(http: httpx.AsyncClient, *calls: tuple[str, str]) -> None:
    """See that calls, all at once, are refused for the time being."""
    answers = await asyncio.gather(*[http.request(*call) for call in calls])
    for answer in answers:
        assert (answer.status_code, answer.json()["code"]) == (503, "unavailable"), answer.text
        assert int(answer.headers["Retry-After"]) >= 1


async def test_store_that_takes_two_seconds_is_asked_by_nobody_who_would_only_wait(
    valkey_server: Maker,
) -> None:
    """Each call waited three seconds, however many waited already."""
    server = valkey_server(tcp=True)
    way = functools.partial(asyncio.open_connection, "127.0.0.1", server.port)
    async with (
        Proxy(way) as proxy,
        running_hub(f"redis://127.0.0.1:{proxy.port}") as hub,
        hub.client() as http,
        beating(hub, "silent"),
        beating(hub, "talks") as talks,
        living(hub, None) as observer,
    ):
        proxy.delay(1)
        await until(lambda: hub.hub.link.late)
        await refused(http, ("GET", "/readyz"))
        many = [("GET", f"/v1/pulse/agent-{i}") for i in range(100)]
        await refused(http, *many, ("GET", "/v1/pulse"), ("PUT", "/v1/pulse/over-http"))
        assert (await observer.refused("check", agents=["silent"]))[0] == "unavailable"
        await talks.say("beat", task="meanwhile")
        await a_while()
        assert (await talks.ask("ping"))["type"] == "pong"
        assert hub.hub.link.up
        now_ms = hub.hub.clock.at_ms(asyncio.get_running_loop().time())
        await until(lambda: hub.hub.ticker.nodes[0].alive(now_ms))  # it still ticks
        proxy.resume()
        for agent, task in (("silent", "before"), ("talks", "meanwhile")):
            await becomes(http, agent, alive=True, task=task)
        written = await kinds_by_agent(hub)
        assert "offline" not in {kind for kinds in written.values() for kind in kinds}


@pytest.mark.parametrize(
    ("worse", "better"),
    [
        ("REPLICAOF 127.0.0.1 1", "REPLICAOF NO ONE"),
        ("CONFIG SET min-replicas-to-write 1", "CONFIG SET min-replicas-to-write 0"),
        ("CONFIG SET maxmemory 1", "CONFIG SET maxmemory 0"),
    ],
    ids=["it is a replica", "it has too few replicas", "its memory is full"],
)
async def test_store_that_takes_no_writes_loses_none_and_kills_nobody(
    worse: str, better: str, valkey_server: Maker
) -> None:
    server = valkey_server("--maxmemory-policy", "noeviction")
    async with (
        running_hub(server.url) as hub,
        hub.client() as http,
        beating(hub, "silent"),
        beating(hub, "talks") as talks,
    ):
        await http.put("/v1/pulse/over-http", json={"status": "idle", "ttl": 60})
        server.ask(worse)
        await refused(http, *[("PUT", "/v1/pulse/over-http")] * 20)
        assert (await presence(http, "over-http"))["status"] == "idle", "it can still be read"
        await talks.say("beat", task="meanwhile")
        await a_while()
        assert (await talks.ask("ping"))["type"] == "pong"
        server.ask(better)
        for agent, task in (("silent", "before"), ("talks", "meanwhile")):
            await becomes(http, agent, alive=True, task=task)
        assert (await http.put("/v1/pulse/over-http", json={"task": "t"})).status_code == 200
        written = await kinds_by_agent(hub)
        assert "offline" not in {kind for kinds in written.values() for kind in kinds}


async def test_welcome_comes_once_though_the_store_was_away_at_the_hello(
    valkey_server: Maker,
) -> None:
    """The store's confirmation, when it was back, was a second welcome."""
    server = valkey_server(*DURABLE)
    async with running_hub(server.url) as hub, hub.client() as http:
        server.kill()
        await away(hub)
        async with connected(hub) as socket:
            await socket.say("hello", agent="a", ref="hello")
            welcome = await socket.hear()
            assert (welcome["type"], welcome["ref"]) == ("welcome", "hello")
            server.start()
            await until(lambda: hub.hub.link.up)
            await socket.say("beat", task="t", ref="beat")
            assert (await socket.hear())["ref"] == "beat"
            assert (await socket.ask("ping"))["type"] == "pong"
            assert (await presence(http, "a"))["task"] == "t"


async def test_store_that_forgot_everything_learns_all_sockets_again(valkey_server: Maker) -> None:
    server = valkey_server()
    async with (
        running_hub(server.url) as hub,
        running_hub(server.url) as other,
        other.client() as http,
        beating(hub, "silent") as silent,
        beating(other, "talks") as talks,
        living(hub, "rarely", ttl=3600, metadata={"kept": True}) as rarely,
    ):
        epoch = (await presence(http, "talks"))["epoch"]
        server.kill()
        await away(hub)
        await away(other)
        await talks.say("beat", task="meanwhile")
        server.start()
        for agent, task in (("silent", "before"), ("talks", "meanwhile")):
            await becomes(http, agent, alive=True, task=task)
        await rarely.say("beat")
        await becomes(http, "rarely", alive=True, metadata={"kept": True})
        assert (await presence(http, "talks"))["epoch"] != epoch
        for agent in (silent, talks, rarely):
            assert (await agent.ask("ping"))["type"] == "pong"
        written = await kinds_by_agent(hub)
        assert "offline" not in {kind for kinds in written.values() for kind in kinds}


async def test_store_that_hangs_is_as_good_as_away(valkey_server: Maker) -> None:
    server = valkey_server(*DURABLE)
    async with (
        running_hub(server.url, store_timeout_s=0.5) as hub,
        hub.client() as http,
        beating(hub, "silent"),
        beating(hub, "talks") as talks,
    ):
        server.pause()
        try:
            assert (await http.get("/v1/pulse/silent")).status_code == 503
            await talks.say("beat", task="meanwhile")
            await a_while()
            assert (await talks.ask("ping"))["type"] == "pong"
        finally:
            server.resume()
        for agent, task in (("silent", "before"), ("talks", "meanwhile")):
            await becomes(http, agent, alive=True, task=task)
        await a_while()
        written = await kinds_by_agent(hub)
        assert "offline" not in {kind for kinds in written.values() for kind in kinds}


@pytest.mark.parametrize("moment", ["before", "after"])
async def test_takeover_while_the_store_is_away_leaves_the_newer_socket(
    valkey_server: Maker, moment: str
) -> None:
    server = valkey_server(*DURABLE)
    async with (
        running_hub(server.url) as hub,
        hub.client() as http,
        living(hub, "a", instance="i", ttl=60, task="old") as old,
    ):
        if moment == "before":
            old.abort()
        server.kill()
        await away(hub)
        async with living(hub, "a", instance="i", ttl=60, task="new") as new:
            if moment == "after":
                old.abort()
            server.start()
            await until(lambda: hub.hub.link.up)
            await new.beat(slots=3)
            shown = await presence(http, "a")
            assert (shown["task"], shown["instances"], shown["slots"]) == ("new", 1, 3)
            assert shown["state"] == "busy"
            assert "offline" not in (await kinds_by_agent(hub))["a"]
