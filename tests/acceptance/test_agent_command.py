"""`lifesigns agent`: a presence that somebody holds by hand, or a pipe does."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import sys
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import AsyncIterator

from tests.acceptance.command import environment
from tests.agent import becomes, presence
from tests.hub import ROOT_KEY, HubProcess
from tests.patience import SOON_S


@contextlib.asynccontextmanager
async def holding(
    url: str, *words: str, key: str = ROOT_KEY, stdin: int = PIPE
) -> AsyncIterator[Process]:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "lifesigns", "agent", *words),
        stdin=stdin,
        stdout=PIPE,
        stderr=PIPE,
        env=environment(LIFESIGNS_URL=url, LIFESIGNS_KEY=key),
        start_new_session=True,
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate(b"" if process.stdin else None)


async def ended(process: Process) -> int:
    async with asyncio.timeout(SOON_S):
        return await process.wait()


async def test_its_lines_are_tasks_and_its_end_is_a_leave(hub: HubProcess) -> None:
    async with hub.client() as http:
        async with holding(hub.url, "a", "--capability", "search") as process:
            assert process.stdin is not None
            await becomes(http, "a", state="available", capabilities=["search"])
            for line, task in ((b"one\n", "one"), (b"\xff\x07\n", "\ufffd\x07"), (b" \n", None)):
                process.stdin.write(line)
                await becomes(http, "a", task=task)
            process.stdin.close()  # of a pipe: whoever wrote has gone
            assert await ended(process) == 0
        shown = await presence(http, "a")
        assert (shown["state"], shown["reason"]) == ("offline", "left")

        # What never had anything to say stays until it is told to go.
        for number, code in ((signal.SIGINT, 130), (signal.SIGTERM, 0)):
            async with holding(hub.url, "b", stdin=DEVNULL) as process:
                await becomes(http, "b", state="available")
                process.send_signal(number)
                assert await ended(process) == code
            assert (await presence(http, "b"))["reason"] == "left"

    async with holding(hub.url, "c", key="nobody-has-this-key", stdin=DEVNULL) as process:
        assert await ended(process) == 1
        assert process.stderr is not None
        assert b"unauthorized" in await process.stderr.read()
