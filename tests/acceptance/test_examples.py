"""The programs in docs/examples, run as they are."""

from __future__ import annotations

import asyncio
import contextlib
import re
import shutil
import sys
from asyncio.subprocess import Process
from collections.abc import AsyncIterator, Mapping
from pathlib import Path

import httpx
import pytest

from lifesigns import Hub
from tests.acceptance.command import Ended, environment, execute
from tests.agent import becomes, presence
from tests.hub import HubProcess, Reachable, hub_process
from tests.patience import SOON_S

EXAMPLES = Path(__file__).parents[2] / "docs" / "examples"


@pytest.fixture
async def hub(folder: Path) -> AsyncIterator[HubProcess]:
    async with hub_process(folder, "--grace-s", "0.5") as hub:
        yield hub


@pytest.fixture
async def http(hub: HubProcess) -> AsyncIterator[httpx.AsyncClient]:
    async with hub.client() as client:
        yield client


def env(hub: Reachable) -> Mapping[str, str]:
    return environment(LIFESIGNS_URL=hub.url, LIFESIGNS_KEY=hub.key, no_proxy="*")


async def example(hub: Reachable, name: str, *args: str) -> Ended:
    return await execute(sys.executable, str(EXAMPLES / name), *args, env=env(hub))


@contextlib.asynccontextmanager
async def worker(hub: HubProcess, name: str) -> AsyncIterator[Process]:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, str(EXAMPLES / "worker.py"), name), env=env(hub), start_new_session=True
    )
    try:
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()


async def test_a_planner_delegates_to_workers_and_survives_their_deaths(
    hub: HubProcess, http: httpx.AsyncClient
) -> None:
    tasks = [f"task-{n}" for n in range(12)]
    async with worker(hub, "w1") as first, Hub(hub.url, hub.key) as observer:
        await becomes(http, "w1", alive=True)
        busy = asyncio.Event()

        async def see() -> None:
            async for change in observer.watch(ids="w1", status="digging", present=True):
                if change["kind"] != "online":
                    busy.set()

        seeing = asyncio.create_task(see())
        planning = asyncio.create_task(example(hub, "planner.py", *tasks))
        async with asyncio.timeout(SOON_S):
            await busy.wait()
        first.kill()
        seeing.cancel()
        async with worker(hub, "w2"):
            planned = await planning
    assert planned.code == 0, planned.told
    assert "w1 was lost" in planned.out
    assert "w2 has it" in planned.out
    for task in tasks:
        assert planned.out.count(f"{task}: {task.upper()}\n") == 1, planned.out


async def test_a_pool_of_threads_shows_how_far_it_has_got(
    hub: HubProcess, http: httpx.AsyncClient
) -> None:
    seen = []
    async with Hub(hub.url, hub.key) as observer, observer.watch(ids="resizer") as watch:
        ended = await example(hub, "pool.py")
        assert ended.code == 0, ended.told
        async for change in watch:
            seen.append(change)
            if change["kind"] == "offline":
                break
    assert {change["state"] for change in seen} >= {"busy", "offline"}
    assert seen[-1]["progress"] == {"done": 12, "total": 12}
    assert (seen[0]["slots"], seen[-1]["status"]) == (4, "idle")


async def test_a_job_of_cron_is_present_and_tells_why_it_failed(
    hub: HubProcess, http: httpx.AsyncClient, tmp_path: Path
) -> None:
    good = await example(hub, "nightly.py", str(tmp_path))
    assert (good.code, good.out) == (0, "0\n")
    shown = await presence(http, "nightly-report")
    assert (shown["state"], shown["status"], shown["reason_text"]) == ("offline", "working", None)
    bad = await example(hub, "nightly.py", str(tmp_path / "nowhere"))
    assert bad.code == 1
    shown = await presence(http, "nightly-report")
    assert shown["status"] == "error"
    assert shown["reason_text"].startswith("FileNotFoundError: ")
    await hub.kill()
    alone = await example(hub, "nightly.py", str(tmp_path))
    assert (alone.code, alone.out) == (0, "0\n"), "it works when the hub is down"
    assert "no hub answers" in alone.err


async def test_a_crontab_has_jobs_that_are_present_each_in_its_own_way(
    hub: HubProcess, http: httpx.AsyncClient, tmp_path: Path
) -> None:
    command = tmp_path / "bin" / "lifesigns"
    command.parent.mkdir()
    command.write_text(f"#!/bin/sh\nexec '{sys.executable}' -m lifesigns \"$@\"\n")
    command.chmod(0o755)
    shutil.copy(EXAMPLES / "backup.sh", tmp_path)
    for name in ("packed", "documents/letters", "documents/photos"):
        (tmp_path / name).mkdir(parents=True)
    table = (EXAMPLES / "crontab").read_text()
    backup, usage = re.findall(r"^(?:\S+ ){5} +(.+)$", table, re.MULTILINE)
    around = {**env(hub), "PATH": f"{command.parent}:/usr/local/bin:/usr/bin:/bin"}

    async def start(line: str) -> Ended:
        return await execute("sh", "-c", line, env=around, cwd=tmp_path)

    ended = await start(backup)
    assert (ended.code, ended.out, ended.err) == (0, "2 packed\n", "")
    assert {each.name for each in (tmp_path / "packed").iterdir()} == {"letters.tar", "photos.tar"}
    shown = await presence(http, "backup")
    assert (shown["state"], shown["reason_text"]) == ("offline", "exit 0")
    assert (shown["task"], shown["progress"]) == ("packing photos", {"done": 1, "total": 2})
    (tmp_path / "packed").rename(tmp_path / "elsewhere")
    assert (await start(backup)).code == 2
    shown = await presence(http, "backup")
    assert shown["reason_text"].startswith("exit 2: tar: ")

    ended = await start(usage)
    assert (ended.code, ended.told) == (0, "")
    assert (await presence(http, "disk-usage"))["alive"] is True
    await hub.kill()
    (tmp_path / "packed").mkdir()
    ended = await start(backup)
    assert (ended.code, ended.out) == (0, "2 packed\n"), "it works when the hub is down"
