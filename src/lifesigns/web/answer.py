"""Answers on a socket, in as many frames as their size needs."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import Any

from lifesigns.core.errors import Internal, LifesignsError, RateLimited
from lifesigns.core.evidence import encoded
from lifesigns.core.instant import to_text
from lifesigns.core.request import CheckAsked
from lifesigns.core.session import ServerSession
from lifesigns.hub.packet import portions
from lifesigns.web.lobby import Lobby

log = logging.getLogger(__name__)

WAITING = 100  # checks of one peer; a burst of messages is as long


class Checks:
    """The checks of one peer, answered one after the other, and only while it reads."""

    def __init__(
        self,
        lobby: Lobby,
        project: str,
        session: ServerSession,
        write: Callable[[], None],
    ) -> None:
        self._probe = lobby.probe
        self._project = project
        self._session = session
        self._write = write
        self._frame_bytes = lobby.limits.outgoing_frame_bytes
        self._asked: deque[CheckAsked] = deque()
        self._probing = 0
        self._reads = asyncio.Event()
        self._reads.set()
        self._closed = False

    def ask(self, asked: CheckAsked) -> Coroutine[Any, Any, None] | None:
        """Take a check; answer what is to be run for it. One that probes holds up no other."""
        if len(self._asked) + self._probing >= WAITING:
            raise RateLimited(f"At most {WAITING} checks may wait for their answers.")
        if asked.probe:
            self._probing += 1
            return self._run_probe(asked)
        self._asked.append(asked)
        return self._run() if len(self._asked) == 1 else None

    def pause(self) -> None:
        """The peer does not read."""
        self._reads.clear()

    def resume(self) -> None:
        """It reads again."""
        self._reads.set()

    def close(self) -> None:
        """It is gone."""
        self._closed = True
        self._reads.set()

    async def _run(self) -> None:
        while self._asked and not self._closed:
            await self._answer(self._asked[0])
            self._asked.popleft()

    async def _run_probe(self, asked: CheckAsked) -> None:
        try:
            await self._answer(asked)
        finally:
            self._probing -= 1

    async def _answer(self, asked: CheckAsked) -> None:
        await self._reads.wait()
        if self._closed:
            return
        session = self._session
        try:
            found = await self._probe.check(self._project, asked)
            codec, detail = session.codec, asked.detail
            pairs = {check.id: encoded(check, detail, codec) for check in found}
            send_checked(session, asked.ref, list(pairs.values()), self._frame_bytes)
        except LifesignsError as error:
            session.send_error(error, asked.ref)
        except Exception:
            log.exception("a check failed")
            session.send_error(Internal(), asked.ref)
        self._write()


def reply_to(name: str, ref: str | int | None, **fields: Any) -> dict[str, Any]:
    """Lay out an answer that carries back the mark of its question."""
    message = {"type": name, **fields}
    if ref is not None:
        message["ref"] = ref
    return message


def welcome(
    lobby: Lobby, session: str | None, agent: str | None, instance: str | None, ttl_ms: int | None
) -> dict[str, Any]:
    """Lay out what a peer is told first."""
    return {
        "session": session,
        "agent": agent,
        "instance": instance,
        "ttl": None if ttl_ms is None else _seconds(ttl_ms),
        "beat_every": None if ttl_ms is None else ttl_ms / 3000,
        "time": to_text(lobby.clock.at_ms(lobby.loop.time())),
        "node": lobby.node,
        "limits": lobby.shown_limits,
    }


def send_checked(
    session: ServerSession, ref: str | int | None, pairs: Sequence[bytes], limit_bytes: int
) -> None:
    """Queue a ``checked`` of encoded pairs in as many frames as its size needs."""
    _send_parts(session, reply_to("checked", ref), session.codec.with_map, pairs, limit_bytes)


def send_listed(
    session: ServerSession,
    name: str,
    ref: str | int | None,
    entries: Sequence[Mapping[str, Any]],
    limit_bytes: int,
) -> None:
    """Queue an answer that is a list of agents, in as many frames as its size needs."""
    codec = session.codec
    encoded = [codec.encode(entry) for entry in entries]
    _send_parts(session, reply_to(name, ref), codec.with_list, encoded, limit_bytes)


def _send_parts(
    session: ServerSession,
    head: Mapping[str, Any],
    join: Callable[[Mapping[str, Any], str, Sequence[bytes]], bytes],
    entries: Sequence[bytes],
    limit_bytes: int,
) -> None:
    for begin, end in portions(entries, limit_bytes):
        more = {"more": True} if end < len(entries) else {}
        session.send_encoded(join({**head, **more}, "agents", entries[begin:end]))


def _seconds(ms: int) -> int | float:
    return ms // 1000 if ms % 1000 == 0 else ms / 1000
