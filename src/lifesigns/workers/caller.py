"""Hands a run to an agent that has no socket, by the webhook of its schedule.

A call is tried three times. An answer with a status is the report; any other good one says that the
report comes later. The hub that takes a call notes until when it is at it, so that another takes
over if it dies.
"""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

from lifesigns.core import run as runs
from lifesigns.core.codec import JSON
from lifesigns.core.errors import BadValue, LifesignsError
from lifesigns.core.model import Limits
from lifesigns.core.run import Report, Run
from lifesigns.core.signature import signed
from lifesigns.workers.sender import TIMEOUT_S, Sender, SendError

AGAIN_MS = (5_000, 25_000)  # after the first try, and after the second: at 0, 5 and 30 s
AT_IT_MS = round(TIMEOUT_S * 1000) + 5_000
LATER = 202


class Outcome(NamedTuple):
    """What came of a call: a report, or why there will be none, or when to look again."""

    report: Report | None = None
    failed: str | None = None
    look_ms: int | None = None


class Caller:
    """Calls agents."""

    def __init__(self, sender: Sender, limits: Limits) -> None:
        self._sender = sender
        self._limits = limits

    def taken(self, run: Run, now_ms: int) -> Run:
        """Note that a call is under way."""
        return replace(run, tries=run.tries + 1, look_ms=now_ms + AT_IT_MS)

    async def call(self, project: str, run: Run, secret: str | None, now_ms: int) -> Outcome:
        """Make a call that was taken."""
        assert run.webhook_url is not None, "it goes this way because it has one"
        body = JSON.encode({**runs.frame(run), "project": project})
        headers = {"Content-Type": "application/json"}
        if secret is not None:
            headers |= signed([secret], f"run_{run.token}", now_ms // 1000, body)
        try:
            answer = await self._sender.post(run.webhook_url, body, headers)
        except (SendError, BadValue) as error:
            return self._failed(run, str(error), now_ms)
        if not answer.ok:
            return self._failed(run, f"it answered {answer.status}", now_ms)
        if answer.status == LATER or not answer.body:
            return Outcome()
        return self._read(answer.body)

    def _read(self, body: bytes) -> Outcome:
        try:
            said = JSON.decode(body)
            return Outcome(runs.read_report(said, self._limits) if "status" in said else None)
        except LifesignsError as error:
            return Outcome(failed=f"webhook: its report is none: {error.message}")

    def _failed(self, run: Run, why: str, now_ms: int) -> Outcome:
        if run.tries > len(AGAIN_MS):
            return Outcome(failed=f"webhook: {why}")
        return Outcome(look_ms=now_ms + AGAIN_MS[run.tries - 1])
