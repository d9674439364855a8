"""Agents that sleep between their runs: asleep with the very step that says when they are due."""

from __future__ import annotations

import asyncio
from typing import Any

from lifesigns.core.access import DEFAULT_PROJECT
from lifesigns.core.model import Words
from lifesigns.core.presence import full
from lifesigns.core.record import pack_words
from lifesigns.store import keys
from lifesigns.store.ledger import ANY, Count, Rest, Step, Tell, Write
from tests.patience import until, until_told
from tests.station import Station, station

BLOB = pack_words(Words(dialect="boostgpt"))
SOON_MS = 3_600_000


class Alarm:
    """Schedules and runs of one agent, as short as they can be."""

    def __init__(self, at: Station, agent: str = "bot", allowance_ms: int = 60_000) -> None:
        self.at = at
        self.agent = agent
        self.allowance_ms = allowance_ms

    async def now_ms(self) -> int:
        seconds, micros = await self.at.link.ask("TIME")
        return int(seconds) * 1000 + int(micros) // 1000

    async def set(
        self,
        in_ms: int | None,
        *,
        id_: str = "s",
        runs: int | None = None,
        failed: bool | None = None,
    ) -> None:
        """Say when a schedule is due next, and how many runs are open."""
        due_ms = None if in_ms is None else await self.now_ms() + in_ms
        dues = {} if due_ms is None else {f"due:{self.agent}": float(due_ms)}
        writes = [Write("schedule", id_, ANY, {}, None, dues)]
        for n in range(2 if runs is not None else 0):
            listed = {f"open:{self.agent}": 1.0} if n < (runs or 0) else {}
            writes.append(Write("run", f"r{n}", ANY, {}, None, listed))
        rest = Rest(
            self.agent,
            ("schedule", f"due:{self.agent}"),
            ("run", f"open:{self.agent}"),
            self.allowance_ms,
            failed,
            BLOB,
        )
        await self.at.ledger.commit_each(DEFAULT_PROJECT, [Step(writes, rests=[rest])], self.agent)

    async def shown(self) -> dict[str, Any]:
        return full(await self.at.read(self.agent))

    async def state(self) -> str:
        return str((await self.shown())["state"])


async def test_an_agent_that_was_never_seen_sleeps_until_its_run_is_due(fresh_url: str) -> None:
    async with station(fresh_url) as here:
        alarm = Alarm(here)
        await alarm.set(None)
        assert (await here.store.read(DEFAULT_PROJECT, "bot")).presence is None
        await alarm.set(SOON_MS)
        shown = await alarm.shown()
        assert (shown["state"], shown["alive"], shown["dialect"]) == ("sleeping", False, "boostgpt")
        assert shown["next_active_at"] > shown["offline_since"]
        assert shown["last_heartbeat"] is None
        assert shown["instances"] == 0
        (check,) = await here.check("bot", within_ms=1_000.0)
        assert (check.evidence_age_ms, check.fresh) == (None, False)


async def test_who_leaves_between_runs_sleeps_and_is_online_when_it_comes(fresh_url: str) -> None:
    async with station(fresh_url) as here:
        alarm = Alarm(here)
        session = await here.opened("bot")
        await alarm.set(SOON_MS)
        assert await alarm.state() == "available"
        assert (await alarm.shown())["next_active_at"] is not None
        session.leave("home")
        await here.settle()
        shown = await alarm.shown()
        assert (shown["state"], shown["reason"]) == ("sleeping", "left")
        assert shown["reason_text"] == "home"
        for due, state in ((None, "offline"), (SOON_MS, "sleeping")):
            await alarm.set(due)  # why it left is true still
            shown = await alarm.shown()
            assert shown["state"] == state
            assert (shown["reason"], shown["reason_text"]) == ("left", "home")
        await here.opened("bot")
        assert await alarm.state() == "available"


async def test_the_earliest_of_several_schedules_wakes(fresh_url: str) -> None:
    async with station(fresh_url) as here:
        alarm = Alarm(here)
        await alarm.set(2 * SOON_MS, id_="late")
        late = (await alarm.shown())["next_active_at"]
        await alarm.set(SOON_MS, id_="early")
        assert (await alarm.shown())["next_active_at"] < late
        await alarm.set(None, id_="early")
        assert (await alarm.shown())["next_active_at"] == late
        await alarm.set(None, id_="late")
        shown = await alarm.shown()
        assert (shown["state"], shown["next_active_at"]) == ("offline", None)


async def test_who_breaks_off_with_a_run_open_is_offline(fresh_url: str) -> None:
    async with station(fresh_url) as here, here.working():
        alarm = Alarm(here)
        await here.put("bot", ttl_ms=500)
        await alarm.set(SOON_MS, runs=1)
        await until_state(alarm, "offline")
        await alarm.set(SOON_MS, runs=0)  # reported from elsewhere: it broke off all the same
        assert await alarm.state() == "offline"
        await here.put("bot", ttl_ms=500)  # and without one
        await until_state(alarm, "sleeping")
        assert (await alarm.shown())["reason"] == "expired"


async def test_who_leaves_with_a_run_open_sleeps(fresh_url: str) -> None:
    async with station(fresh_url) as here:
        alarm = Alarm(here)
        session = await here.opened("bot")
        await alarm.set(SOON_MS, runs=1)
        session.leave()
        await here.settle()
        assert await alarm.state() == "sleeping"


async def test_a_failed_run_makes_it_offline_until_one_succeeds(fresh_url: str) -> None:
    async with station(fresh_url) as here:
        alarm = Alarm(here)
        await alarm.set(SOON_MS)
        await alarm.set(SOON_MS, failed=True)
        assert await alarm.state() == "offline"
        await alarm.set(SOON_MS + 1)  # skipped: that says nothing of it
        assert await alarm.state() == "offline"
        await alarm.set(SOON_MS, failed=False)
        assert await alarm.state() == "sleeping"


async def test_whose_key_was_revoked_does_not_sleep(fresh_url: str) -> None:
    async with station(fresh_url) as here:
        session = await here.opened("bot")
        here.ingest.leave(session.lease, "revoked", "", asyncio.get_running_loop().time())
        await here.settle()
        alarm = Alarm(here)
        await alarm.set(SOON_MS)
        assert await alarm.state() == "offline"


async def test_a_due_time_that_passes_wakes_nobody_and_is_found_out(fresh_url: str) -> None:
    async with station(fresh_url) as here, here.working():
        alarm = Alarm(here, allowance_ms=700)
        await alarm.set(0)
        assert await alarm.state() == "sleeping"
        await until_state(alarm, "offline")


async def test_who_sleeps_is_not_forgotten(fresh_url: str) -> None:
    async with station(fresh_url, retention_ms=1) as here, here.working():
        sleeper, other = Alarm(here, "sleeper"), Alarm(here, "other")
        await sleeper.set(SOON_MS)
        await other.set(SOON_MS)
        await other.set(None)  # now it only has been there

        async def gone() -> bool:
            return (await here.store.read(DEFAULT_PROJECT, "other")).presence is None

        await until_told(gone)
        assert await sleeper.state() == "sleeping"


async def test_a_step_tells_hubs_rings_and_counts(fresh_url: str) -> None:
    async with station(fresh_url) as here:
        session = await here.opened("bot")
        counted = {"success": 1, "credits": 0.5}
        counts = [Count("runs:bot", name, by, 60_000) for name, by in counted.items()]
        step = Step(tells=[Tell(session.id, ["gone", "bot", session.id])], counts=counts)
        for _ in range(2):
            await here.ledger.commit_each(DEFAULT_PROJECT, [step], "bot")
        assert await here.ledger.counts(DEFAULT_PROJECT, ["runs:bot", "none"], "bot") == [
            {"success": 2, "credits": 1},
            {},
        ]
        number = here.store.lane(DEFAULT_PROJECT, "bot").number
        left_ms = await here.link.ask("PTTL", keys.counts(DEFAULT_PROJECT, number, "runs:bot"))
        assert 0 < left_ms <= 60_000
        await until(lambda: session.told)
        await here.ledger.drop(DEFAULT_PROJECT)
        assert await here.ledger.counts(DEFAULT_PROJECT, ["runs:bot"], "bot") == [{}]


async def until_state(alarm: Alarm, state: str) -> None:
    async def reached() -> bool:
        return await alarm.state() == state

    await until_told(reached)
