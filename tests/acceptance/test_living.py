"""Agents and hubs as processes: what must hold when they are many, and when hubs come and go."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from lifesigns.core.codec import MSGPACK
from lifesigns.store.embedded import socket_path
from tests.agent import becomes, connected, living, presence
from tests.chronicle import chronicle
from tests.hub import ROOT_KEY, HubProcess, hub_process
from tests.keyring import linked
from tests.patience import SOON_S
from tests.store.process import servers

GENERATOR = Path(__file__).parents[2] / "benchmarks" / "generator.py"

AGENTS = 1_000
TTL_S = 1.0
BEAT_EVERY_S = 0.3
BEATING_S = 6.0


class Load:
    """Many agents in a process of their own, which answer pings and beat when they are told to."""

    def __init__(self, process: Process) -> None:
        self._process = process

    async def order(self, what: str, **order: Any) -> dict[str, Any]:
        """Give an order, and await that it is carried out."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps({"do": what, **order}).encode() + b"\n")
        await self._process.stdin.drain()
        async with asyncio.timeout(2 * SOON_S):
            line = await self._process.stdout.readline()
        assert line, "the load generator has ended"
        answer: dict[str, Any] = json.loads(line)
        return answer

    async def connect(self, hub: HubProcess, count: int, prefix: str) -> None:
        host, _, port = hub.url.removeprefix("http://").rpartition(":")
        await self.order(
            "connect",
            host=host,
            port=int(port),
            key=ROOT_KEY,
            count=count,
            prefix=prefix,
            codec="msgpack",
            ttl=TTL_S,
        )


@contextlib.asynccontextmanager
async def load() -> AsyncIterator[Load]:
    """Start a generator of load; its agents go with the block."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, str(GENERATOR)), stdin=PIPE, stdout=PIPE, start_new_session=True
    )
    try:
        yield Load(process)
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()


async def test_thousand_agents_with_a_ttl_of_a_second_never_flicker(fresh_url: str) -> None:
    """They beat every 0.3 s, half of them at each of two hubs."""
    async with (
        linked(fresh_url) as link,
        hub_process(fresh_url) as one,
        hub_process(fresh_url) as two,
        load() as here,
        load() as there,
    ):
        half = AGENTS // 2
        await asyncio.gather(here.connect(one, half, "one"), there.connect(two, half, "two"))
        beating = {"every_s": BEAT_EVERY_S, "seconds": BEATING_S, "news": False}
        beaten = await asyncio.gather(here.order("beat", **beating), there.order("beat", **beating))
        for each in beaten:
            assert each["sent"] > 0.9 * half * BEATING_S / BEAT_EVERY_S
        written = await chronicle(link)
        flickered = {agent: changes for agent, changes in written.items() if len(changes) > 1}
        assert not flickered
        assert len(written) == AGENTS
        async with one.client() as http:
            counted = (await http.get("/v1/pulse?detail=counts")).json()
            assert counted == {"counts": {"available": AGENTS}, "total": AGENTS}


async def test_killed_hub_leaves_its_agents_to_the_next_one(tmp_path: Path) -> None:
    async with hub_process(tmp_path) as hub:
        async with (
            hub.client() as http,
            living(hub, "socket", instance="i", ttl=60, status="busy", metadata={"a": 1}) as agent,
            living(hub, "packed", codec=MSGPACK, ttl=60, capabilities=["x"], slots=3),
            living(hub, "short", ttl=1),
        ):
            for i in range(20):
                await agent.beat(task=f"task {i}")
            await http.put("/v1/pulse/http", json={"task": "over http", "ttl": 60})
            await http.put("/v1/pulse/left", json={})
            await http.delete("/v1/pulse/left")
            before = {each: await presence(http, each) for each in ("socket", "packed", "http")}
            await hub.kill()
        (server,) = servers(tmp_path)

        async with hub_process(tmp_path) as again, again.client() as http:
            assert servers(tmp_path) == [server]  # adopted, with all that it has in its memory
            for name, was in before.items():
                now = await presence(http, name)
                assert now["alive"]
                changing = {"state", "seq", "instance_states", "slots", "free_slots"}
                clocks = {"last_heartbeat", "expires_at", "last_seen", "last_pulse", "held"}
                for each in was.keys() - changing - clocks:
                    assert now[each] == was[each], each
            assert (await presence(http, "left"))["reason"] == "left"
            await becomes(http, "short", state="offline")
            async with living(again, "socket", instance="i", ttl=60, task="back") as agent:
                shown = await presence(http, "socket")
                assert (shown["state"], shown["instances"]) == ("busy", 1)
                assert shown["online_since"] == before["socket"]["online_since"]
                await agent.bye()
            await becomes(http, "socket", state="offline", reason="left")
    assert not servers(tmp_path)


async def test_killed_hub_and_killed_store_come_back_with_what_was_written(tmp_path: Path) -> None:
    """What the store's file has, which is flushed every second, is there."""
    async with hub_process(tmp_path) as hub:
        async with hub.client() as http, living(hub, "a", ttl=600, metadata={"a": 1}):
            await http.put("/v1/pulse/http", json={"task": "t", "ttl": 600})
            async with linked(f"unix://{socket_path(tmp_path)}") as link:
                await link.ask("SET", "mark", "the writes before it are in the file too")
                assert await link.ask("WAITAOF", 1, 0, 0) == [1, 0]
            await hub.kill()
        (server,) = servers(tmp_path)
        os.kill(server, signal.SIGKILL)
        async with hub_process(tmp_path) as again, again.client() as http:
            assert servers(tmp_path) != [server]
            shown = await presence(http, "a")
            assert (shown["alive"], shown["metadata"]) == (True, {"a": 1})
            assert (await presence(http, "http"))["task"] == "t"


async def test_hub_that_is_told_to_stop_says_goodbye_and_leaves_the_leases(tmp_path: Path) -> None:
    async with hub_process(tmp_path) as hub:
        async with (
            living(hub, "a", instance="i", ttl=60, task="t") as agent,
            living(hub, "last", ttl=60) as last,
            living(hub, None) as observer,
            connected(hub) as quiet,
        ):
            await last.say("beat", task="the last word")
            ending = asyncio.ensure_future(hub.terminate())
            for socket in (agent, last, observer, quiet):
                goaway = await socket.hear()
                assert goaway["type"] == "goaway"
                assert 0 <= goaway["reconnect_in_ms"] <= 10_000
                assert await socket.ended() == 1001
            assert await ending == 0
        assert "Traceback" not in hub.log
    assert not servers(tmp_path)
    async with hub_process(tmp_path) as again, again.client() as http:
        for name, task in (("a", "t"), ("last", "the last word")):
            shown = await presence(http, name)
            assert (shown["alive"], shown["state"], shown["task"]) == (True, "busy", task)
        async with living(again, "a", instance="i", ttl=60, task="t") as agent:
            assert agent.welcome["instance"] == "i"
            shown = await presence(http, "a")
            assert (shown["state"], shown["instances"]) == ("busy", 1)


async def test_agents_of_a_hub_that_stops_go_on_at_the_other_without_a_gap(fresh_url: str) -> None:
    async with (
        linked(fresh_url) as link,
        hub_process(fresh_url) as stays,
        stays.client() as http,
        hub_process(fresh_url) as stops,
        living(stops, "a", instance="i", ttl=3) as agent,
    ):
        ending = asyncio.ensure_future(stops.terminate())
        assert await agent.ended() == 1001
        async with living(stays, "a", instance="i", ttl=3) as again:
            assert await ending == 0
            await again.beat()
            kinds = [change.kind for change in (await chronicle(link))["a"]]
            assert set(kinds) <= {"online", "updated"}
            shown = await presence(http, "a")
            assert (shown["state"], shown["instances"]) == ("available", 1)
