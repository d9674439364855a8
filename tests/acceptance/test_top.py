"""`lifesigns top`, on a terminal and without one."""

from __future__ import annotations

import asyncio
import signal
import sys
from pathlib import Path

from tests.acceptance.command import environment, lifesigns
from tests.acceptance.terminal import seen, terminal
from tests.hub import ROOT_KEY, hub_process
from tests.patience import SOON_S

TOP = (sys.executable, "-m", "lifesigns", "top")


async def test_top_shows_the_fleet_through_the_loss_of_its_hub(folder: Path) -> None:
    async with hub_process(folder) as hub:
        port = hub.url.rpartition(":")[2]
        settings = {"LIFESIGNS_URL": hub.url, "LIFESIGNS_KEY": ROOT_KEY}
        async with hub.client() as http:
            beats = [{"id": f"w{n:02}", "ttl": 600, "task": f"t{n} \x1b[2J"} for n in range(40)]
            beats[0] |= {"state": "error", "group": "böse"}
            await http.post("/v1/pulse", json={"beats": beats})
        env = environment(**settings)
        async with terminal(*TOP, env=env) as (shown, process):
            before = shown.settings()
            await seen(shown, "40 agents, 40 alive", "1 error 1", "1-19 of 40", r"t0 \x1b[2J")
            assert shown.modes == {"1049"}
            assert shown.text.index("w00 ") < shown.text.index("w01 ")
            shown.type("/w3")
            await seen(shown, "1-10 of 10", "w39 ", "/w3_")
            shown.type("\x1b")
            await seen(shown, "1-19 of 40")
            shown.resize((60, 12))
            await seen(shown, "1-7 of 40", "q quit")
            async with hub.client() as http:
                await http.put("/v1/pulse/w01", json={"state": "error"})
                await seen(shown, "1 error 2")
                once = await lifesigns("top", "--once", **settings)
                assert (once.code, once.err) == (0, "")
                assert "40 agents, 40 alive: 2 error, 38 available" in once.out
                assert "error: w00, w01" in once.out
            await hub.terminate()
            await seen(shown, "no hub answers", "40 agents", "w00 ")
            away = await lifesigns("top", "--once", "--key", "x" * 16, **settings)
            assert away.code == 1
            async with hub_process(folder, "--port", port) as again, again.client() as http:
                await http.put("/v1/pulse/w02", json={"state": "error"})
                await seen(shown, "1 error 3", "1-7 of 40")
                assert "no hub answers" not in shown.text
                process.send_signal(signal.SIGTERM)
                async with asyncio.timeout(SOON_S):
                    assert await process.wait() == 0
            assert (shown.modes, shown.settings()) == ({"25"}, before)
