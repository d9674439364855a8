"""Checks that ask: is it there at this very moment, over whichever hub its socket is.

Sockets of this hub are asked directly; those of another one through its inbox, all in one message,
and it answers to ours. A lost message, or a dead hub, is an agent that did not answer: nothing is
repeated, and nobody waits for longer than was agreed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any

import msgpack

from lifesigns.core.errors import Unavailable
from lifesigns.core.evidence import (
    ANSWERED,
    NO_ANSWER,
    NO_SOCKET,
    Check,
    Heard,
    hear,
    judge,
    sessions_of,
)
from lifesigns.core.request import CheckAsked
from lifesigns.store import keys
from lifesigns.store.clock import StoreClock
from lifesigns.store.ingest import Ingest
from lifesigns.store.link import Link
from lifesigns.store.reader import Reading
from lifesigns.store.store import Store

PROBE, SIGNS = "probe", "signs"  # what a hub asks of another, and what that answers
SOCKETS_AT_ONCE = 100_000  # that one hub waits for: 30 MB, and a hundred of the largest checks

Verdicts = Mapping[str, Heard | str]
Report = Callable[[list[tuple[str, int]], list[str]], None]


class Probe:
    """A hub's part in it: it asks, and it answers those who ask."""

    def __init__(self, store: Store, link: Link, clock: StoreClock, ingest: Ingest) -> None:
        self._store = store
        self._link = link
        self._clock = clock
        self._ingest = ingest
        self._loop = asyncio.get_running_loop()
        self._rounds: dict[int, _Round] = {}
        self._next = 0
        self._sockets = 0

    async def check(self, project: str, asked: CheckAsked) -> list[Check]:
        """Say of each agent whether it is alive; ask those whose evidence is too old."""
        readings = await self._store.readings(project, asked.agents)
        checks = _judged(asked, readings)
        if not asked.probe:
            return checks
        old = [c for c in checks if asked.within_ms is None or not c.fresh]
        probed = {check.id: NO_SOCKET for check in old}
        sockets = {c.id: sessions for c in old if (sessions := sessions_of(c.presence))}
        if sockets:
            verdicts = await self._ask(sockets, asked.timeout_ms / 1000)
            # What they are is read after they answered: much may have changed meanwhile.
            later = await self._store.readings(project, asked.agents)
            for i, agent in enumerate(asked.agents):
                if agent in verdicts:
                    later[i], probed[agent] = _weigh(readings[i], verdicts[agent], later[i])
            checks = _judged(asked, later)
        return [check._replace(probed=probed.get(check.id)) for check in checks]

    def asked(self, token: int, node: str, timeout_ms: int, sessions: list[str]) -> None:
        """Another hub asks sockets of this one."""
        self._call(sessions, timeout_ms / 1000, partial(self._tell, node, SIGNS, token))

    def answered(self, token: int, heard: list[Any], gone: list[str]) -> None:
        """Another hub tells of its sockets; perhaps nobody waits for that any more."""
        if token in self._rounds:
            self._rounds[token].take(heard, gone)

    async def _ask(self, sockets: Mapping[str, Sequence[str]], timeout_s: float) -> Verdicts:
        """Ask agents over all of their sockets; the first that answers counts."""
        sessions = [session for each in sockets.values() for session in each]
        if self._sockets + len(sessions) > SOCKETS_AT_ONCE:
            raise Unavailable("Too many sockets are being asked already.")
        self._next += 1
        token, asked = self._next, _Round(sockets)
        self._rounds[token] = asked
        self._sockets += len(sessions)
        try:
            self._send(token, asked, sessions, timeout_s)
            async with asyncio.timeout(timeout_s):
                await asked.over.wait()
        except TimeoutError:
            pass  # those who are still to be heard of did not answer
        finally:
            self._sockets -= len(sessions)
            del self._rounds[token]
        return asked.verdicts()

    def _send(self, token: int, asked: _Round, sessions: Iterable[str], timeout_s: float) -> None:
        nodes: dict[str, list[str]] = {}
        for session in sessions:
            nodes.setdefault(session[:2], []).append(session)
        ours = nodes.pop(self._ingest.node, None)
        for node, theirs in nodes.items():
            self._tell(node, PROBE, token, self._ingest.node, round(timeout_s * 1000), theirs)
        if ours:
            self._call(ours, timeout_s, asked.take)

    def _call(self, sessions: Sequence[str], timeout_s: float, report: Report) -> None:
        """Ask sockets of this hub; ``report`` is told what became of it, as it becomes known."""
        call = _Call(self._loop, self._clock, report)
        for session in sessions:
            lease = self._ingest.leases.get(session)
            if lease is None:
                call.gone(session)
            else:
                self._ingest.pings.call(lease, call)
        self._loop.call_later(timeout_s, self._dismiss, sessions, call)

    def _dismiss(self, sessions: Sequence[str], call: _Call) -> None:
        for session in sessions:
            self._ingest.pings.dismiss(session, call)

    def _tell(self, node: str, *message: Any) -> None:
        channel = keys.inbox(self._link.address.db, node)
        self._link.call(("PUBLISH", channel, msgpack.packb(message)), lambda _: None)


class _Call:
    """Gathers what sockets of this hub answer within one turn of the loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop, clock: StoreClock, report: Report) -> None:
        self._loop = loop
        self._clock = clock
        self._report = report
        self._heard: list[tuple[str, int]] = []
        self._gone: list[str] = []

    def heard(self, session: str, now: float) -> None:
        self._gather()
        self._heard.append((session, self._clock.at_ms(now)))

    def gone(self, session: str) -> None:
        self._gather()
        self._gone.append(session)

    def _gather(self) -> None:
        if not self._heard and not self._gone:
            self._loop.call_soon(self._flush)

    def _flush(self) -> None:
        heard, self._heard = self._heard, []
        gone, self._gone = self._gone, []
        self._report(heard, gone)


class _Round:
    """Agents that are being asked."""

    def __init__(self, sockets: Mapping[str, Sequence[str]]) -> None:
        self._open = {agent: set(sessions) for agent, sessions in sockets.items()}
        self._agents = {s: agent for agent, sessions in sockets.items() for s in sessions}
        self._verdicts: dict[str, Heard | str] = {}
        self.over = asyncio.Event()

    def take(self, heard: Iterable[Sequence[Any]], gone: Iterable[str]) -> None:
        """Learn who answered, and whose socket is not there."""
        for session, at_ms in heard:
            self._settle(self._agents.get(session, ""), Heard(session, at_ms))
        for session in gone:
            agent = self._agents.get(session, "")
            others = self._open.get(agent)
            if others is not None:
                others.discard(session)
                if not others:
                    self._settle(agent, NO_SOCKET)
        if not self._open:
            self.over.set()

    def verdicts(self) -> Verdicts:
        """Tell what is known of each agent now."""
        return dict.fromkeys(self._open, NO_ANSWER) | self._verdicts

    def _settle(self, agent: str, verdict: Heard | str) -> None:
        if self._open.pop(agent, None) is not None:
            self._verdicts[agent] = verdict


def _judged(asked: CheckAsked, readings: Iterable[Reading]) -> list[Check]:
    return [
        judge(agent, presence, now_ms=now_ms, within_ms=asked.within_ms, sketch=sketch)
        for agent, (presence, now_ms, sketch) in zip(asked.agents, readings, strict=True)
    ]


def _weigh(before: Reading, verdict: Heard | str, after: Reading) -> tuple[Reading, str]:
    """Lay what became of a ping over what was read after it."""
    presence = after.presence
    if presence is None:
        return after, NO_SOCKET
    if isinstance(verdict, Heard):
        return after._replace(presence=hear(presence, verdict, after.now_ms)), ANSWERED
    # It may have been heard all the same: over a new socket, or its answer was lost.
    came = presence.last_heartbeat_ms > before.now_ms
    return after, ANSWERED if came else verdict
