"""Hands out documents when they are due.

Each hub looks after its share of the partitions, and after those of others where something has
been due for too long: their hub may be gone. Two hubs may so be handed the same document; whoever
handles it commits by the version that was read, and who comes second has done nothing. A handler
that has to wait for something notes first that it took the document, and goes on in a task of its
own: nothing else is handed out meanwhile.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, NamedTuple

from lifesigns.core.errors import NotFound, Unavailable
from lifesigns.store import keys, script
from lifesigns.store.clock import StoreClock
from lifesigns.store.ledger import Doc, Ledger, unpack_due
from lifesigns.store.link import Link, ReplyError
from lifesigns.store.store import Store
from lifesigns.workers.ticker import Ticker

log = logging.getLogger(__name__)

LOOK_S = 0.5  # what another hub has written may be due before this one has heard of it
LEAST_S = 0.01  # between two looks
PAGE = 128  # documents of a partition at a time
STEPS_IN_MS = 500  # when others take what a hub has left undone
RESTS_S = 2.0  # a kind whose handler has failed
NEVER = float("inf")


class Place(NamedTuple):
    """Where documents lie; the number is their home."""

    project: str
    number: int


Handler = Callable[[Place, Sequence[Doc], int], Awaitable[None]]


class Agenda:
    """Looks while the hub runs."""

    def __init__(
        self, link: Link, store: Store, ledger: Ledger, clock: StoreClock, ticker: Ticker
    ) -> None:
        self._link = link
        self._store = store
        self._clock = clock
        self._ticker = ticker
        self._handlers: dict[str, Handler] = {}
        self._rests: dict[str, float] = {}
        self._loop = asyncio.get_running_loop()
        self._wake = asyncio.Event()
        self._due_ms = NEVER  # the next one, as far as this hub knows
        self.handed = 0
        ledger.on_due = self.foresee

    def on(self, kind: str, handler: Handler) -> None:
        """Have documents of a kind handled: all that are due at a place, with the store's time.

        It is called again as long as they are due.
        """
        self._handlers[kind] = handler

    def foresee(self, due_ms: int) -> None:
        """Something will be due."""
        if due_ms < self._due_ms:
            self._due_ms = due_ms
            self._wake.set()

    async def run(self) -> None:
        """Look for ever."""
        while True:
            self._wake.clear()
            left_s = (self._due_ms - self._clock.at_ms(self._loop.time())) / 1000
            try:
                async with asyncio.timeout(min(LOOK_S, max(LEAST_S, left_s))):
                    await self._wake.wait()
                continue  # something is due earlier than was thought
            except TimeoutError:
                pass
            try:
                await self.look()
            except Unavailable as away:
                log.debug("no look at the agenda: %s", away)
            except ReplyError as refused:
                log.warning("the store refuses to tell the agenda: %s", refused)

    async def look(self) -> None:
        """Hand out what is due, and learn of what comes next."""
        self._due_ms = NEVER
        replies = await self._link.ask_scripts(
            script.AGENDA,
            [
                ((keys.agenda(number),), (b"", PAGE, keys.all_documents(number)))
                for number in range(keys.PARTITIONS)
            ],
        )
        mine = self._mine(replies[0][0])
        await asyncio.gather(*[self._heed(n, n in mine, *reply) for n, reply in enumerate(replies)])

    async def _heed(self, number: int, mine: bool, now_ms: int, next_ms: int, *flat: Any) -> None:
        if next_ms:
            self.foresee(next_ms)
        due: dict[tuple[str, str], list[Doc]] = {}
        for member, due_ms, row in zip(flat[::3], flat[1::3], flat[2::3], strict=True):
            if row is None:  # nothing stands behind it
                self._link.call(("ZREM", keys.agenda(number), member), lambda _: None)
                continue
            kind, project, doc = unpack_due(member, row)
            if mine or now_ms >= due_ms + STEPS_IN_MS:
                due.setdefault((kind, project), []).append(doc)
            else:
                self.foresee(due_ms + STEPS_IN_MS)
        for (kind, project), docs in due.items():
            await self._hand_out(kind, Place(project, number), docs, now_ms)

    async def _hand_out(self, kind: str, place: Place, docs: Sequence[Doc], now_ms: int) -> None:
        handler = self._handlers.get(kind)
        if handler is None or self._rests.get(kind, 0.0) > self._loop.time():
            return
        try:
            await self._store.know(place.project)
            await handler(place, docs, now_ms)
            self.handed += len(docs)
        except NotFound as gone:
            log.info("%d due documents of the kind %s are of no use: %s", len(docs), kind, gone)
        except Unavailable as away:
            log.debug("documents of the kind %s stay due: %s", kind, away)
        except Exception:
            log.exception("documents of the kind %s could not be handled", kind)
            self._rests[kind] = self._loop.time() + RESTS_S

    def _mine(self, now_ms: int) -> range:
        """Tell which partitions are this hub's to look after."""
        alive = [node.id for node in self._ticker.nodes if node.alive(now_ms)]
        if self._ticker.node not in alive:
            return range(0)
        return range(alive.index(self._ticker.node), keys.PARTITIONS, len(alive))
