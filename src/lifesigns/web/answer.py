"""Answers on a socket, in as many frames as their size needs."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import Any

from lifesigns.core.codec import Codec
from lifesigns.core.errors import Internal, LifesignsError, RateLimited
from lifesigns.core.evidence import checked
from lifesigns.core.request import CheckAsked
from lifesigns.core.session import ServerSession
from lifesigns.web.lobby import Lobby

log = logging.getLogger(__name__)

WAITING = 100  # checks of one peer; a burst of messages is as long

ROOM_BYTES = 512  # for what stands around the entries of a frame


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
            entries = {check.id: checked(check, asked.detail) for check in found}
            send_checked(session, asked.ref, entries, self._frame_bytes)
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


def send_checked(
    session: ServerSession,
    ref: str | int | None,
    entries: Mapping[str, Any],
    limit_bytes: int,
) -> None:
    """Queue a ``checked`` in as many frames as its size needs."""
    parts = split(session.codec, entries, limit_bytes)
    for i, part in enumerate(parts):
        more = {"more": True} if i < len(parts) - 1 else {}
        session.send(reply_to("checked", ref, agents=part, **more))


def send_listed(
    session: ServerSession,
    name: str,
    ref: str | int | None,
    entries: Sequence[Mapping[str, Any]],
    limit_bytes: int,
) -> None:
    """Queue an answer that is a list of agents, in as many frames as its size needs."""
    parts = split(session.codec, {str(i): entry for i, entry in enumerate(entries)}, limit_bytes)
    for i, part in enumerate(parts):
        more = {"more": True} if i < len(parts) - 1 else {}
        session.send(reply_to(name, ref, agents=list(part.values()), **more))


def split(codec: Codec, entries: Mapping[str, Any], limit_bytes: int) -> list[Mapping[str, Any]]:
    """Halve a map until each part fits into a frame, with room for what stands around it."""
    if len(entries) <= 1 or len(codec.encode(entries)) <= limit_bytes - ROOM_BYTES:
        return [entries]
    items = list(entries.items())
    half = len(items) // 2
    return [
        *split(codec, dict(items[:half]), limit_bytes),
        *split(codec, dict(items[half:]), limit_bytes),
    ]
