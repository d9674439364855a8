"""What is noted for webhooks, in the step in which it happens."""

from __future__ import annotations

from typing import Any

import msgpack
import pytest

from lifesigns.core.access import DEFAULT_PROJECT
from lifesigns.core.event import events_of
from lifesigns.core.model import Override
from lifesigns.core.presence import ERROR
from lifesigns.core.webhook import EVENTS, Webhook, notes
from lifesigns.store import keys
from tests.station import Station, station

ALL = notes([Webhook("w", "", "")])


async def listen(at: Station, *agents: str, hooks: str = ALL) -> None:
    """As if there were a webhook."""
    for agent in agents:
        lane = at.store.lane(DEFAULT_PROJECT, agent)
        await at.link.ask("HSET", lane.keys[0], "hooks", hooks)


async def told(at: Station, agent: str) -> list[str]:
    """Name what was noted of an agent."""
    number = at.store.lane(DEFAULT_PROJECT, agent).number
    names = []
    for _, fields in await at.link.ask("XRANGE", keys.events(DEFAULT_PROJECT, number), "-", "+"):
        entry: dict[bytes, bytes] = dict(zip(fields[::2], fields[1::2], strict=True))
        assert entry[b"agent"].decode() == agent
        if entry[b"type"]:
            names.append(entry[b"type"].decode())
            continue
        unpacker = msgpack.Unpacker()
        unpacker.feed(entry[b"data"])
        epoch = unpacker.unpack()
        change = entry[b"data"][unpacker.tell() :]
        names += [event.type or "-" for event in events_of(DEFAULT_PROJECT, epoch, change)]
    return names


async def lives(at: Station, agent: str) -> None:
    """Have an agent come, need attention, recover from that, go and be forgotten."""
    session = await at.opened(agent)
    session.say(status="error")
    await at.settle()
    session.say(status="idle")
    await at.settle()
    session.leave()
    await at.settle()
    await at.store.forget(DEFAULT_PROJECT, agent)


@pytest.mark.parametrize(
    ("events", "noted"),
    [
        (["*"], ["agent.online", "agent.error", "-", "agent.offline", "agent.forgotten"]),
        (["agent.offline"], ["agent.offline"]),
        (["agent.error"], ["agent.error", "-"]),
        (["agent.flapping"], ["agent.online", "agent.offline"]),
        (["job.*"], []),
    ],
)
async def test_what_is_wanted_is_noted_and_nothing_else(
    events: list[str], noted: list[str], fresh_url: str
) -> None:
    async with station(fresh_url) as at:
        await listen(at, "a", hooks=notes([Webhook("w", "", "", tuple(events))]))
        await lives(at, "a")
        assert await told(at, "a") == noted


async def test_where_there_is_no_webhook_nothing_is_noted(fresh_url: str) -> None:
    async with station(fresh_url) as at:
        await lives(at, "a")
        for number in range(keys.PARTITIONS):
            assert not await at.link.ask("EXISTS", keys.events(DEFAULT_PROJECT, number))
            assert not await at.link.ask("EXISTS", keys.agenda(number))


async def test_a_beat_without_a_change_is_not_noted(fresh_url: str) -> None:
    async with station(fresh_url) as at:
        await listen(at, "a")
        session = await at.opened("a")
        session.say(task="another")
        session.renew()
        await at.settle()
        assert await told(at, "a") == ["agent.online"]


async def test_an_operators_word_that_needs_attention_is_noted(fresh_url: str) -> None:
    async with station(fresh_url) as at:
        await listen(at, "a")
        await at.opened("a")
        await at.store.rule(DEFAULT_PROJECT, "a", Override(ERROR, "", None))
        assert await told(at, "a") == ["agent.online", "agent.error"]


async def test_an_outbox_is_due_as_long_as_something_is_in_it(fresh_url: str) -> None:
    async with station(fresh_url) as at:
        await listen(at, "a")
        await at.opened("a")
        number = at.store.lane(DEFAULT_PROJECT, "a").number
        due: list[Any] = await at.link.ask("ZRANGE", keys.agenda(number), 0, -1)
        assert due == [b"outbox\x1fdefault\x1f"]


def hooked(*events: str, hold_ms: int = 0, enabled: bool = True) -> Webhook:
    return Webhook("w", "", "", events, hold_ms=hold_ms, enabled=enabled)


@pytest.mark.parametrize(
    ("webhooks", "letters"),
    [
        ([], "-"),
        ([hooked("job.*")], "-"),
        ([hooked("*", enabled=False)], "-"),
        ([hooked("agent.offline")], "-f"),
        ([hooked("agent.offline"), hooked("agent.online")], "-fo"),
        ([hooked("agent.offline", hold_ms=1)], "-eforst"),
        ([hooked("job.*", hold_ms=1)], "-"),
        ([hooked("claim.lost")], "-c"),
        ([hooked(*EVENTS)], "-cefgorst"),
    ],
)
def test_what_is_noted_is_what_any_webhook_needs(webhooks: list[Webhook], letters: str) -> None:
    assert notes(webhooks) == letters
