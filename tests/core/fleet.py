"""Agents as the store would remember them, for tests that only look at them."""

from __future__ import annotations

from typing import Any

from lifesigns.core.instant import from_text
from lifesigns.core.model import Instance, Presence, Record, Words
from lifesigns.core.presence import AVAILABLE, OFFLINE, instance_rank, present

NOW = from_text("2026-03-22T14:30:00.000Z")
STARTED = NOW - 1_800_000
SILENT = Words()


def instance(
    name: str = "i1", rank: int = AVAILABLE, words: Words = SILENT, **given: Any
) -> Instance:
    """Make an instance of ttl 30 s whose last beat came 10 s ago."""
    made = Instance(
        name=name,
        session="00aaaa",
        start_ms=STARTED,
        n=1,
        rev=0,
        ttl_ms=30_000,
        why="",
        pairs=((0, rank),),
        heard_ms=None,
        said_ms=STARTED,
        progressed_ms=STARTED,
        worded_ms=STARTED,
        words=words,
        lease_ms=NOW + 20_000,
    )
    return made._replace(**given)


def record(*instances: Instance, **given: Any) -> Record:
    """Make a record that the store has just settled."""
    made = Record(
        seq=7,
        at_ms=NOW,
        rank=max((instance_rank(i.pairs, NOW) for i in instances), default=OFFLINE),
        since_ms=STARTED,
        up_ms=STARTED,
        down_ms=0,
        why="",
        text="",
        last=None,
        instances=instances,
    )
    return made._replace(**given)


def gone(last: Instance | None = None, **given: Any) -> Record:
    """Make the record of an agent whose last instance left ten seconds ago."""
    left = (last or instance())._replace(lease_ms=None, heard_ms=NOW - 12_000)
    down = {"down_ms": NOW - 10_000, "why": "left", "last": left}
    return record(**{**down, **given})


def shown(*instances: Instance, agent: str = "a1", **given: Any) -> Presence:
    """Show an agent with these instances."""
    return seen(record(*instances, **given), agent)


def seen(known: Record, agent: str = "a1") -> Presence:
    """Show a record."""
    return present("default", agent, known, epoch="k3f9", now_ms=NOW)
