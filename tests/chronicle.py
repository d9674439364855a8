"""What the store wrote down: every change of every agent, in the order of its number."""

from __future__ import annotations

import io
from collections import defaultdict
from dataclasses import dataclass

import msgpack

from lifesigns.core.access import DEFAULT_PROJECT
from lifesigns.core.presence import KIND_NAMES
from lifesigns.store import keys
from lifesigns.store.link import Link


@dataclass(frozen=True, slots=True)
class Written:
    """One change."""

    kind: str
    seq: int
    at_ms: int
    lasted_ms: int


async def chronicle(link: Link, project: str = DEFAULT_PROJECT) -> dict[str, list[Written]]:
    """Read all changes of a project, by agent."""
    found: dict[str, list[Written]] = defaultdict(list)
    for number in range(keys.PARTITIONS):
        for _, (_, change) in await link.ask("XRANGE", keys.lane(project, number)[3], "-", "+"):
            head = msgpack.Unpacker(io.BytesIO(change), raw=True).unpack()
            seq, at_ms, letter, _, agent, lasted_ms, *_ = head
            kind = KIND_NAMES[letter.decode()]
            found[agent.decode()].append(Written(kind, seq, at_ms, lasted_ms))
    return found


async def kinds(link: Link, agent: str) -> list[str]:
    """Name the changes of one agent, in their order."""
    return [written.kind for written in (await chronicle(link))[agent]]
