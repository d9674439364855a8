"""Schedules from end to end: made by the command, done by programs, looked at by the command."""

from __future__ import annotations

import asyncio
import contextlib
import json
import shutil
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from lifesigns import Agent, Run, sync
from tests.acceptance.command import Ended, environment, lifesigns
from tests.acceptance.test_examples import EXAMPLES, env
from tests.agent import becomes
from tests.hub import HubProcess, Reachable, hub_process
from tests.patience import SOON_S, until_told


@pytest.fixture
async def hub(folder: Path) -> AsyncIterator[HubProcess]:
    async with hub_process(folder) as hub:
        yield hub


async def schedules(hub: Reachable, *words: str) -> Ended:
    return await lifesigns(
        "schedules", *words, LIFESIGNS_URL=hub.url, LIFESIGNS_KEY=hub.key, no_proxy="*"
    )


async def good(hub: Reachable, *words: str) -> str:
    ended = await schedules(hub, *words)
    assert (ended.code, ended.err) == (0, ""), ended.told
    return ended.out


async def test_a_schedule_is_made_paused_run_looked_at_and_dropped(hub: HubProcess) -> None:
    """As somebody does who has read the page of the command line, and nothing else."""
    assert (await schedules(hub, "list")).out.count("\n") == 1
    made = await good(
        *(hub, "add", "disk-watch", "what is new?", "--every", "2h", "--between", "09:00-17:00"),
        *("--days", "mon-fri", "--zone", "Europe/Berlin", "--budget", "10"),
    )
    id_ = made[:8]
    assert "next at" in made
    listed = await good(hub, "list", "disk-watch")
    assert id_ in listed
    assert "every 2h 09:00-17:00 on mon,tue,wed,thu,fri Europe/Berlin" in listed
    assert await good(hub, "list") == listed
    (shown,) = json.loads(await good(hub, "list", "disk-watch", "--json"))["schedules"]
    assert (shown["enabled"], shown["credit_budget"]) == (1, 10)

    assert "is paused" in await good(hub, "pause", "disk-watch")
    assert "paused" in await good(hub, "list", "disk-watch")
    assert "next at" in await good(hub, "resume", "disk-watch", id_)

    async with Agent("disk-watch", hub.url, hub.key) as me:

        @me.on_run
        async def work(run: Run) -> str:
            if run.prompt == "fail":
                raise LookupError("nothing there")
            run.tokens_used, run.credits = 12, 0.5
            return f"{run.prompt} nothing"

        assert await good(hub, "trigger", "disk-watch") == "what is new? nothing\n"
        await good(hub, "add", "disk-watch", "fail", "--cron", "0 9 * * *", "--paused")
        both = await schedules(hub, "trigger", "disk-watch")
        assert (both.code, both.err.startswith("lifesigns: which of them?")) == (2, True)
        listed = json.loads(await good(hub, "list", "disk-watch", "--json"))["schedules"]
        failing = next(each["uuid"] for each in listed if each["prompt"] == "fail")
        failed = await schedules(hub, "trigger", "disk-watch", failing)
        assert (failed.code, failed.out) == (1, "")
        assert "LookupError: nothing there" in failed.err

    told = await good(hub, "logs", "disk-watch")
    titles, latest, first = told.splitlines()
    assert titles.split() == ["at", "how", "status", "took", "tokens", "credits", "what"]
    assert "error" in latest
    assert "LookupError: nothing there" in latest
    assert first.split()[-6:] == ["12", "0.5", "what", "is", "new?", "nothing"]
    only = await good(hub, "logs", "disk-watch", id_, "--status", "success", "--json")
    assert [each["status"] for each in json.loads(only)["logs"]] == ["success"]

    assert await good(hub, "remove", "disk-watch", failing) == "it is gone\n"
    refused = await schedules(hub, "add", "disk-watch", "x", "--cron", "every day")
    assert (refused.code, refused.out) == (2, "")
    gone = await schedules(hub, "pause", "disk-watch", failing)
    assert (gone.code, gone.err.count("\n")) == (1, 1)


async def test_the_agent_of_the_example_is_woken_and_says_what_is_too_much(
    hub: HubProcess, tmp_path: Path
) -> None:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, str(EXAMPLES / "scheduled.py"), str(tmp_path)),
        env=env(hub),
        stdout=asyncio.subprocess.PIPE,
        start_new_session=True,
    )
    try:
        assert process.stdout is not None
        async with asyncio.timeout(SOON_S):
            assert await process.stdout.readline() == b"waiting for runs\n"
        await good(hub, "add", "disk-watch", "0", "--every", "1h")
        answer = await good(hub, "trigger", "disk-watch")
        assert answer.endswith(" %\n")
        shutil.rmtree(tmp_path)
        failed = await schedules(hub, "trigger", "disk-watch")
        assert "FileNotFoundError" in failed.err
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()


@pytest.mark.parametrize("thread", [False, True])
async def test_a_run_that_was_begun_on_one_hub_is_reported_to_another(
    fresh_url: str, thread: bool
) -> None:
    go, begun, prompts = asyncio.Event(), asyncio.Event(), []

    async def work(run: Run) -> str:
        prompts.append(run.prompt)
        begun.set()
        await go.wait()
        return "done all the same"

    async with hub_process(fresh_url) as first, hub_process(fresh_url) as second:
        async with Agent("a1", [first.url, second.url], first.key, thread=thread) as me:
            me.on_run(work)
            await good(second, "add", "a1", "go on")
            triggered = asyncio.create_task(schedules(second, "trigger", "a1"))
            async with asyncio.timeout(SOON_S):
                await begun.wait()
            await first.kill()
            async with second.client() as http:

                async def has_it() -> bool:
                    return "lifesigns_agents 1.0" in (await http.get("/metrics")).text

                await until_told(has_it)
            go.set()
            ended = await triggered
        assert (ended.code, ended.out) == (0, "done all the same\n"), ended.told
    assert prompts == ["go on"], "it was told again, and done once"


async def test_a_program_without_a_loop_is_woken_too(hub: HubProcess) -> None:
    def program() -> str:
        with sync.Agent("a1", hub.url, hub.key) as me:
            me.on_run(lambda run: run.prompt.upper())
            ended = asyncio.run(good(hub, "trigger", "a1"))
        return ended

    await good(hub, "add", "a1", "wake up")
    assert await asyncio.to_thread(program) == "WAKE UP\n"


async def test_an_agent_in_javascript_is_woken_too(hub: HubProcess, tmp_path: Path) -> None:
    node = shutil.which("node")
    assert node is not None
    module = (EXAMPLES.parents[1] / "src" / "lifesigns" / "javascript" / "lifesigns.js").as_uri()
    program = tmp_path / "agent.mjs"
    program.write_text(f"""
        import {{ Agent }} from "{module}";
        const me = new Agent("a1");
        me.onRun(async (run) => {{
          run.tokens_used = 3;
          if (run.prompt === "fail") throw new Error("no");
          return run.prompt.toUpperCase();
        }});
        await me.closed;
    """)
    around = environment(LIFESIGNS_URL=hub.url, LIFESIGNS_KEY=hub.key)
    process = await asyncio.create_subprocess_exec(node, str(program), env=around)
    try:
        async with hub.client() as http:
            await becomes(http, "a1", alive=True)
        await good(hub, "add", "a1", "wake up")
        assert await good(hub, "trigger", "a1") == "WAKE UP\n"
        (entry,) = json.loads(await good(hub, "logs", "a1", "--json"))["logs"]
        assert entry["tokens_used"] == 3
    finally:
        process.kill()
        await process.wait()
