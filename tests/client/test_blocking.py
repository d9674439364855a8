"""The client for programs that block, and programs that block although they should not."""

from __future__ import annotations

import asyncio
import threading
import time
from pathlib import Path

import pytest

import lifesigns
from lifesigns import Agent, heartbeat, sync
from tests.agent import becomes
from tests.hub import HubProcess, RunningHub, hub_process
from tests.patience import SOON_S


def a_program_that_blocks(url: str, key: str) -> None:
    with sync.Hub(url, key) as hub, hub.watch(ids=["a*"], present=True) as watch:
        with sync.Agent("a1", url, key, ttl=5, capabilities=["x"]) as me:
            assert me.connected
            assert not me.closed
            assert me.update(status="thinking", wait=SOON_S)
            assert hub.check("a1")["a1"]["status"] == "thinking"
            assert [each["id"] for each in me.hub.who(capability="x")] == ["a1"]
            assert not me.closed.wait(0.01)
            with pytest.raises(lifesigns.NoMatch), hub.claim(capability="y"):
                pass
        assert next(watch)["kind"] == "online"
        assert [next(watch)["kind"] for _ in range(2)] == ["updated", "offline"]
    assert list(watch) == []
    with sync.Agent("a2", url, "a wrong key") as stranger:
        assert stranger.closed.wait(SOON_S)
        assert stranger.closed.code == 4001


async def test_the_blocking_twin_has_the_same_names(hub: RunningHub) -> None:
    before = threading.active_count()
    await asyncio.to_thread(a_program_that_blocks, hub.url, hub.key)
    assert threading.active_count() <= before + 1, "its threads end with its blocks"


async def test_a_heartbeat_lasts_as_long_as_a_function_and_tells_how_it_failed(
    hub: RunningHub,
) -> None:
    def seen(name: str) -> tuple[str, str | None]:
        with sync.Hub(hub.url, hub.key) as observer:
            shown = observer.check(name)[name]
        return shown["state"], shown["reason_text"]

    @heartbeat("job", hub.url, hub.key, status="busy")
    def job(fails: bool) -> tuple[str, str | None]:
        if fails:
            raise OSError("no room")
        return seen("job")

    @heartbeat("job", hub.url, hub.key)
    async def other() -> tuple[str, str | None]:
        return await asyncio.to_thread(seen, "job")

    def block() -> tuple[str, str | None]:
        with heartbeat("job", hub.url, hub.key) as me:
            me.update(status="busy", wait=SOON_S)
            return seen("job")

    assert await asyncio.to_thread(job, False) == ("busy", None)
    assert await asyncio.to_thread(seen, "job") == ("offline", None)
    assert await other() == ("available", None)
    assert await asyncio.to_thread(block) == ("busy", None)
    async with heartbeat("job", hub.url, hub.key) as me:
        assert await me.update(status="degraded", wait=SOON_S)
    with pytest.raises(OSError, match="no room"):
        await asyncio.to_thread(job, True)
    assert await asyncio.to_thread(seen, "job") == ("offline", "OSError: no room")


def history(hub: HubProcess, ended: threading.Event, states: dict[str, list[str]]) -> None:
    """Watch from a thread of its own what becomes of two agents."""
    with sync.Hub(hub.url, hub.key) as observer, observer.watch(present=True) as watch:
        ended.set()
        for change in watch:
            states.setdefault(change["id"], []).append(change["state"])
            if len(states) == 2 and states["plain"][-1] == "offline" and "stalled" in str(states):
                ended.set()
                return


async def test_a_program_that_blocks_its_loop_lives_on_in_a_thread_and_is_found_out(
    tmp_path: Path,
) -> None:
    """A loop that stands still sends no beat and answers no ping: that is a death in time."""
    states: dict[str, list[str]] = {}
    turn = threading.Event()
    async with hub_process(tmp_path) as hub:
        said = {"ttl": 1, "status": "busy", "progress_ttl": 0.5}
        async with (
            Agent("threaded", hub.url, hub.key, thread=True, **said) as threaded,
            Agent("plain", hub.url, hub.key, **said) as plain,
        ):
            seeing = threading.Thread(target=history, args=(hub, turn, states), daemon=True)
            seeing.start()
            await asyncio.to_thread(turn.wait, SOON_S)
            turn.clear()
            began = time.monotonic()
            # Nothing of this loop moves from here, until both have come to what they come to.
            turn.wait(SOON_S)
            assert time.monotonic() - began < SOON_S, states
            assert states["plain"][-1] == "offline"
            assert states["threaded"][-1] == "stalled"
            assert "offline" not in states["threaded"]
            assert threaded.connected
            await threaded.update(progress="on we go")
            async with hub.client() as http:
                await becomes(http, "plain", alive=True)
                await becomes(http, "threaded", state="busy")
            assert not plain.closed
