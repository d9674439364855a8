"""`lifesigns serve --workers`: several hubs on one port, in the life of their processes."""

from __future__ import annotations

import asyncio
import os
import re
import signal
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

from tests.acceptance.command import lifesigns
from tests.agent import Agent, living
from tests.hub import HubProcess, Reachable, hub_process
from tests.patience import SOON_S, until
from tests.store.process import servers, sockets_of, tcp_sockets

OWN_KEY = {"LIFESIGNS_ADMIN_KEY": ""}
FLEET = 24  # the odds that one of two workers gets none of them are 1 to 8 million


def workers(hub: HubProcess) -> set[int]:
    """List the processes that a workforce has started."""
    children = Path(f"/proc/{hub.pid}/task/{hub.pid}/children").read_text()
    return {int(each) for each in children.split()}


def runs(pid: int) -> bool:
    """Say whether a process lives: of one that only waits for its parent, nothing is left."""
    try:
        return bool(Path(f"/proc/{pid}/cmdline").read_bytes())
    except FileNotFoundError:
        return False


@asynccontextmanager
async def fleet(hub: Reachable) -> AsyncIterator[list[Agent]]:
    """Hold agents that are the same whenever they come."""
    async with AsyncExitStack() as stack:
        yield [
            await stack.enter_async_context(living(hub, f"agent-{i}", instance="i", ttl=60))
            for i in range(FLEET)
        ]


def nodes(agents: list[Agent]) -> set[str]:
    return {agent.welcome["node"] for agent in agents}


async def test_workers_share_a_port_a_store_and_a_key_and_are_replaced_without_a_death(
    folder: Path,
) -> None:
    async with hub_process(folder, "--workers", "2", env=OWN_KEY) as hub:
        told = hub.output
        (key,) = re.findall(r"\bls_root_\w+", told)
        hub.key = key
        assert len(re.findall(r"\blt_\w+", told)) == 1
        assert len(set(re.findall(r"^hub (\S+): (http\S+)$", told, re.MULTILINE))) == 2
        assert told.endswith("\nready\n")
        assert told.count("ready") == 1
        assert len(servers(folder)) == 1
        assert not sockets_of(hub.pid) & tcp_sockets(), "it would be given what it never accepts"

        first = workers(hub)
        async with fleet(hub) as agents:
            assert len(nodes(agents)) == len(first) == 2
            victim = first.pop()
            os.kill(victim, signal.SIGKILL)
            await until(lambda: len(workers(hub)) == 2 and "another takes its place" in hub.log)
            await until(lambda: re.search(r"hub \S+ serves", hub.log))
            (survivor,) = first
            assert survivor in workers(hub)

        async with fleet(hub) as agents:
            assert len(nodes(agents)) == 2
            before = workers(hub)
            hub.process.send_signal(signal.SIGHUP)
            ends = await asyncio.gather(*[agent.ended() for agent in agents])
            assert set(ends) == {1001}
            await until(lambda: "all 2 workers were replaced" in hub.log)
            assert not before & workers(hub)

        async with fleet(hub) as agents, hub.client() as http:
            assert len(nodes(agents)) == 2
            stats = (await http.get("/v1/stats")).json()
            assert stats["alive"] == FLEET
            metrics = (await http.get("/metrics")).text
            (counted,) = re.findall(
                r'^lifesigns_connections\{node="(\S+)"\}', metrics, re.MULTILINE
            )
            assert counted in nodes(agents)
            for i in range(FLEET):
                history = (await http.get(f"/v1/pulse/agent-{i}/history")).json()
                assert "offline" not in {change["kind"] for change in history["changes"]}
            last = workers(hub)
            hub.process.send_signal(signal.SIGTERM)
            ends = await asyncio.gather(*[agent.ended() for agent in agents])
            assert set(ends) == {1001}
        async with asyncio.timeout(SOON_S):
            assert await hub.process.wait() == 0
        assert not any(map(runs, last))
        assert servers(folder) == []
        assert "Traceback" not in hub.log
        signed = [line for line in hub.log.splitlines() if "the hub goes" in line]
        assert len(set(re.findall(r"\bnode=(\S+)", "\n".join(signed)))) == 4


async def test_workers_end_with_whoever_watches_over_them(folder: Path) -> None:
    async with hub_process(folder, "--workers", "2") as hub:
        left = workers(hub)
        async with living(hub, "a") as agent:
            await hub.kill()
            assert await agent.ended() == 1001
        await until(lambda: not any(map(runs, left)))
        assert servers(folder) == []


async def test_port_that_others_share_already_is_taken(folder: Path) -> None:
    async with hub_process(folder, "--workers", "2") as hub:
        port = hub.url.rpartition(":")[2]
        for more in ((), ("--workers", "2")):
            ended = await lifesigns("serve", "--port", port, "--data-dir", str(folder), *more)
            assert ended.code == 1
            assert ended.err == f"lifesigns: 127.0.0.1:{port} is taken: choose another --port\n"


async def test_workers_that_cannot_start_say_why_once(folder: Path) -> None:
    ended = await lifesigns(
        *("serve", "--port", "0", "--workers", "3", "--redis", "redis://127.0.0.1:1")
    )
    assert ended.code == 1
    assert ended.err.startswith("lifesigns: The store at redis://127.0.0.1:1 cannot be reached")
    assert ended.err.count("\n") == 1
    by_hand = await lifesigns("worker", stdin="")
    assert by_hand.code == 2
    assert by_hand.err.count("\n") == 1
