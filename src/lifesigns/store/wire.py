"""One connection to a store server, from its making to its end: bytes out, replies in.

What is asked first is answered first, and that is all that ties a reply to its callback. Whatever
is sent within one turn of the loop is corked and leaves in one write. A server that owes an answer
and is silent is cut off. It must not know where the server is, what is said, or what comes next.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable
from typing import Any, cast

import hiredis

log = logging.getLogger(__name__)

Arg = bytes | str | int | float
Callback = Callable[[Any], None]

# Silence is counted in looks, not on the clock: a process that was itself stopped for a minute
# comes back to one late look, and reads what had arrived meanwhile before it takes the next.
LOOKS = 4

# Of an answer that is late for everybody who asks now: a store that is well takes milliseconds, and
# the rewrite of a large file holds it up for a tenth of this.
LATE_S = 1.0

# Its stub says a tuple of one item; it takes any number.
_pack = cast(Callable[[tuple[Arg, ...]], bytes], hiredis.pack_command)


class ReplyError(Exception):
    """An error that the server answered; the first word of its text is the ``code``."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.code = text.partition(" ")[0]


class LinkLost(Exception):
    """The connection was lost before the reply came: the command was executed, or it was not."""


class Wire(asyncio.Protocol):
    """A connection. ``on_lost`` is told once, when it has ended, why it did; before that, nobody.

    Callbacks get the reply, a ReplyError or, from ``lose``, a LinkLost. What they raise is logged
    and harms no other.
    """

    __slots__ = (
        "_answered",
        "_asked",
        "_corked",
        "_flush_is_due",
        "_gets",
        "_heard",
        "_latency_s",
        "_look_s",
        "_loop",
        "_marks",
        "_next_look",
        "_on_lost",
        "_on_push",
        "_quiet_looks",
        "_reader",
        "_transport",
        "_waiting",
        "_why",
        "ended",
    )

    def __init__(self, on_lost: Callable[[Wire, str], None]) -> None:
        self._loop = asyncio.get_running_loop()
        self._on_lost = on_lost
        self._on_push: Callable[[list[Any]], None] | None = None
        self._reader = hiredis.Reader(replyError=ReplyError)
        self._gets = self._reader.gets
        self._transport: asyncio.Transport | None = None
        self._waiting: deque[Callback] = deque()
        self._corked: list[bytes] = []
        self._flush_is_due = False
        self._asked = self._answered = 0
        self._marks: deque[tuple[int, float]] = deque()  # how much had been asked, and when
        self._latency_s = 0.0
        self._heard = False
        self._look_s = 0.0
        self._quiet_looks = 0
        self._next_look: asyncio.TimerHandle | None = None
        self._why = ""
        # Done when the connection is closed for good.
        self.ended: asyncio.Future[None] = self._loop.create_future()

    # --- out ---

    @property
    def buffered(self) -> int:
        """How many bytes the kernel has not taken yet."""
        written = self._transport.get_write_buffer_size() if self._transport else 0
        return written + sum(map(len, self._corked))

    @property
    def late(self) -> bool:
        """Whether answers take so long that it is no use to wait for one more."""
        waits_s = self._loop.time() - self._marks[0][1] if self._marks else 0.0
        return max(self._latency_s, waits_s) > LATE_S

    def send(self, args: tuple[Arg, ...], callback: Callback) -> None:
        """Queue one command; raise TypeError or ValueError for what no command can carry."""
        self._corked.append(_pack(args))
        self._waiting.append(callback)
        self._asked += 1
        self._flush_soon()

    def send_unanswered(self, args: tuple[Arg, ...]) -> None:
        """Queue a command of a feed: it is answered by pushes."""
        self._corked.append(_pack(args))
        self._flush_soon()

    def _flush_soon(self) -> None:
        if not self._flush_is_due:
            self._flush_is_due = True
            self._loop.call_soon(self.flush)

    def flush(self) -> None:
        self._flush_is_due = False
        if self._corked and self._transport and not self._transport.is_closing():
            self._transport.write(b"".join(self._corked))
            if self._on_push is None:
                self._marks.append((self._asked, self._loop.time()))
        self._corked.clear()

    # --- in ---

    def data_received(self, data: bytes) -> None:
        self._heard = True
        self._reader.feed(data)
        gets = self._gets
        while True:
            try:
                reply = gets()
            except hiredis.HiredisError:
                self.cut("what it answers is not the protocol of Redis")
                return
            # No reply is False by itself: RESP2 has no booleans.
            if reply is False:
                self._take_time()
                return
            try:
                if self._on_push is not None:
                    self._push(self._on_push, reply)
                elif self._waiting:
                    self._answered += 1
                    self._waiting.popleft()(reply)
                else:
                    self.cut("it answers what nobody asked")
            except Exception:
                log.exception("a callback failed on a reply of the store")

    def _take_time(self) -> None:
        marks = self._marks
        while marks and marks[0][0] <= self._answered:
            self._latency_s = self._loop.time() - marks.popleft()[1]

    def push_to(self, on_push: Callable[[list[Any]], None]) -> None:
        """Make it a feed: lists are what channels carry; only PINGs, our own, are answered."""
        assert not self._waiting
        self._on_push = on_push

    def _push(self, on_push: Callable[[list[Any]], None], reply: Any) -> None:
        if isinstance(reply, ReplyError):
            log.error("the store refused a command of the feed: %s", reply)
        # While it subscribes to nothing, a PING is answered with a word instead of a list.
        elif not isinstance(reply, list) or reply[:1] == [b"pong"]:
            self._waiting.clear()
        else:
            on_push(reply)

    # --- silence ---

    def watch(self, silent_s: float) -> None:
        """Cut the connection when an answer is owed and nothing came for ``silent_s``.

        It is noticed within a quarter more. An idle connection is asked for an answer by a PING.
        """
        self._look_s = silent_s / LOOKS
        self._next_look = self._loop.call_later(self._look_s, self._look)

    def _look(self) -> None:
        if self._heard:
            self._heard = False
            self._quiet_looks = 0
        elif self._waiting:
            self._quiet_looks += 1
        else:
            self.send(("PING",), _ignore)
        # One more than LOOKS: the first may have come right after the command was sent.
        if self._quiet_looks > LOOKS:
            self.cut(f"it was silent for {self._look_s * LOOKS:g} s and more")
        else:
            self._next_look = self._loop.call_later(self._look_s, self._look)

    # --- its beginning and its end ---

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def cut(self, why: str) -> None:
        """End it now; what was not written yet is dropped."""
        self._why = self._why or why
        if self._transport:
            self._transport.abort()

    async def aclose(self, within_s: float) -> None:
        """Write what is queued, as far as the server takes it within this time, and end it."""
        self.flush()
        if self._transport:
            self._transport.close()
            await asyncio.wait([self.ended], timeout=within_s)
            self._transport.abort()
            await asyncio.shield(self.ended)

    def connection_lost(self, error: Exception | None) -> None:
        if self._next_look:
            self._next_look.cancel()
        self.ended.set_result(None)
        self._on_lost(self, self._why or (str(error) if error else "it closed the connection"))

    def lose(self, lost: LinkLost) -> None:
        """Tell all that still wait for a reply that none will come."""
        while self._waiting:
            try:
                self._waiting.popleft()(lost)
            except Exception:
                log.exception("a callback failed on the loss of the store")


def _ignore(reply: Any) -> None:
    """Take a reply that only had to come."""
