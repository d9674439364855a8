"""Makes messages of what has happened: one for each webhook that wants to be told of it.

What happened is noted in an outbox, in the step in which it happened. An outbox is taken from its
beginning, some entries at a time: the messages, the lines in which they wait and how far the
outbox was taken are one step, so that two hubs at it make each message once, and a hub that ends
over it leaves nothing half.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import msgpack

from lifesigns.core import delivery, flap, line
from lifesigns.core.access import covers
from lifesigns.core.delivery import Delivery, delivery_id
from lifesigns.core.errors import Altered
from lifesigns.core.event import TURNS, Event, events_of, noted
from lifesigns.core.filter import Filter
from lifesigns.core.line import Line, admit, line_id, line_of
from lifesigns.core.past import Life
from lifesigns.core.payload import payload_of
from lifesigns.core.webhook import Webhook, bound_id, own_id
from lifesigns.store import keys, script
from lifesigns.store.ledger import ANY, OUTBOX, Doc, Ledger, Write, outbox_member
from lifesigns.store.link import Link
from lifesigns.store.store import Store
from lifesigns.store.webhook import Webhooks
from lifesigns.workers.agenda import Agenda, Place

log = logging.getLogger(__name__)

WRITES = 128  # that one step holds: it may hold the server for some ms
ROUNDS = 16  # steps before others on the agenda get their turn
AT_A_TIME = 8  # entries that are read, or spelled, before others get their turn
TRIM_EVERY = 256  # entries of a lane
LIVES = 32  # of an agent, that are looked at to see whether it flaps


Row = tuple[bytes, Sequence[bytes]]  # of an outbox, as it was read


class Entry(NamedTuple):
    """What was noted: its place in the outbox, and what it means."""

    id: str
    events: list[Event]


class Known(NamedTuple):
    """What is read beside the entries, to judge them by."""

    webhooks: Sequence[tuple[Webhook, Filter]]
    bound: Mapping[str, Webhook]  # by its id
    filters: Mapping[str, Filter]  # by the id of its webhook
    lives: Mapping[str, list[Life]]  # by agent
    lines: Mapping[str, Doc | None]
    matching: Mapping[str, Any]  # agents as they are now


class Outbox:
    """Takes the outboxes of all projects."""

    def __init__(
        self, link: Link, store: Store, ledger: Ledger, webhooks: Webhooks, agenda: Agenda
    ) -> None:
        self._link = link
        self._store = store
        self._ledger = ledger
        self._webhooks = webhooks
        self._turn = asyncio.Lock()  # one outbox is spelled at a time: others beat meanwhile
        self._taken: Counter[Place] = Counter()  # entries, since it was last trimmed there
        self.made = 0  # messages
        agenda.on(OUTBOX, self.handle)

    async def handle(self, place: Place, docs: Sequence[Doc], now_ms: int) -> None:
        """Take what lies in an outbox; what is left stays due."""
        for _ in range(ROUNDS):
            if not await self.take(place):
                return

    async def take(self, place: Place) -> bool:
        """Take some entries; answer whether there are more."""
        project, number = place
        taken = await self._ledger.get(project, OUTBOX, "", number)
        if taken is None:
            return False
        webhooks = [each for each in await self._webhooks.all(project) if each.enabled]
        count = max(8, WRITES // (2 * len(webhooks) or 1))
        outbox = keys.events(project, number)
        rows = await self._link.ask(
            *("XRANGE", outbox, f"({taken.body['taken']}", "+", "COUNT", count)
        )
        last = taken.body["taken"]
        while rows:
            async with self._turn:
                writes = await self._writes(place, webhooks, rows)
            last = rows[-1][0].decode()
            writes.append(Write(OUTBOX, "", taken.version, {"taken": last}))
            try:
                await self._ledger.commit(project, writes, home=number)
                break
            except Altered:  # a line has moved on, or another hub was here
                now = await self._ledger.get(project, OUTBOX, "", number)
                if now is None or now.version != taken.version:
                    return True
                rows = rows[: max(1, len(rows) // 2)]
        await self._trim(place, [each.id for each in webhooks], len(rows))
        left = await self._link.ask_script(
            script.OUTBOX_DONE, (outbox, keys.agenda(number)), (last, outbox_member(project))
        )
        return bool(left)

    def _entry(self, project: str, id_: bytes, fields: Sequence[bytes]) -> Entry:
        try:
            return Entry(id_.decode(), _events(project, fields))
        except Exception:  # it must not keep back all that came after it
            log.exception("what was noted in %s cannot be read: not told", project)
            return Entry(id_.decode(), [])

    async def _trim(self, place: Place, ids: Sequence[str], taken: int) -> None:
        """Look now and then whether too much is kept of those to whom most is told."""
        self._taken[place] += taken
        if self._taken[place] >= TRIM_EVERY:
            self._taken[place] = 0
            await self._webhooks.trim(*place, ids)

    async def _writes(
        self, place: Place, webhooks: Sequence[Webhook], rows: Sequence[Row]
    ) -> list[Write]:
        """Make what has to be written for some entries."""
        entries = []
        for n, row in enumerate(rows):
            if n % AT_A_TIME == 0:
                await asyncio.sleep(0)
            entries.append(self._entry(place.project, *row))
        known = await self._know(place, webhooks, [e for entry in entries for e in entry.events])
        lines: dict[str, Line] = {}
        made: dict[str, Delivery] = {}
        ended: dict[str, None] = {}
        for n, entry in enumerate(entries):
            if n % AT_A_TIME == 0:
                await asyncio.sleep(0)
            for event in entry.events:
                for webhook in _receivers(known, event):
                    self._tell(place, known, webhook, entry.id, event, lines, made, ended)
        self.made += len(made)
        writes = [self._webhooks.delivery_write(each, ANY) for each in made.values()]
        writes += [Write(delivery.KIND, id_, ANY, None) for id_ in ended]
        for id_, after in lines.items():
            before = known.lines.get(id_)
            expect = 0 if before is None else before.version
            if after.waiting:
                writes.append(Write(line.KIND, id_, expect, after.body(), after.due_ms))
            elif before is not None:
                writes.append(Write(line.KIND, id_, expect, None))
        return writes

    def _tell(
        self,
        place: Place,
        known: Known,
        webhook: Webhook,
        entry_id: str,
        event: Event,
        lines: dict[str, Line],
        made: dict[str, Delivery],
        ended: dict[str, None],
    ) -> None:
        """Let one event into the line of one webhook."""
        wanted, hold_ms, calm = webhook.wants(event.type), webhook.hold_ms, False
        if event.type in TURNS and webhook.wants("agent.flapping"):
            turns = flap.moments(known.lives.get(event.agent, ()), event.at_ms)
            verdict = flap.judge(turns)
            if verdict == "flapping":
                told = {**event.data, "turns": flap.TURNS}
                event, wanted, hold_ms = replace(event, type="agent.flapping", data=told), True, 0
            elif verdict == "still":  # told when it has come to rest
                hold_ms, calm = flap.WINDOW_MS, True
        wanted = wanted and _matches(known, webhook, event)
        id_ = line_id(webhook.id, event)
        before = lines.get(id_)
        if before is None:
            doc = known.lines.get(id_)
            before = Line(webhook.id) if doc is None else line_of(doc.body)
        name = delivery_id(place.number, webhook.id, entry_id, event.type)
        admission = admit(before, event, name, wanted=wanted, hold_ms=hold_ms, calm=calm)
        if admission.line == before:
            return
        lines[id_] = admission.line
        for each in admission.ended:
            if made.pop(each, None) is None:
                ended[each] = None
        if admission.admitted:
            kind, text = payload_of(webhook.format, name, place.project, event)
            made[name] = Delivery(
                name,
                webhook.id,
                event.type,
                event.agent,
                kind,
                text,
                "held" if hold_ms else "pending",
                event.at_ms,
            )

    async def _know(
        self, place: Place, webhooks: Sequence[Webhook], events: Sequence[Event]
    ) -> Known:
        """Read all by which events are judged."""
        project, number = place
        named = dict.fromkeys(id_ for event in events for id_ in _bound_ids(event))
        bound = await self._webhooks.find(project, list(named)) if named else {}
        bound = {id_: each for id_, each in bound.items() if each.enabled}
        pairs = [(each, each.wanted) for each in webhooks]
        filters = {each.id: wanted for each, wanted in pairs}
        known = Known(pairs, bound, filters, {}, {}, {})
        ids = dict.fromkeys(
            line_id(webhook.id, event) for event in events for webhook in _receivers(known, event)
        )
        lines = dict(
            zip(ids, await self._ledger.read(project, line.KIND, list(ids), number), strict=True)
        )
        lives: dict[str, list[Life]] = {}
        if any(each.wants("agent.flapping") for each in webhooks):
            turning = dict.fromkeys(event.agent for event in events if event.type in TURNS)
            lives = await self._lives(place, list(turning))
        matching = {}
        if not all(wanted.everything for wanted in filters.values()):
            asked = dict.fromkeys(e.agent for e in events if e.agent and e.presence is None)
            readings = await self._store.readings(project, list(asked))
            matching = {agent: r.presence for agent, r in zip(asked, readings, strict=True)}
        return known._replace(lines=lines, lives=lives, matching=matching)

    async def _lives(self, place: Place, agents: Sequence[str]) -> dict[str, list[Life]]:
        asked = [
            self._link.ask("LRANGE", keys.lives(*place, agent), -LIVES, -1) for agent in agents
        ]
        rows: Iterable[list[bytes]] = await asyncio.gather(*asked)
        return {
            agent: [Life(*map(int, each.split())) for each in found]
            for agent, found in zip(agents, rows, strict=True)
        }


def _receivers(known: Known, event: Event) -> list[Webhook]:
    """Name the webhooks to which an event may mean something."""
    receivers = [webhook for webhook, _ in known.webhooks if _concerns(webhook, event)]
    return receivers + [known.bound[id_] for id_ in _bound_ids(event) if id_ in known.bound]


def _bound_ids(event: Event) -> list[str]:
    """Name the webhooks that may be bound to what an event is about."""
    if event.rank is not None:  # a change of an agent, of which these are not told
        return []
    jobs = [] if event.job is None else [bound_id(event.job)]
    return jobs + ([own_id(event.agent)] if event.agent else [])


def _concerns(webhook: Webhook, event: Event) -> bool:
    if webhook.wants(event.type):
        return True
    if event.type in TURNS and webhook.wants("agent.flapping"):
        return True
    return webhook.hold_ms > 0  # it may be the end of something


def _matches(known: Known, webhook: Webhook, event: Event) -> bool:
    """Tell whether a webhook means the agent of an event."""
    wanted = known.filters.get(webhook.id)
    if wanted is None or wanted.everything:
        return True
    presence = event.presence or known.matching.get(event.agent)
    if presence is not None:
        return wanted.matches(presence)
    only_ids = replace(wanted, ids=()).everything
    return only_ids and any(covers(pattern, event.agent) for pattern in wanted.ids)


def _events(project: str, fields: Sequence[bytes]) -> list[Event]:
    """Read what was noted."""
    named = dict(zip(fields[::2], fields[1::2], strict=True))
    type_, agent, data = named[b"type"].decode(), named[b"agent"].decode(), named[b"data"]
    if type_:
        return [noted(type_, agent, int(named[b"at"]), msgpack.unpackb(data))]
    unpacker = msgpack.Unpacker()
    unpacker.feed(data[:64])
    epoch: str = unpacker.unpack()
    return events_of(project, epoch, data[unpacker.tell() :])
