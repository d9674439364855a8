"""Documents: what is kept beside presences, such as jobs and schedules.

A document is a map of values with a version. It is judged in ``core`` as it was read, and written
only if it is still that; all that one judgement alters, and the events that webhooks tell of it,
is one step, done whole or not at all. What a document means is not known here.

Its ``home`` says in which partition of its project it lies: with an agent, by that one's id, or,
as "", at the one place that the project has for all that belongs to nobody; a number names a
partition itself. A step stays within one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from operator import itemgetter
from typing import Any, NamedTuple

import msgpack

from lifesigns.core.errors import Altered, Unavailable
from lifesigns.store import keys, script
from lifesigns.store.lease import Lane
from lifesigns.store.link import Link, translated
from lifesigns.store.store import Store

Home = str | int
HOOKS = "hooks"  # in the lane's meta: what of its agents is noted for webhooks
OUTBOX = "outbox"  # a kind with one document in each lane: how far what was noted was taken
ANY = -1  # a version: whatever there is
TRIES = 8  # a judgement is made anew so often; who then still loses has met a queue of others
DROPPED_AT_ONCE = 100


@dataclass(frozen=True, slots=True)
class Doc:
    """A document as it was read."""

    id: str
    version: int
    body: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Write:
    """A document as it shall be."""

    kind: str
    id: str
    expect: int  # the version on which it was judged; 0: there was none
    body: Mapping[str, Any] | None  # None drops it
    due_ms: int | None = None  # when the agenda hands it out
    indexes: Mapping[str, float] = field(default_factory=dict)  # all in which it is listed


@dataclass(frozen=True, slots=True)
class Event:
    """What webhooks tell."""

    type: str
    agent: str  # "": it is about none
    data: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Rest:
    """An agent that sleeps between its runs, as the lists of this very step tell."""

    agent: str
    dues: tuple[str, str]  # kind and index: when its runs are due
    runs: tuple[str, str]  # kind and index: which are open
    allowance_ms: int  # how late a run may be before its agent does not sleep any more
    failed: bool | None  # whether the last run did; None: as before
    blob: bytes  # the words of an agent that was never seen


class Tell(NamedTuple):
    """What the hub of a session is told."""

    session: str
    message: Sequence[Any]  # begins with the word that says what it is about


class Count(NamedTuple):
    """Something that is counted; it is kept for so long after the last time."""

    name: str
    field: str
    by: float
    kept_ms: int


@dataclass(frozen=True, slots=True)
class Step:
    """What is done together."""

    writes: Sequence[Write] = ()
    events: Sequence[Event] = ()
    rests: Sequence[Rest] = ()
    tells: Sequence[Tell] = ()
    rings: Sequence[str] = ()  # for whom a bell is rung
    counts: Sequence[Count] = ()

    @property
    def idle(self) -> bool:
        """Whether there is nothing to do."""
        return not (self.writes or self.events or self.more)

    @property
    def more(self) -> bool:
        """Whether there is something beside documents and events."""
        return bool(self.rests or self.tells or self.rings or self.counts)


class Page(NamedTuple):
    """A part of a list."""

    docs: list[Doc]
    total: int


class Ledger:
    """The documents of all projects. Whatever asks raises ``Unavailable`` without the store."""

    def __init__(self, link: Link, store: Store) -> None:
        self._link = link
        self._store = store
        self.on_due: Callable[[int], None] | None = None  # told when something is due, in ms

    async def read(
        self, project: str, kind: str, ids: Sequence[str], home: Home = ""
    ) -> list[Doc | None]:
        """Read documents, in the order of their ids; None where there is none."""
        if not ids:
            return []
        number = self._lane(project, home).number
        rows = await self._link.ask("HMGET", keys.documents(project, number, kind), *ids)
        return [row and _doc(id_, row) for id_, row in zip(ids, rows, strict=True)]

    async def get(self, project: str, kind: str, id_: str, home: Home = "") -> Doc | None:
        """Read one document."""
        return (await self.read(project, kind, [id_], home))[0]

    async def page(
        self,
        project: str,
        kind: str,
        index: str,
        home: Home = "",
        *,
        after: str = "",
        skip: int = 0,
        limit: int = 50,
        newest: bool = True,
    ) -> Page:
        """List documents by an index, from the highest score down unless told otherwise.

        ``after`` is the last document of the page before; if it has left the index nothing
        follows.
        """
        lane = self._lane(project, home)
        total, found = await self._page(lane, kind, index, after, skip, limit, newest)
        return Page([doc for _, doc in found], total)

    async def everywhere(
        self, project: str, kind: str, index: str, *, limit: int = 50, newest: bool = True
    ) -> Page:
        """List documents by an index over all homes."""
        pages = await asyncio.gather(
            *[
                self._page(lane, kind, index, "", 0, limit, newest)
                for lane in self._store.lanes(project)
            ]
        )
        found = [each for _, page in pages for each in page]
        found.sort(key=itemgetter(0), reverse=newest)
        return Page([doc for _, doc in found[:limit]], sum(total for total, _ in pages))

    async def commit(
        self,
        project: str,
        writes: Sequence[Write],
        events: Sequence[Event] = (),
        home: Home = "",
    ) -> list[int]:
        """Do one step; answer the new versions. Raises Altered, with nothing done."""
        versions = (await self.commit_each(project, [Step(writes, events)], home))[0]
        if versions is None:
            raise Altered("It was changed by somebody else at this very moment.")
        return versions

    async def commit_each(
        self, project: str, steps: Sequence[Step], home: Home = ""
    ) -> list[list[int] | None]:
        """Do many steps of one home in one call, each by itself; None for one that was altered."""
        lane = self._lane(project, home)
        batch = [
            [
                [_packed_write(each) for each in step.writes],
                [[each.type, each.agent, msgpack.packb(each.data)] for each in step.events],
                _packed_more(step),
            ]
            for step in steps
        ]
        packed = msgpack.packb(batch, use_bin_type=False)
        reply = await translated(
            self._link.ask_script(script.LEDGER, lane.keys, (b"", *lane.tail, packed))
        )
        done = [
            None if step.writes and not versions else versions
            for step, versions in zip(steps, reply[2:], strict=True)
        ]
        self._tell_due(step for step, versions in zip(steps, done, strict=True) if versions)
        return done

    async def change(
        self,
        project: str,
        kind: str,
        id_: str,
        judge: Callable[[Doc | None], Step],
        home: Home = "",
    ) -> Step:
        """Judge a document and do what comes of it, anew if somebody else was first.

        ``judge`` makes a step of the document, None if there is none; what it raises ends it all.
        """
        for _ in range(TRIES):
            step = judge(await self.get(project, kind, id_, home))
            if step.idle:
                return step
            if (await self.commit_each(project, [step], home))[0] is not None:
                return step
        raise Unavailable("Too many change this at once.")

    async def counts(
        self, project: str, names: Sequence[str], home: Home
    ) -> list[dict[str, float]]:
        """Read what was counted, in the order of the names."""
        number = self._lane(project, home).number
        asked = [self._link.ask("HGETALL", keys.counts(project, number, name)) for name in names]
        return [
            {field.decode(): float(by) for field, by in zip(flat[::2], flat[1::2], strict=True)}
            for flat in await asyncio.gather(*asked)
        ]

    async def drop(self, project: str) -> None:
        """Drop all documents of a project, what was counted, and what was to be told of them."""
        for lane in self._store.lanes(project):
            for kind in await self._link.ask("SMEMBERS", keys.kinds(project, lane.number)):
                await self._drop_kind(lane, kind.decode())
            left = (keys.kinds(project, lane.number), keys.events(project, lane.number))
            await self._link.ask("HDEL", lane.keys[0], HOOKS)
            await self._link.ask("ZREM", keys.agenda(lane.number), outbox_member(project))
            await self._link.ask("DEL", *left)
        await self._drop_counts(project)

    async def _drop_counts(self, project: str) -> None:
        """Look for them: nobody keeps a list of what ends by itself."""
        cursor, pattern = b"0", keys.all_counts(project)
        while True:
            cursor, found = await self._link.ask("SCAN", cursor, "MATCH", pattern, "COUNT", 1_000)
            if found:
                await self._link.ask("UNLINK", *found)
            if cursor == b"0":
                return

    async def _drop_kind(self, lane: Lane, kind: str) -> None:
        ids = await self._link.ask("HKEYS", keys.documents(lane.project, lane.number, kind))
        for start in range(0, len(ids), DROPPED_AT_ONCE):
            some = ids[start : start + DROPPED_AT_ONCE]
            steps = [Step([Write(kind, id_.decode(), ANY, None)]) for id_ in some]
            await self.commit_each(lane.project, steps, lane.number)

    async def _page(
        self, lane: Lane, kind: str, index: str, after: str, skip: int, limit: int, newest: bool
    ) -> tuple[int, list[tuple[float, Doc]]]:
        total, *flat = await self._link.ask_script(
            script.LEDGER_PAGE,
            (
                keys.documents(lane.project, lane.number, kind),
                keys.index(lane.project, lane.number, kind, index),
            ),
            (int(newest), after, skip, limit),
        )
        rows = zip(flat[::3], flat[1::3], flat[2::3], strict=True)
        return total, [(float(score), _doc(id_.decode(), row)) for score, id_, row in rows]

    def _lane(self, project: str, home: Home) -> Lane:
        if isinstance(home, int):
            return self._store.lane_at(project, home)
        return self._store.lane(project, home)

    def _tell_due(self, steps: Iterable[Step]) -> None:
        dues = [each.due_ms for step in steps for each in step.writes if each.due_ms is not None]
        if dues and self.on_due is not None:
            self.on_due(min(dues))


def outbox_member(project: str) -> str:
    """Name a project's outbox as it stands on the agenda while something is in it."""
    return keys.SEPARATOR.join((OUTBOX, project, ""))


def _packed_write(write: Write) -> list[Any]:
    indexes = [part for entry in write.indexes.items() for part in entry]
    body = False if write.body is None else msgpack.packb(write.body)
    return [write.kind, write.id, write.expect, write.due_ms or 0, indexes, body]


def _packed_more(step: Step) -> Any:
    if not step.more:
        return False
    rests = [
        [
            *(each.agent, *each.dues, *each.runs, each.allowance_ms),
            *(-1 if each.failed is None else int(each.failed), each.blob),
        ]
        for each in step.rests
    ]
    tells = [[each.session[:2], msgpack.packb(each.message)] for each in step.tells]
    return [rests, tells, list(step.rings), [list(each) for each in step.counts]]


def _doc(id_: str, row: bytes) -> Doc:
    version, _, _, body = msgpack.unpackb(row, raw=True)
    return Doc(id_, version, msgpack.unpackb(body))


def unpack_due(member: bytes, row: bytes) -> tuple[str, str, Doc]:
    """Read what the agenda tells of a document: its kind, its project, itself."""
    kind, project, id_ = member.decode().split(keys.SEPARATOR)
    return kind, project, _doc(id_, row)
