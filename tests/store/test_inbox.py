"""Inboxes on a real store: what lies in them, for how long, and who is woken."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from lifesigns.core.access import DEFAULT_PROJECT
from lifesigns.core.errors import NotFound
from lifesigns.core.letter import Letter
from lifesigns.store import keys, script
from lifesigns.store.inbox import KEPT, KEPT_MS, PAGE, Bell
from tests.patience import until
from tests.station import Station, station

LONG_S = 60.0  # nobody waits for so long who is woken


def bodies(letters: list[Letter]) -> list[Any]:
    return [letter.body["n"] for letter in letters]


async def add(at: Station, agent: str, n: int, *, sockets: bool = False) -> Letter:
    return await at.letters.add(DEFAULT_PROJECT, agent, "tell", {"n": n}, sockets=sockets)


async def read(at: Station, agent: str, after: Letter | None = None) -> list[Letter]:
    return await at.letters.read(DEFAULT_PROJECT, agent, None if after is None else after.number)


def wait(at: Station, agent: str, after: Letter | None = None, *, bell: Bell | None = None) -> Any:
    number = None if after is None else after.number
    return asyncio.create_task(
        at.letters.wait(DEFAULT_PROJECT, agent, number, LONG_S, bell or Bell())
    )


def stream(at: Station, agent: str) -> str:
    return keys.letters(DEFAULT_PROJECT, at.store.lane(DEFAULT_PROJECT, agent).number, agent)


async def test_letters_lie_there_until_they_are_acknowledged(fresh_url: str) -> None:
    async with station(fresh_url) as here, station(fresh_url) as there:
        await here.put("a")
        await here.put("b")
        first, second, third = [await add(here, "a", n) for n in range(3)]
        assert await read(there, "a") == await read(here, "a") == [first, second, third]
        assert await read(there, "a", after=first) == [second, third]
        assert await there.letters.ack(DEFAULT_PROJECT, second.id)
        assert not await here.letters.ack(DEFAULT_PROJECT, second.id)
        assert bodies(await read(here, "a")) == [0, 2]
        assert await read(here, "b") == []


async def test_nobody_writes_to_an_agent_that_was_never_seen(fresh_url: str) -> None:
    async with station(fresh_url) as here:
        with pytest.raises(NotFound, match="'a'"):
            await add(here, "a", 1)
        assert not await here.link.ask("EXISTS", stream(here, "a"))


async def test_an_inbox_has_a_bound_and_the_newest_stay(fresh_url: str) -> None:
    async with station(fresh_url) as here:
        await here.put("a")
        letters = await asyncio.gather(*[add(here, "a", n) for n in range(KEPT + 5)])
        assert len({letter.id for letter in letters}) == KEPT + 5
        assert await here.link.ask("XLEN", stream(here, "a")) == KEPT
        page = await read(here, "a")
        assert bodies(page) == list(range(5, 5 + PAGE))
        assert bodies(await read(here, "a", after=page[-1]))[0] == 5 + PAGE


async def test_a_letter_is_kept_for_a_day(fresh_url: str) -> None:
    async with station(fresh_url) as here:
        await here.put("a")
        now_ms = here.clock.at_ms(asyncio.get_running_loop().time())

        async def add_at(ms: int, n: int) -> str:
            lane = here.store.lane(DEFAULT_PROJECT, "a")
            body = b'{"n": %d}' % n
            args = (ms, "a", "tell", body, KEPT, KEPT_MS, keys.bell(DEFAULT_PROJECT, 0, 0), b"")
            number = await here.link.ask_script(
                script.INBOX_ADD, (stream(here, "a"), lane.keys[1]), args
            )
            return str(number.decode())

        old = await add_at(now_ms - KEPT_MS - 10_000, 0)
        await add_at(now_ms - KEPT_MS + 600_000, 1)
        assert bodies(await read(here, "a")) == [1]  # though nobody has cleared it away yet
        assert bodies(await here.letters.read(DEFAULT_PROJECT, "a", old)) == [1]
        await add(here, "a", 2)
        assert await here.link.ask("XLEN", stream(here, "a")) == 2
        assert 0 < await here.link.ask("PTTL", stream(here, "a")) <= KEPT_MS


async def test_who_waits_is_woken_on_any_hub(fresh_url: str) -> None:
    async with station(fresh_url) as here, station(fresh_url) as there:
        await here.put("a")
        await here.put("b")
        waiting = [wait(here, "a"), wait(there, "a"), wait(there, "a")]
        other = wait(there, "b")
        await until(lambda: here.confirmed and there.confirmed)
        letter = await add(there, "a", 1)
        assert [await each for each in waiting] == [[letter]] * 3
        again = wait(here, "a", after=letter)
        later = await add(here, "a", 2)
        assert await again == [later]
        assert not other.done()
        await add(here, "b", 3)
        assert bodies(await other) == [3]


async def test_who_comes_to_a_letter_does_not_wait(fresh_url: str) -> None:
    async with station(fresh_url) as here:
        await here.put("a")
        letter = await add(here, "a", 1)
        assert await wait(here, "a") == [letter]


async def test_a_wait_ends_when_its_time_or_its_bell_does(fresh_url: str) -> None:
    async with station(fresh_url) as here:
        await here.put("a")
        assert await here.letters.wait(DEFAULT_PROJECT, "a", None, 0.02, Bell()) == []
        bell = Bell()
        waiting = wait(here, "a", bell=bell)
        await asyncio.sleep(0)
        bell.end()
        assert await waiting == []


async def test_what_came_while_a_subscription_was_on_its_way_is_found(
    fresh_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with station(fresh_url) as here:
        await here.put("a")
        rung: list[str] = []
        monkeypatch.setattr(here.letters, "heard", lambda channel, data: rung.append(channel))
        waiting = wait(here, "a")
        await until(lambda: here.letters._bells)
        letter = await add(here, "a", 1)  # its bell is not heard, but the confirmation is
        here.letters.confirmed(next(iter(here.letters._bells)))
        assert await waiting == [letter]


async def test_nothing_is_left_of_those_who_waited(fresh_url: str) -> None:
    async with station(fresh_url) as here:
        await here.put("a")
        waiting = [wait(here, "a"), wait(here, "a")]
        await until(lambda: here.confirmed)
        waiting[0].cancel()
        letter = await add(here, "a", 1)
        assert await waiting[1] == [letter]
        assert here.letters._bells == {}


async def test_the_sockets_of_an_agent_are_told_wherever_they_are(fresh_url: str) -> None:
    async with station(fresh_url) as here, station(fresh_url) as there:
        first, second = await here.opened("a", "1"), await there.opened("a", "2")
        other = await here.opened("b")
        await here.put("a", "-")
        silent = await add(here, "a", 1)
        letter = await add(here, "a", 2, sockets=True)
        await until(lambda: first.letters and second.letters)
        assert first.letters == second.letters == [letter.frame()]
        assert other.letters == []
        assert await read(here, "a") == [silent, letter]


async def test_with_an_agent_its_inbox_is_forgotten(fresh_url: str) -> None:
    async with station(fresh_url) as here:
        await here.put("a")
        await add(here, "a", 1)
        assert await here.store.forget(DEFAULT_PROJECT, "a")
        assert not await here.link.ask("EXISTS", stream(here, "a"))
        await here.put("a")
        assert await read(here, "a") == []


def test_the_scripts_keep_letters_for_as_long_as_this_room_does() -> None:
    assert f"'MAXLEN', {KEPT}," in script.BEAT.source
    assert f"'PEXPIRE', key, {KEPT_MS})" in script.BEAT.source
