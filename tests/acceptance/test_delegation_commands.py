"""`lifesigns pick` and `lifesigns claim`, as scripts use them before they delegate."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from tests.acceptance.command import Ended, environment, lifesigns
from tests.hub import HubProcess
from tests.patience import SOON_S

WORKER = {"status": "idle", "ttl": 600}
# Says whom it has, and on SIGTERM that it was told to end.
PROGRAM = """
import os, signal, sys, time
signal.signal(signal.SIGTERM, lambda *_: sys.exit(print("told") or 5))
print(os.environ["LIFESIGNS_PEER"], os.environ["LIFESIGNS_FENCE"], flush=True)
time.sleep(600)
"""


def settings(hub: HubProcess) -> dict[str, str]:
    return {"LIFESIGNS_URL": hub.url, "LIFESIGNS_KEY": hub.key}


@asynccontextmanager
async def holding(hub: HubProcess, *words: str) -> AsyncIterator[tuple[Process, list[str]]]:
    """Run `lifesigns claim` with the program, and wait until that runs."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "lifesigns", "claim", *words, "--", sys.executable, "-c", PROGRAM),
        stdout=PIPE,
        stderr=PIPE,
        env=environment(**settings(hub)),
        start_new_session=True,  # Ctrl-C is for pytest
    )
    assert process.stdout is not None
    try:
        async with asyncio.timeout(SOON_S):
            yield process, (await process.stdout.readline()).decode().split()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def test_an_agent_is_picked_and_claimed_and_then_nobody_is_left(hub: HubProcess) -> None:
    env = settings(hub)
    async with hub.client() as http:
        await http.put("/v1/pulse/w1", json={**WORKER, "capabilities": ["dig"], "group": "a b"})
        await http.put("/v1/pulse/w2", json={**WORKER, "metadata": {"gpus": 2}})

    async def claimed(*words: str) -> Ended:
        return await lifesigns("claim", *words, **env)

    picked, exact, nobody, bad, no_key = await asyncio.gather(
        lifesigns("pick", "--capability", "dig", **env),
        lifesigns("pick", "--n", "9", "--metadata", "gpus=2", "--json", **env),
        lifesigns("pick", "--group", "moon", "--json", **env),
        lifesigns("pick", "--n", "0", **env),
        lifesigns("claim", "w1", "--key", "nobody-has-this", **env),
    )
    named, w2 = await asyncio.gather(
        claimed("w1", "--ttl", "5m", "--json"),
        claimed("w*", "--metadata", "gpus=2", "--", "sh", "-c", 'exit "$#"', "-", "--a", "b"),
    )
    title, row = picked.out.splitlines()
    assert (picked.code, title.split()[:2]) == (0, ["id", "state"])
    assert row.split()[:2] == ["w1", "available"]
    assert [each["id"] for each in json.loads(exact.out)["agents"]] == ["w2"]
    assert (nobody.code, json.loads(nobody.out)) == (1, {"agents": []})
    assert (bad.code, no_key.code) == (2, 2)
    held = json.loads(named.out)
    assert (named.code, held["agent"]) == (0, "w1")
    assert held["fence"] > 0
    assert w2.code == 2, "the program's own flags and exit code are not ours"

    again, program, patient = await asyncio.gather(
        claimed("w1"),
        claimed("w1", "--", "nothing-like-this"),
        claimed("w1", "--wait", "0.2s"),
    )
    assert (again.code, program.code, patient.code) == (1, 1, 1)
    assert again.err.count("\n") == 1
    assert "busy" in again.err


@pytest.mark.parametrize("what", ["is told to end", "loses its peer"])
async def test_a_program_that_holds_a_claim(hub: HubProcess, what: str) -> None:
    async with hub.client() as http:
        fence = (await http.put("/v1/pulse/w1", json=WORKER)).json()["seq"]
        async with holding(hub, "--wait", "5s", "--note", "dig") as (process, told):
            assert told[0] == "w1"
            assert int(told[1]) > fence
            (claim,) = (await http.get("/v1/claims")).json()["claims"]
            assert claim["note"] == "dig"
            if what == "loses its peer":
                await http.delete("/v1/pulse/w1")
            else:
                os.kill(process.pid, signal.SIGTERM)
            out, err = await process.communicate()
        assert out == b"told\n"
        assert (process.returncode, b"w1 was lost" in err) == (
            (75, True) if what == "loses its peer" else (5, False)
        )
        assert (await http.get("/v1/claims")).json()["claims"] == []


async def test_who_waits_for_a_claim_can_be_told_to_stop(hub: HubProcess) -> None:
    words = ("claim", "--wait", "60s", "--", "true")
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "lifesigns", *words),
        env=environment(**settings(hub)),
        start_new_session=True,
    )
    async with hub.client() as http, asyncio.timeout(SOON_S):
        while "lifesigns_connections 1" not in (await http.get("/metrics")).text:
            assert process.returncode is None
            await asyncio.sleep(0.02)
        process.send_signal(signal.SIGTERM)
        assert await process.wait() == 128 + signal.SIGTERM
