"""Checks that ask: over sockets of this hub and of others, each once, and never for too long."""

from __future__ import annotations

import asyncio

import msgpack
import pytest

from lifesigns.core.errors import Unavailable
from lifesigns.core.evidence import ANSWERED, NO_ANSWER, NO_SOCKET
from lifesigns.store import keys, probe
from tests.patience import until
from tests.station import Session, Station, station

LONG_MS = 10_000  # nobody waits for so long who is answered
SHORT_MS = 50  # for those who are not


async def answers(session: Session) -> None:
    """Answer the next ping, as a library does."""
    await until(lambda: "pinged" in session.told)
    session.renew()


async def aged(at: Station, agent: str) -> None:
    """Let the evidence of an agent grow old."""
    read_ms = (await at.read(agent)).last_heartbeat_ms
    await until(lambda: at.clock.at_ms(asyncio.get_running_loop().time()) > read_ms + 20)


@pytest.mark.parametrize("elsewhere", [False, True])
async def test_an_answer_is_the_evidence_before_the_store_has_it(
    elsewhere: bool, fresh_url: str
) -> None:
    async with station(fresh_url, fold_s=60.0) as here, station(fresh_url) as there:
        agent = await here.opened("a", ttl_ms=400_000)
        await aged(here, "a")
        before = await here.read("a")
        asking = there if elsewhere else here
        _, (check,) = await asyncio.gather(
            answers(agent), asking.check("a", probe=True, timeout_ms=LONG_MS)
        )
        assert check.probed == ANSWERED
        assert check.presence is not None
        assert check.presence.last_heartbeat_ms > before.last_heartbeat_ms
        assert check.presence.expires_at_ms == check.presence.last_heartbeat_ms + 400_000
        assert check.valid_for_ms + (check.evidence_age_ms or 0) == 400_000
        stored = await here.read("a")
        assert stored.last_heartbeat_ms == before.last_heartbeat_ms, "it was flushed already"


async def test_whatever_a_session_says_is_an_answer(fresh_url: str) -> None:
    async with station(fresh_url) as here:
        agent = await here.opened("a")
        asked = asyncio.create_task(here.check("a", probe=True, timeout_ms=LONG_MS))
        await until(lambda: agent.told)
        agent.say(task="t")
        (check,) = await asked
        assert check.probed == ANSWERED


async def test_only_those_whose_evidence_is_too_old_are_asked(fresh_url: str) -> None:
    async with station(fresh_url) as here:
        old = await here.opened("old")
        await aged(here, "old")
        young = await here.opened("young")
        asked = asyncio.create_task(
            here.check("old", "young", within_ms=20, probe=True, timeout_ms=LONG_MS)
        )
        await answers(old)
        checks = {check.id: check.probed for check in await asked}
        assert checks["old"] == ANSWERED
        assert checks["young"] in (None, ANSWERED)  # a slow machine lets it grow old as well
        assert young.told == [] or checks["young"] == ANSWERED
        (all_,) = await here.check("young", within_ms=3_600_000, probe=True)
        assert (all_.probed, all_.fresh) == (None, True)


async def test_who_has_no_socket_is_not_waited_for(fresh_url: str) -> None:
    async with station(fresh_url) as here:
        await here.put("http")
        left = await here.opened("left")
        left.leave()
        await here.settle()
        checks = await here.check("http", "left", "never", probe=True, timeout_ms=LONG_MS)
        assert [check.probed for check in checks] == [NO_SOCKET] * 3


async def test_who_does_not_answer_is_told_at_the_timeout_and_nothing_is_left(
    fresh_url: str,
) -> None:
    async with station(fresh_url) as here, station(fresh_url) as there:
        agents = [await here.opened("a"), await there.opened("b")]
        checks = await here.check("a", "b", "c", probe=True, timeout_ms=SHORT_MS)
        assert [check.probed for check in checks] == [NO_ANSWER, NO_ANSWER, NO_SOCKET]
        await until(lambda: agents[1].told)
        await until(lambda: not here.ingest.pings.waiting and not there.ingest.pings.waiting)


async def test_a_socket_that_ends_meanwhile_is_not_waited_for(fresh_url: str) -> None:
    async with station(fresh_url) as here, station(fresh_url) as there:
        agent = await here.opened("a")
        asked = asyncio.create_task(there.check("a", probe=True, timeout_ms=LONG_MS))
        await until(lambda: agent.told)
        agent.lose()
        (check,) = await asked
        assert check.probed == NO_SOCKET
        assert check.presence is not None
        assert check.presence.state == "suspect"


async def test_who_came_back_over_another_socket_has_answered(fresh_url: str) -> None:
    async with station(fresh_url) as here, station(fresh_url) as there:
        agent = await here.opened("a")
        asked = asyncio.create_task(there.check("a", probe=True, timeout_ms=LONG_MS))
        await until(lambda: agent.told)
        await there.opened("a")  # the same instance: the session before is told that it has ended
        (check,) = await asked
        assert check.probed == ANSWERED


async def test_one_of_several_sockets_is_enough(fresh_url: str) -> None:
    async with station(fresh_url) as here, station(fresh_url) as there:
        silent, awake = await here.opened("a", "1"), await there.opened("a", "2")
        asked = asyncio.create_task(here.check("a", probe=True, timeout_ms=LONG_MS))
        await answers(awake)
        (check,) = await asked
        assert check.probed == ANSWERED
        assert silent.told == ["pinged"]


async def test_a_thousand_agents_of_a_hub_are_asked_in_one_message(fresh_url: str) -> None:
    async with station(fresh_url) as here, station(fresh_url) as there:
        sessions = [here.open(f"a{number}") for number in range(1_000)]
        await until(lambda: all(each.outcomes for each in sessions))
        pushes = here.pushes
        asked = asyncio.create_task(
            there.check(*[f"a{number}" for number in range(1_000)], probe=True, timeout_ms=LONG_MS)
        )
        await until(lambda: all(each.told for each in sessions))
        assert here.pushes == pushes + 1
        pushes = there.pushes
        for each in sessions:
            each.renew()
        assert {check.probed for check in await asked} == {ANSWERED}
        assert there.pushes == pushes + 1


async def test_two_who_ask_at_once_ping_once(fresh_url: str) -> None:
    async with station(fresh_url) as here, station(fresh_url) as there:
        agent = await here.opened("a")
        asked = [
            asyncio.create_task(each.check("a", probe=True, timeout_ms=LONG_MS))
            for each in (here, there, there)
        ]
        await until(lambda: len(here.ingest.pings.waiting.get(agent.id, ())) == 3)
        agent.renew()
        for each in asked:
            (check,) = await each
            assert check.probed == ANSWERED
        assert agent.told == ["pinged"]


async def test_a_dead_hub_does_not_answer(fresh_url: str) -> None:
    async with station(fresh_url) as here:
        async with station(fresh_url) as there:
            await there.opened("a", ttl_ms=60_000)
        (check,) = await here.check("a", probe=True, timeout_ms=SHORT_MS)
        assert check.probed == NO_ANSWER
        assert check.presence is not None
        assert check.presence.alive


async def test_an_answer_that_nobody_waits_for_is_passed_over(fresh_url: str) -> None:
    async with station(fresh_url) as here:
        agent = await here.opened("a")
        inbox = keys.inbox(here.link.address.db, here.ticker.node)
        late = msgpack.packb([probe.SIGNS, 77, [[agent.id, 1]], []])
        assert await here.link.ask("PUBLISH", inbox, late) == 1
        asked = asyncio.create_task(here.check("a", probe=True, timeout_ms=LONG_MS))
        await answers(agent)
        (check,) = await asked
        assert check.probed == ANSWERED


async def test_too_many_at_once_are_refused(
    fresh_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(probe, "SOCKETS_AT_ONCE", 2)
    async with station(fresh_url) as here:
        for name in ("a", "b", "c"):
            await here.opened(name)
        with pytest.raises(Unavailable, match="Too many"):
            await here.check("a", "b", "c", probe=True, timeout_ms=SHORT_MS)
        checks = await here.check("a", "b", probe=True, timeout_ms=SHORT_MS)
        assert {check.probed for check in checks} == {NO_ANSWER}
