"""Brings messages to their receivers: the first try in the order of its line, the others when due.

Before it sends anything it notes that it is at it, for longer than sending can take; so each try
is made by one hub, and what a hub had in hand when it ended is tried by another. Of each receiver's
messages a few are on their way at a time, and the others wait here, so that a slow receiver keeps
nobody else waiting.
"""

from __future__ import annotations

import asyncio
import logging
import random
import secrets
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import NamedTuple

from lifesigns.core import delivery, line
from lifesigns.core.circuit import Circuit, failed, probing
from lifesigns.core.delivery import (
    ANSWER_KEPT,
    ENDED,
    GONE,
    Delivery,
    State,
    Try,
    abandoned,
    delivery_id,
    delivery_of,
    hint_of,
    tried,
)
from lifesigns.core.destination import Allowance
from lifesigns.core.errors import LifesignsError, NotFound
from lifesigns.core.event import noted
from lifesigns.core.line import Line, line_of
from lifesigns.core.payload import payload_of
from lifesigns.core.signature import signed, signed_as_moltjobs
from lifesigns.core.webhook import MOLTJOBS, TEST_EVENT, Webhook, disable
from lifesigns.store.clock import StoreClock
from lifesigns.store.ledger import ANY, Doc, Ledger, Step, Write
from lifesigns.store.store import Store
from lifesigns.store.webhook import Webhooks
from lifesigns.workers.agenda import Agenda, Place
from lifesigns.workers.outbox import Outbox
from lifesigns.workers.sender import Sender, SendError

log = logging.getLogger(__name__)

AT_ONCE = 16  # messages on their way to one receiver, from one hub
IN_ALL = 256  # to all receivers: each is an open file
SENT_MS = 20_000  # what is on its way is taken for longer than sending may take,
LEAST_MS = 17_000  # and with less left, it is taken again before it is sent
WAITS_MS = 5_000  # what waits here is taken anew as long as it does: a hub may die over it
WAITING = 1_000  # messages to one receiver that wait here; more are put off for as long
SETTLE_S = 1.0  # how long a hub that goes waits for answers


Taking = Callable[[int], Write]  # makes what notes that this hub is at it until then


class Errand(NamedTuple):
    """Something to be brought: a line's next message, or one that failed before."""

    place: Place
    kind: str
    id: str


class Post:
    """What is to be brought to one receiver."""

    def __init__(self) -> None:
        self.going: dict[Errand, asyncio.Task[None]] = {}
        self.waiting: deque[Errand] = deque()
        self.known: set[Errand] = set()
        self.again: set[Errand] = set()  # of those that are going


NOBODY = Post()


class Courier:
    """Delivers while the hub runs."""

    def __init__(
        self,
        store: Store,
        ledger: Ledger,
        webhooks: Webhooks,
        outbox: Outbox,
        sender: Sender,
        clock: StoreClock,
        agenda: Agenda,
    ) -> None:
        self._store = store
        self._ledger = ledger
        self._webhooks = webhooks
        self._outbox = outbox
        self._sender = sender
        self._clock = clock
        self._loop = asyncio.get_running_loop()
        self._posts: dict[tuple[str, str], Post] = {}
        self._all = asyncio.Semaphore(IN_ALL)
        self._me = secrets.token_hex(8)  # by which it knows again what it has taken
        self._chance = random.Random()  # of its own: others draw from the common one in an order
        self._leaving = False
        self.delivered = 0
        self.failures = 0
        agenda.on(line.KIND, self.lines)
        agenda.on(delivery.KIND, self.deliveries)

    @property
    def in_hand(self) -> int:
        """Count what is on its way, or waits here for that."""
        return sum(len(post.known) for post in self._posts.values())

    # What the agenda hands out.

    async def lines(self, place: Place, docs: Sequence[Doc], now_ms: int) -> None:
        """Take lines whose next message is to be tried."""
        self._clock.heard(now_ms, self._loop.time())  # what is due is due by the clock here, too
        lines = [(doc, line_of(doc.body)) for doc in docs]
        if any(each.next.due_ms > each.next.at_ms for _, each in lines):
            await self._outbox.take(place)  # what is held may be over, and not known to be yet
        await self._take(
            place,
            [
                (Errand(place, line.KIND, doc.id), each.webhook, self._line_taken(doc, each))
                for doc, each in lines
            ],
            now_ms,
        )

    async def deliveries(self, place: Place, docs: Sequence[Doc], now_ms: int) -> None:
        """Take messages to be tried again, and drop those of long ago."""
        self._clock.heard(now_ms, self._loop.time())
        old, due = [], []
        for doc in docs:
            each = delivery_of(doc.id, doc.body)
            if each.state in ENDED or each.next_ms is None:
                old.append(Step([Write(delivery.KIND, doc.id, doc.version, None)]))
            else:
                due.append((doc, each))
        if old:
            await self._ledger.commit_each(place.project, old, place.number)
        await self._take(
            place,
            [
                (
                    Errand(place, delivery.KIND, doc.id),
                    each.webhook,
                    self._delivery_taken(doc, each),
                )
                for doc, each in due
            ],
            now_ms,
        )

    async def _take(
        self,
        place: Place,
        due: Sequence[tuple[Errand, str, Taking]],
        now_ms: int,
    ) -> None:
        """Note that this hub is at some errands, and go."""
        if self._leaving or not due:
            return
        steps, room = [], dict[str, int]()
        for errand, webhook, taken in due:
            post = self._posts.get((place.project, webhook), NOBODY)
            left = room.get(webhook, AT_ONCE - len(post.going) - len(post.waiting))
            sets_out = left > 0 and errand not in post.known
            room[webhook] = left - sets_out
            steps.append(Step([taken(now_ms + (SENT_MS if sets_out else WAITS_MS))]))
        done = await self._ledger.commit_each(place.project, steps, place.number)
        for (errand, webhook, _), versions in zip(due, done, strict=True):
            post = self._posts.setdefault((place.project, webhook), Post())
            if versions is not None and errand in post.going:
                post.again.add(errand)  # there is more to do than it knew when it set out
            if versions is None or errand in post.known or len(post.waiting) >= WAITING:
                continue
            post.known.add(errand)
            post.waiting.append(errand)
        for webhook in {webhook for _, webhook, _ in due}:
            self._go((place.project, webhook))

    def _go(self, receiver: tuple[str, str]) -> None:
        """Set out with what waits, as far as that is good for the receiver."""
        post = self._posts[receiver]
        while post.waiting and len(post.going) < AT_ONCE and not self._leaving:
            errand = post.waiting.popleft()
            task = asyncio.create_task(self._run(errand), name=f"courier {errand.id}")
            post.going[errand] = task
            task.add_done_callback(lambda _, errand=errand: self._back(receiver, errand))  # type: ignore[misc]
        if not post.known:
            del self._posts[receiver]

    def _back(self, receiver: tuple[str, str], errand: Errand) -> None:
        post = self._posts[receiver]
        task = post.going.pop(errand)
        if errand in post.again:
            post.again.discard(errand)
            post.waiting.append(errand)
        elif not task.cancelled():
            post.known.discard(errand)
        self._go(receiver)

    async def _run(self, errand: Errand) -> None:
        try:
            async with self._all:
                if errand.kind == line.KIND:
                    await self._bring_line(errand)
                else:
                    await self._bring_again(errand)
        except LifesignsError as away:  # it stays taken for a while, and is then tried again
            log.info("a message stays undelivered for now: %s", away)
        except Exception:
            log.exception("a message could not be delivered")

    # One errand.

    async def _bring_line(self, errand: Errand) -> None:
        """Try the messages of a line, one after the other, as long as they are due."""
        place = errand.place
        while not self._leaving:
            doc = await self._ledger.get(place.project, line.KIND, errand.id, place.number)
            if doc is None:
                return
            queue, now_ms = line_of(doc.body), self._now_ms()
            if queue.next.due_ms > now_ms:
                return  # what was due is over
            if queue.taken_by != self._me and queue.taken_ms > now_ms:
                return  # another hub is at it
            if queue.taken_ms < now_ms + LEAST_MS:
                taken = self._line_taken(doc, queue)(now_ms + SENT_MS)
                if (await self._commit(place, taken)) is None:
                    return  # another hub was quicker
            item = queue.next
            first = await self._ledger.get(
                place.project, delivery.KIND, item.delivery, place.number
            )
            after = None
            if first is not None:
                after = await self._try(place.project, delivery_of(first.id, first.body))
            if not await self._move_on(errand, item.delivery, after):
                return

    async def _move_on(self, errand: Errand, name: str, after: Delivery | None) -> bool:
        """Note what came of a line's first message; answer whether the next one is due."""
        place, more = errand.place, False

        def step(doc: Doc | None) -> Step:
            nonlocal more
            more = False
            writes = [] if after is None else [self._webhooks.delivery_write(after, ANY)]
            if doc is None:
                return Step(writes)
            queue = line_of(doc.body)
            left = tuple(each for each in queue.waiting if each.delivery != name)
            if left:
                rest, now_ms = Line(queue.webhook, left), self._now_ms()
                more = rest.due_ms <= now_ms
                if more:
                    rest = replace(rest, taken_ms=now_ms + SENT_MS, taken_by=self._me)
                writes.append(Write(line.KIND, doc.id, doc.version, rest.body(), rest.due_ms))
            else:
                writes.append(Write(line.KIND, doc.id, doc.version, None))
            return Step(writes)

        await self._ledger.change(place.project, line.KIND, errand.id, step, place.number)
        return more

    async def _bring_again(self, errand: Errand) -> None:
        """Try a message that has failed before."""
        place = errand.place
        doc = await self._ledger.get(place.project, delivery.KIND, errand.id, place.number)
        if doc is None:
            return
        before, now_ms = delivery_of(doc.id, doc.body), self._now_ms()
        if before.state in ENDED or before.next_ms is None or before.next_ms > now_ms:
            return
        if before.taken_by != self._me and before.taken_ms > now_ms:
            return  # it has waited here for longer than it was taken for
        versions = await self._commit(place, self._delivery_taken(doc, before)(now_ms + SENT_MS))
        if versions is not None:
            after = await self._try(place.project, before)
            await self._commit(place, self._webhooks.delivery_write(after, versions[0]))

    async def _commit(self, place: Place, write: Write) -> list[int] | None:
        done = await self._ledger.commit_each(place.project, [Step([write])], place.number)
        return done[0]

    async def _try(self, project: str, before: Delivery) -> Delivery:
        """Send a message, if its receiver is to be spoken to; answer what became of it."""
        now_ms = self._now_ms()
        webhook = (await self._webhooks.find(project, [before.webhook])).get(before.webhook)
        if webhook is None or not webhook.enabled:
            what = "gone" if webhook is None else "disabled"
            return abandoned(before, now_ms, f"the webhook is {what}")
        if not await self._admitted(project, webhook.id, now_ms):
            attempt = Try(now_ms, 0, None, "circuit_open", "")
        else:
            attempt = await self.send(webhook, before)
            await self._learn(project, webhook, attempt)
        after = tried(before, attempt, self._chance.random())
        self.delivered += attempt.ok
        self.failures += not attempt.ok
        return after

    async def _admitted(self, project: str, id_: str, now_ms: int) -> bool:
        """Tell whether a receiver may be spoken to; one that seems dead by one message alone."""
        state = (await self._webhooks.circuits(project, [id_]))[id_]
        if state.opened == 0 or not state.admits(now_ms):
            return state.admits(now_ms)

        def judge(circuit: Circuit) -> Circuit | None:
            return probing(circuit, now_ms) if circuit.admits(now_ms) else None

        return await self._webhooks.judge_circuit(project, id_, judge)

    async def send(self, webhook: Webhook, message: Delivery) -> Try:
        """Send a message now, whatever is known of its receiver; answer what came of it."""
        now_ms, began = self._now_ms(), self._loop.time()
        at_s, body = int(time.time()), message.payload.encode()
        known = webhook.secrets(now_ms)
        headers = {
            "Content-Type": message.content_type,
            **signed(known, message.id, at_s, body),
        }
        if webhook.dialect == MOLTJOBS or message.type.startswith("job."):
            headers |= signed_as_moltjobs(known, message.id, message.type, at_s, body)
        status, error, text, hint_s = None, None, "", None
        try:
            answer = await self._sender.post(webhook.url, body, headers)
            status, hint_s = answer.status, hint_of(answer.headers, now_ms)
            text = answer.body.decode("utf-8", "replace")[:ANSWER_KEPT]
            if 300 <= status < 400:
                error = "redirects are not followed"
        except (SendError, LifesignsError) as failure:
            error = f"{failure.code}: {failure}"
        took_ms = round((self._loop.time() - began) * 1000)
        return Try(now_ms, took_ms, status, error, text, hint_s)

    async def test(self, project: str, webhook: Webhook) -> Delivery:
        """Send a message of no event, now and once; answer what became of it."""
        now_ms, lane = self._now_ms(), self._store.lane(project, "")
        id_ = delivery_id(lane.number, webhook.id, secrets.token_hex(16))
        event = noted(TEST_EVENT, "", now_ms, {"webhook": webhook.id})
        kind, text = payload_of(webhook.format, id_, project, event)
        made = Delivery(id_, webhook.id, event.type, "", kind, text, "pending", now_ms)
        attempt = await self.send(webhook, made)
        await self._learn(project, webhook, attempt)
        state: State = "delivered" if attempt.ok else "failed"
        made = replace(made, state=state, tries=(attempt,))
        write = self._webhooks.delivery_write(made, ANY)
        await self._ledger.commit(project, [write], home=lane.number)
        return made

    @property
    def allowance(self) -> Allowance:
        """Tell which addresses are spoken to."""
        return self._sender.allowance

    async def _learn(self, project: str, webhook: Webhook, attempt: Try) -> None:
        """Note how a receiver does."""
        if attempt.status == GONE:
            log.info("the receiver of webhook %s is gone: it is disabled", webhook.id)
            await self._change_if_there(project, webhook.id)
        error = attempt.error or f"HTTP {attempt.status}"
        now_ms = self._now_ms()

        def judge(circuit: Circuit) -> Circuit:
            return Circuit() if attempt.ok else failed(circuit, now_ms, error)

        try:
            await self._webhooks.judge_circuit(project, webhook.id, judge)
        except LifesignsError as busy:  # it is not so important that it would cost the message
            log.debug("how the receiver of %s does was not noted: %s", webhook.id, busy)

    async def _change_if_there(self, project: str, id_: str) -> None:
        now_ms = self._now_ms()
        try:
            await self._webhooks.change(
                project, id_, lambda webhook: disable(webhook, "its receiver answered 410", now_ms)
            )
        except NotFound:
            log.debug("webhook %s was deleted meanwhile", id_)

    def _now_ms(self) -> int:
        return self._clock.at_ms(self._loop.time())

    # Going.

    async def settle(self) -> None:
        """Wait a moment for answers, and give up what is left, so that others need not wait."""
        self._leaving = True
        going = [task for post in self._posts.values() for task in post.going.values()]
        if going:
            _, late = await asyncio.wait(going, timeout=SETTLE_S)
            for task in late:
                task.cancel()
            if late:
                await asyncio.wait(late)
        left = [each for post in self._posts.values() for each in post.known]
        await asyncio.gather(*[self._give_up(errand) for errand in left])

    async def _give_up(self, errand: Errand) -> None:
        place = errand.place
        try:
            doc = await self._ledger.get(place.project, errand.kind, errand.id, place.number)
            if doc is not None:
                await self._commit(place, self._taken(doc, errand.kind)(0))
        except LifesignsError as away:
            log.debug("a message stays taken for a while: %s", away)

    # Taking.

    def _taken(self, doc: Doc, kind: str) -> Taking:
        if kind == line.KIND:
            return self._line_taken(doc, line_of(doc.body))
        return self._delivery_taken(doc, delivery_of(doc.id, doc.body))

    def _line_taken(self, doc: Doc, queue: Line) -> Taking:
        def taken(until_ms: int) -> Write:
            after = replace(queue, taken_ms=until_ms, taken_by=self._me)
            return Write(line.KIND, doc.id, doc.version, after.body(), after.due_ms)

        return taken

    def _delivery_taken(self, doc: Doc, each: Delivery) -> Taking:
        def taken(until_ms: int) -> Write:
            after = replace(each, taken_ms=until_ms, taken_by=self._me)
            due_ms = max(until_ms, each.next_ms or 0)
            return Write(delivery.KIND, doc.id, doc.version, after.body(), due_ms, after.indexes())

        return taken
