"""What presence is for: the programs in docs/examples that agents of the pulse API are seen by."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from tests.acceptance.test_examples import EXAMPLES, env, example
from tests.agent import becomes
from tests.hub import RunningHub, running_hub
from tests.patience import SOON_S

# Beats once, as a published client does, and hangs.
WORKER = """
import sys, time
from lifesigns.pulse import AgentTool
AgentTool().pulse.heartbeat("worker", "thinking", ttl=1)
time.sleep(600)
"""


@pytest.fixture
async def hub(fresh_url: str) -> AsyncIterator[RunningHub]:
    async with running_hub(fresh_url) as hub:
        yield hub


@pytest.fixture
async def http(hub: RunningHub) -> AsyncIterator[httpx.AsyncClient]:
    async with hub.client() as http:
        yield http


async def heartbeat(http: httpx.AsyncClient, agent: str, **said: Any) -> None:
    assert (await http.put(f"/v1/pulse/{agent}", json=said)).status_code == 200


@contextlib.asynccontextmanager
async def running(hub: RunningHub, name: str, *args: str) -> AsyncIterator[Process]:
    """Run an example that goes on until it is ended, with all that it started."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, str(EXAMPLES / name), *args),
        env=env(hub),
        stdout=PIPE,
        start_new_session=True,
    )
    try:
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        await process.wait()


async def printed(process: Process, *wanted: str) -> None:
    """Wait for lines, in this order, whatever stands between them."""
    assert process.stdout is not None
    async with asyncio.timeout(SOON_S):
        for line in wanted:
            while (found := (await process.stdout.readline()).decode().rstrip()) != line:
                assert found, f"it ended before {line!r}"


async def test_a_fleet_is_monitored(hub: RunningHub, http: httpx.AsyncClient) -> None:
    await heartbeat(http, "a", status="thinking", task="page 3")
    async with running(hub, "fleet.py") as monitor:
        await printed(monitor, "  a busy thinking page 3")
        await heartbeat(http, "a", status="error")
        await heartbeat(http, "b", status="idle", ttl=1)
        await printed(monitor, "! a error error", "  b available idle", "! b offline idle expired")


async def test_an_agent_that_hangs_is_started_again(
    hub: RunningHub, http: httpx.AsyncClient
) -> None:
    async with running(hub, "recovery.py", "worker", sys.executable, "-c", WORKER) as recovery:
        await becomes(http, "worker", alive=True)
        await printed(recovery, "worker is gone (expired): started again")
        await becomes(http, "worker", alive=True)


async def test_a_task_goes_to_a_peer_that_is_alive_and_idle(
    hub: RunningHub, http: httpx.AsyncClient
) -> None:
    await heartbeat(http, "a", status="thinking")
    await heartbeat(http, "b", status="idle")
    await heartbeat(http, "c", status="idle")
    await http.delete("/v1/pulse/c")
    given = await example(hub, "coordination.py", "a letter")
    assert given.out == "a is thinking\nb is idle\nb has a letter\n", given.told
    await heartbeat(http, "b", status="learning")
    waiting = await example(hub, "coordination.py", "a letter")
    assert waiting.out.endswith("nobody is idle: a letter waits\n"), waiting.told


async def test_capacity_is_counted_over_time(hub: RunningHub, http: httpx.AsyncClient) -> None:
    await heartbeat(http, "a", status="thinking", metadata={"model": "large", "queue_depth": 3})
    await heartbeat(http, "b", status="thinking", metadata={"model": "small", "queue_depth": 2})
    await heartbeat(http, "c", status="idle")
    counted = await example(hub, "capacity.py", "2", "0.1")
    lines = [line.split(" ", 1)[1] for line in counted.out.splitlines()]
    wanted = "3 alive, 5 queued, 1 idle, 1 large, 1 small, 2 thinking"
    assert lines == [wanted, wanted], counted.told
