"""Takes notices of runs to where their schedules want them: what people are to be told.

A notice is a document that is written with the report that has it, so that none is lost. It is
posted until it was taken, at longer and longer intervals, and given up after the last.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from typing import Any

from lifesigns.core.codec import JSON
from lifesigns.core.errors import BadValue, LifesignsError
from lifesigns.core.instant import to_text
from lifesigns.core.schedule import NOTIFY
from lifesigns.core.signature import signed
from lifesigns.store.clock import StoreClock
from lifesigns.store.ledger import ANY, Doc, Ledger, Step, Write
from lifesigns.store.link import ReplyError
from lifesigns.store.schedule import NOTICE
from lifesigns.workers.agenda import Place
from lifesigns.workers.sender import TIMEOUT_S, Sender, SendError

log = logging.getLogger(__name__)

AGAIN_MS = (5_000, 30_000, 120_000, 600_000)
AT_IT_MS = round(TIMEOUT_S * 1000) + 5_000  # then another hub takes over


class Notifier:
    """Posts the notices of all projects."""

    def __init__(self, ledger: Ledger, sender: Sender, clock: StoreClock) -> None:
        self._ledger = ledger
        self._sender = sender
        self._clock = clock
        self._loop = asyncio.get_running_loop()
        self._tasks: set[asyncio.Task[None]] = set()

    async def due(self, place: Place, docs: Sequence[Doc], now_ms: int) -> None:
        """Take what is to be posted, and post it apart."""
        taken = [{**doc.body, "tries": doc.body["tries"] + 1} for doc in docs]
        steps = [
            Step([Write(NOTICE, doc.id, doc.version, body, now_ms + AT_IT_MS)])
            for doc, body in zip(docs, taken, strict=True)
        ]
        done = await self._ledger.commit_each(place.project, steps, place.number)
        for doc, body, versions in zip(docs, taken, done, strict=True):
            if versions is not None:
                task = self._loop.create_task(self._post(place, doc.id, versions[0], body))
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)

    async def _post(self, place: Place, id_: str, version: int, body: dict[str, Any]) -> None:
        now_ms = self._clock.at_ms(self._loop.time())
        told = {
            "id": f"notice_{id_}",
            "type": NOTIFY,
            "timestamp": to_text(body["at_ms"]),
            "project": place.project,
            "data": body["data"],
        }
        payload = JSON.encode(told)
        headers = {"Content-Type": "application/json"}
        if body["secret"] is not None:
            headers |= signed([body["secret"]], told["id"], now_ms // 1000, payload)
        try:
            answer = await self._sender.post(body["url"], payload, headers)
            why = None if answer.ok else f"it answered {answer.status}"
        except (SendError, BadValue) as error:
            why = str(error)
        except Exception:
            log.exception("a notice could not be posted")
            return  # it is due again
        write = Write(NOTICE, id_, ANY, None)
        if why is not None and body["tries"] <= len(AGAIN_MS):
            wait_ms = AGAIN_MS[body["tries"] - 1]
            write = Write(NOTICE, id_, version, body, now_ms + wait_ms)
        elif why is not None:
            log.warning("a notice of the run %s was given up: %s", body["data"]["run"], why)
        try:
            await self._ledger.commit_each(place.project, [Step([write])], place.number)
        except (LifesignsError, ReplyError) as error:  # it is posted once more
            log.info("what became of a notice could not be noted: %s", error)
