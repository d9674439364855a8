"""The webhooks of a project, what became of their messages, and what has to be noted for them.

Webhooks lie at their project's one place, deliveries where what they tell has happened. What is
noted of agents at all is said in every lane of the project, and said anew whenever a webhook
changes, until what was said is what is so: a change of two at once ends well whoever is last.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import product

from lifesigns.core import circuit, delivery, webhook
from lifesigns.core.circuit import Circuit, circuit_of
from lifesigns.core.delivery import ENDED, Delivery, delivery_of, home_of
from lifesigns.core.errors import Conflict, NotFound, Unavailable
from lifesigns.core.signature import SECRET_BYTES, make_secret
from lifesigns.core.webhook import BOUND, LISTED, MOST, Webhook, is_bound, notes, webhook_of
from lifesigns.store import keys
from lifesigns.store.ledger import ANY, HOOKS, OUTBOX, Doc, Ledger, Page, Step, Write
from lifesigns.store.link import Link
from lifesigns.store.store import Store

log = logging.getLogger(__name__)

ROUNDS = 8
TRIMMED = ("delivered", "failed", "retrying")
DROPPED_AT_ONCE = 100


class Webhooks:
    """The webhooks of all projects. Whatever asks raises ``Unavailable`` without the store."""

    def __init__(
        self, ledger: Ledger, link: Link, store: Store, *, kept_ms: int, kept: int
    ) -> None:
        self._ledger = ledger
        self._link = link
        self._store = store
        self.kept_ms = kept_ms  # how long deliveries are,
        self._kept = kept  # and of one webhook how many in each state

    async def all(self, project: str) -> list[Webhook]:
        """List a project's own, the oldest first; not those that are bound."""
        page = await self._ledger.page(project, webhook.KIND, LISTED, limit=MOST, newest=False)
        return [webhook_of(doc.id, doc.body) for doc in page.docs]

    async def find(self, project: str, ids: Sequence[str]) -> Mapping[str, Webhook]:
        """Read some, those that are bound too; those that are not there are left out."""
        docs = await self._ledger.read(project, webhook.KIND, ids)
        return {doc.id: webhook_of(doc.id, doc.body) for doc in docs if doc is not None}

    async def get(self, project: str, id_: str) -> Webhook:
        """Read one."""
        found = await self.find(project, [id_])
        if id_ not in found:
            raise _missing("webhook", id_)
        return found[id_]

    async def create(self, project: str, made: Webhook) -> None:
        """Keep a new one."""
        if not is_bound(made.id) and len(await self.all(project)) >= MOST:
            raise Conflict(f"A project has at most {MOST} webhooks.")
        await self.open(project)
        await self._ledger.commit(project, [_write(made, 0)])
        await self._note(project)

    async def change(self, project: str, id_: str, judge: Callable[[Webhook], Webhook]) -> Webhook:
        """Change one, by what ``judge`` makes of it as it is."""
        changed: list[Webhook] = []

        def step(doc: Doc | None) -> Step:
            if doc is None:
                raise _missing("webhook", id_)
            changed.append(judge(webhook_of(id_, doc.body)))
            return Step([_write(changed[-1], doc.version)])

        await self._ledger.change(project, webhook.KIND, id_, step)
        await self._note(project)
        return changed[-1]

    async def drop(self, project: str, id_: str) -> None:
        """End one, and all that was on its way to it."""
        await self.get(project, id_)
        drops = [Write(webhook.KIND, id_, ANY, None), Write(circuit.KIND, id_, ANY, None)]
        await self._ledger.commit(project, drops)
        await self._note(project)
        for lane in self._store.lanes(project):
            while docs := (await self._page(project, id_, lane.number, DROPPED_AT_ONCE)).docs:
                steps = [Step([Write(delivery.KIND, doc.id, ANY, None)]) for doc in docs]
                await self._ledger.commit_each(project, steps, lane.number)

    async def open(self, project: str) -> None:
        """Have what happens in a project noted, before anybody is told of it.

        Who binds a webhook to a job calls this before the job is written.
        """
        lanes = self._store.lanes(project)
        first = Step([Write(OUTBOX, "", 0, {"taken": "0-0"})])  # None if it is there already
        for lane in lanes:
            await self._ledger.commit_each(project, [first], lane.number)
        await asyncio.gather(
            *[self._link.ask("HSETNX", lane.keys[0], HOOKS, notes([])) for lane in lanes]
        )

    async def _note(self, project: str) -> None:
        """Say in all lanes what is to be noted."""
        said = ""
        for _ in range(ROUNDS):
            wanted = notes(await self.all(project))
            if wanted == said:
                return
            said = wanted
            await asyncio.gather(
                *[
                    self._link.ask("HSET", lane.keys[0], HOOKS, said)
                    for lane in self._store.lanes(project)
                ]
            )
        raise Unavailable("Too many change the webhooks at once.")

    # Their circuits.

    async def circuits(self, project: str, ids: Sequence[str]) -> dict[str, Circuit]:
        """Read how receivers do."""
        docs = await self._ledger.read(project, circuit.KIND, ids)
        return {
            id_: circuit_of(doc.body if doc else None) for id_, doc in zip(ids, docs, strict=True)
        }

    async def judge_circuit(
        self, project: str, id_: str, judge: Callable[[Circuit], Circuit | None]
    ) -> bool:
        """Note how a receiver does; answer whether there was anything to note."""

        def step(doc: Doc | None) -> Step:
            after = judge(circuit_of(doc.body if doc else None))
            if after is None or (doc is None and after == Circuit()):
                return Step()
            body = None if after == Circuit() else after.body()
            return Step([Write(circuit.KIND, id_, doc.version if doc else 0, body)])

        return bool((await self._ledger.change(project, circuit.KIND, id_, step)).writes)

    # Their deliveries.

    async def deliveries(
        self, project: str, id_: str, state: str | None, limit: int
    ) -> tuple[list[Delivery], int]:
        """List what was sent, the newest first; and tell how many there are."""
        index = id_ if state is None else f"{id_}/{state}"
        page = await self._ledger.everywhere(project, delivery.KIND, index, limit=limit)
        return [delivery_of(doc.id, doc.body) for doc in page.docs], page.total

    async def delivery(self, project: str, webhook_id: str, id_: str) -> Delivery:
        """Read one."""
        home = home_of(id_)
        if home is not None and home < keys.PARTITIONS:
            doc = await self._ledger.get(project, delivery.KIND, id_, home)
            if doc is not None and doc.body["webhook"] == webhook_id:
                return delivery_of(id_, doc.body)
        raise _missing("delivery", id_)

    async def change_delivery(
        self, project: str, id_: str, judge: Callable[[Delivery], Delivery]
    ) -> Delivery:
        """Change one, by what ``judge`` makes of it as it is."""
        changed: list[Delivery] = []
        home = home_of(id_)
        assert home is not None, "it was read before"

        def step(doc: Doc | None) -> Step:
            if doc is None:
                raise _missing("delivery", id_)
            changed.append(judge(delivery_of(id_, doc.body)))
            return Step([self.delivery_write(changed[-1], doc.version)])

        await self._ledger.change(project, delivery.KIND, id_, step, home)
        return changed[-1]

    def delivery_write(self, made: Delivery, expect: int) -> Write:
        """Make what keeps a delivery."""
        return Write(
            delivery.KIND,
            made.id,
            expect,
            made.body(),
            delivery.due_ms(made, self.kept_ms),
            made.indexes(),
        )

    async def trim(self, project: str, number: int, ids: Iterable[str]) -> None:
        """Drop the oldest deliveries of webhooks in a lane that has more than its share of them."""
        most = max(1, self._kept // len(self._store.lanes(project)))
        for id_, state in product(ids, TRIMMED):
            page = await self._ledger.page(
                project,
                delivery.KIND,
                f"{id_}/{state}",
                number,
                limit=DROPPED_AT_ONCE,
                newest=False,
            )
            over = page.docs[: max(0, page.total - most)]
            if not over:
                continue
            if state not in ENDED:
                log.warning("webhook %s: too many wait for another try, %d dropped", id_, len(over))
            steps = [Step([Write(delivery.KIND, doc.id, doc.version, None)]) for doc in over]
            await self._ledger.commit_each(project, steps, number)

    async def _page(self, project: str, id_: str, number: int, limit: int) -> Page:
        return await self._ledger.page(project, delivery.KIND, id_, number, limit=limit)


def new_secret() -> str:
    """Make a secret that nobody guesses."""
    return make_secret(secrets.token_bytes(SECRET_BYTES))


def _write(made: Webhook, expect: int) -> Write:
    index = BOUND if is_bound(made.id) else LISTED
    return Write(webhook.KIND, made.id, expect, made.body(), None, {index: made.created_ms})


def _missing(what: str, id_: str) -> NotFound:
    return NotFound(f"There is no {what} {id_[:64]!r}.")
