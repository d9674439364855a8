"""`lifesigns demo`: everything is there at once, and nothing is left of it."""

from __future__ import annotations

import asyncio
import re
import signal
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx

from lifesigns.core.presence import STATES
from tests.acceptance.command import content, environment, lifesigns
from tests.patience import SOON_S, until
from tests.store.process import servers

AGENTS = 12


@asynccontextmanager
async def demo(folder: Path) -> AsyncIterator[tuple[Process, str, str]]:
    """Start it; answer it, its address and its key when it has told them."""
    # A store of somebody's own stands in the environment, and must not be touched.
    env = environment(TMPDIR=str(folder), LIFESIGNS_REDIS="redis://127.0.0.1:1")
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "lifesigns", "demo", "--port", "0", "--agents", str(AGENTS)),
        stdout=PIPE,
        env=env,
        start_new_session=True,  # Ctrl-C is for pytest
    )
    try:
        assert process.stdout is not None
        async with asyncio.timeout(SOON_S):
            told = (await process.stdout.readuntil(b"nothing of it is kept.")).decode()
        assert "login ticket" in told
        found = re.search(r"LIFESIGNS_URL=(\S+) LIFESIGNS_KEY=(\S+)", told)
        assert found is not None
        yield process, found[1], found[2]
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
        await until(lambda: not servers(folder))


def answers(url: str) -> bool:
    try:
        httpx.get(f"{url}/livez", trust_env=False)
    except httpx.HTTPError:
        return False
    return True


async def test_a_demo_is_alive_and_ctrl_c_ends_it_all(folder: Path) -> None:
    async with demo(folder) as (process, url, key):
        assert len(servers(folder)) == 1
        async with httpx.AsyncClient(
            base_url=url, headers={"Authorization": f"Bearer {key}"}, trust_env=False
        ) as http:
            while True:
                agents = (await http.get("/v1/pulse")).json()["agents"]
                if len(agents) == AGENTS and any(each["task"] for each in agents):
                    break
                await asyncio.sleep(0.05)
        assert {each["state"] for each in agents} <= set(STATES)
        assert {each["group"] for each in agents} > {"planning"}
        port = url.rpartition(":")[2]
        taken = await lifesigns("demo", "--port", port, TMPDIR=str(folder))
        assert (taken.code, "--port" in taken.err) == (1, True)
        process.send_signal(signal.SIGINT)
        async with asyncio.timeout(SOON_S):
            assert await process.wait() == 0
        assert content(folder) == []
        assert servers(folder) == []
        assert not answers(url)


async def test_a_demo_that_is_killed_leaves_no_process(folder: Path) -> None:
    async with demo(folder) as (process, url, _):
        process.kill()
        await process.wait()
        await until(lambda: not servers(folder))

        await until(lambda: not answers(url))
