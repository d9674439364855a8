"""Samples of a project's fleet: fine ones of the last day, coarse ones of the last months.

Neighbours are packed together, because they say nearly the same. The coarse sample of a time is
what its fine ones add up to, written with each of them: whoever writes the next one finds all that
was written before, and nothing is left to be caught up with.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Final

from lifesigns.core.sample import Sample, join, pack_samples, unpack_samples
from lifesigns.store import keys, script
from lifesigns.store.link import Link
from lifesigns.store.store import Store

log = logging.getLogger(__name__)

HOUR_MS, DAY_MS = 3_600_000, 86_400_000
PAGE = 256  # records that one command reads: it must not hold the server up
CHUNKS = 8  # that are unpacked before others have their turn
TRIES = 5  # to write what another hub writes to at the same moment


@dataclass(frozen=True, slots=True)
class Grain:
    """How often a fleet is sampled, how samples are packed together, and how long they stay."""

    name: str
    step_ms: int
    chunk_ms: int
    keep_ms: int

    def start_ms(self, at_ms: int) -> int:
        return at_ms - at_ms % self.chunk_ms


COARSE: Final = Grain("coarse", 300_000, 2 * HOUR_MS, 90 * DAY_MS)
FINE: Final = Grain("fine", 10_000, COARSE.step_ms, DAY_MS)  # a chunk is one coarse sample


class Samples:
    """The samples of all projects, and the turn to take them."""

    def __init__(self, link: Link, store: Store) -> None:
        self._link = link
        self._store = store
        self._loop = asyncio.get_running_loop()
        self.worked_s = 0.0  # how long others had no turn of the loop, so far

    async def take_turn(self, node: str, lease_ms: int) -> bool:
        """Take or keep the turn to sample; answer whether it is this hub's."""
        return bool(await self._link.ask_script(script.SAMPLER, (keys.SAMPLER,), (node, lease_ms)))

    async def leave_turn(self, node: str) -> None:
        """Leave the turn to whoever asks next."""
        await self._link.ask_script(script.SAMPLER, (keys.SAMPLER,), (node, 0))

    async def projects(self) -> list[str]:
        """Name the projects that have agents, or had some until a while ago."""
        parts = range(keys.PARTITIONS)
        due = await asyncio.gather(*[self._link.ask("ZRANGE", keys.due(n), 0, -1) for n in parts])
        return sorted({project.decode() for each in due for project in each})

    async def records(self, project: str) -> AsyncIterator[list[bytes]]:
        """Go through the packed records of all agents in pages, each once, in no order."""
        seen: set[bytes] = set()
        for lane in self._store.lanes(project):
            seen.clear()  # an agent never changes its partition
            cursor = b"0"
            while True:
                cursor, flat = await self._link.ask("HSCAN", lane.keys[1], cursor, "COUNT", PAGE)
                page = dict(zip(flat[::2], flat[1::2], strict=True))
                yield [packed for agent, packed in page.items() if agent not in seen]
                if cursor == b"0":
                    break
                seen.update(page)

    async def write(self, project: str, sample: Sample) -> bool:
        """Keep a sample; answer whether it is there now by this call."""
        for _ in range(TRIES):
            fine_ms, coarse_ms = FINE.start_ms(sample.at_ms), COARSE.start_ms(sample.at_ms)
            fine, coarse = await asyncio.gather(
                self._chunk(project, FINE, fine_ms), self._chunk(project, COARSE, coarse_ms)
            )
            began = self._loop.time()
            samples = _read(fine)
            if sample.at_ms in samples:
                return False
            samples[sample.at_ms] = sample
            sums = _read(coarse) | {fine_ms: join(list(samples.values()), fine_ms)}
            arguments = [
                *_written(FINE, fine_ms, fine, samples, sample.at_ms),
                *_written(COARSE, coarse_ms, coarse, sums, sample.at_ms),
            ]
            self.worked_s += self._loop.time() - began
            names = (_name(project, FINE), _name(project, COARSE))
            if await self._link.ask_script(script.SAMPLE, names, tuple(arguments)):
                return True
        log.warning("a sample of %s could not be kept: others write there all the time", project)
        return False

    async def read(
        self, project: str, grain: Grain, from_ms: int, to_ms: int, take: Callable[[Sample], None]
    ) -> None:
        """Hand over all samples from one moment until before another, in their order."""
        self._store.check_able()
        chunk_ms = grain.start_ms(from_ms)
        while chunk_ms < to_ms:
            found = await self._link.ask(
                *("ZRANGE", _name(project, grain), chunk_ms, f"({to_ms}", "BYSCORE"),
                *("LIMIT", 0, CHUNKS, "WITHSCORES"),
            )
            if not found:
                return
            for packed in found[::2]:
                for sample in _unpacked(packed):
                    if from_ms <= sample.at_ms < to_ms:
                        take(sample)
            chunk_ms = int(found[-1]) + grain.chunk_ms

    async def drop(self, project: str) -> None:
        """Forget all samples of a project."""
        await self._link.ask("DEL", _name(project, FINE), _name(project, COARSE))

    async def _chunk(self, project: str, grain: Grain, start_ms: int) -> bytes | None:
        name = _name(project, grain)
        found = await self._link.ask("ZRANGE", name, start_ms, start_ms, "BYSCORE")
        return found[0] if found else None


def _name(project: str, grain: Grain) -> str:
    return keys.samples(project, grain.name)


def _read(packed: bytes | None) -> dict[int, Sample]:
    return {sample.at_ms: sample for sample in _unpacked(packed)} if packed else {}


def _unpacked(packed: bytes) -> list[Sample]:
    try:
        return unpack_samples(packed)
    except ValueError:  # what comes next takes its place
        log.error("samples were damaged: dropped")
        return []


def _written(
    grain: Grain, start_ms: int, read: bytes | None, samples: dict[int, Sample], now_ms: int
) -> tuple[int | str | bytes, ...]:
    was = hashlib.sha1(read, usedforsecurity=False).hexdigest() if read else ""
    packed = pack_samples(samples[at_ms] for at_ms in sorted(samples))
    # A chunk stays until the last of it is old enough.
    return start_ms, was, packed, now_ms - grain.keep_ms - grain.chunk_ms, grain.keep_ms
