"""Hubs that are killed, and hubs that only fall silent."""

from __future__ import annotations

import os
import signal

from lifesigns import Agent
from tests.agent import becomes
from tests.hub import hub_process
from tests.patience import until


async def test_an_agent_leaves_a_silent_hub_and_a_dead_one_and_was_never_away(
    fresh_url: str,
) -> None:
    """A hub that is stopped keeps its sockets open: only its silence tells."""
    async with (
        hub_process(fresh_url) as one,
        hub_process(fresh_url) as two,
        two.client() as http,
        Agent("a1", [one.url, two.url], one.key, ttl=8, task="dig") as me,
        me.hub.watch(ids="a1") as watch,
    ):
        first = await becomes(http, "a1", state="busy")
        os.kill(one.pid, signal.SIGSTOP)
        await until(lambda: not me.connected)
        await me.update(task="fill")
        await until(lambda: me.connected)
        shown = await becomes(http, "a1", task="fill")
        assert (shown["instances"], shown["online_since"]) == (1, first["online_since"])
        os.kill(one.pid, signal.SIGCONT)

        await two.kill()
        await until(lambda: not me.connected)
        await until(lambda: me.connected)
        await me.update(task="rest")
        states = []
        async for change in watch:
            states.append(change["state"])
            if change["task"] == "rest":
                break
        assert "offline" not in states
        assert not me.closed
