"""A program's connection to a hub, made again whenever it breaks.

Everything here runs on one loop, in one background task that no error ever leaves. Questions wait
for a connection, and are asked again on the next one if theirs broke before the answer.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

from lifesigns.client.signal import Closed, Signal
from lifesigns.client.target import Target, is_loopback
from lifesigns.core.backoff import delay_s
from lifesigns.core.caller import Caller, Received, reconnects
from lifesigns.core.codec import CODECS, JSON, MSGPACK
from lifesigns.core.errors import LifesignsError, RateLimited, Unavailable, error_of, error_of_close
from lifesigns.core.portrait import Portrait

if TYPE_CHECKING:
    from websockets.asyncio.client import ClientConnection

log = logging.getLogger("lifesigns.client")

OPEN_S = 10.0  # for a connection, its handshake included
FIRST_AGAIN_S, LONGEST_AGAIN_S = 1.0, 30.0
STEADY_S = 5.0  # a connection that lasted so long was a good one
BYE_S = 2.0  # for the hub to store a bye: it says so by closing
OVER_RATE_S = 0.3  # before asking again what was too much: a hub takes 15 messages meanwhile
SOONEST_S = 0.02  # between two looks at the clock, whatever is due
LARGEST_FRAME = 1_048_576  # the hub's are half of it
BROKEN, NO_CODE = 1006, 1005

Frames = list[Mapping[str, Any]]
Unread = Callable[[Frames], None]


class Listener(Protocol):
    """Who wants to know what comes over a connection."""

    def opened(self) -> None:
        """A hub has welcomed us; whatever it knew of an earlier connection it may not know now."""

    def broke(self) -> None:
        """The connection is gone, and another one is sought."""

    def receive(self, received: Received) -> None:
        """Take a message."""

    def ended(self, error: LifesignsError | None) -> None:
        """There will be no other connection; None: because the program wants none."""


class Broken(Exception):
    """The connection broke before the answer came."""


class Asked:
    """A question on its way; an answer may come in several frames."""

    __slots__ = ("answer", "frames")

    def __init__(self) -> None:
        self.answer: asyncio.Future[Frames] = asyncio.Future()
        self.frames: Frames = []

    @property
    def answered(self) -> bool:
        answer = self.answer
        return answer.done() and not answer.cancelled() and answer.exception() is None

    def take(self, received: Received) -> None:
        if self.answer.done():
            return
        if received.type == "error":
            self.answer.set_exception(error_of(received.body))
            return
        self.frames.append(received.body)
        if not received.body.get("more"):
            self.answer.set_result(self.frames)


class Connection:
    """The one connection of an agent or of an observer."""

    def __init__(
        self,
        target: Target,
        portrait: Portrait | None,
        connected: Signal,
        closed: Closed,
        *,
        claims: Callable[[], Sequence[str]] = tuple,
    ) -> None:
        self.portrait = portrait
        self.listeners: list[Listener] = []
        self._target = target
        self._claims = claims
        self._connected = connected
        self._closed = closed
        self._error: LifesignsError | None = None  # why there is no further connection
        self._task: asyncio.Task[None] | None = None
        self._tried = asyncio.Event()  # the first attempt has come to something
        self._open = asyncio.Event()  # welcomed, or ended
        self._wakes = asyncio.Event()  # there is something to write
        self._caller: Caller | None = None
        self._socket: ClientConnection | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._pings = False  # a sign of the hub is to be asked for
        self._stopping = False
        self._complained = False  # once for each time that no hub is there
        self._hint_s: float | None = None  # when a hub that went wants us back
        self._asked: dict[int, Asked] = {}
        self._confirmations: list[tuple[int, asyncio.Future[None]]] = []

    # What the program says.

    async def start(self, wait_s: float) -> None:
        """Begin; return when a hub has welcomed us or cannot be reached, but not later."""
        if self._task is None:
            self._task = asyncio.create_task(self._live(), name="lifesigns")
        with suppress(TimeoutError):
            async with asyncio.timeout(wait_s):
                await self._tried.wait()

    async def stop(self, reason: str | None = None) -> None:
        """Say bye if there is somebody to say it to, and end."""
        self._stopping = True
        caller, task = self._caller, self._task
        try:
            if task is not None and caller is not None and caller.welcome is not None:
                caller.tell(self._now)
                caller.say("bye", self._now, **({"reason": reason} if reason else {}))
                self.wake()
                await asyncio.wait([task], timeout=BYE_S)
        finally:
            await self.abort()

    async def abort(self) -> None:
        """End at once: nobody is told."""
        self._stopping = True
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
        self._end(None)

    def update(self, said: Mapping[str, Any]) -> int:
        """Say something of the agent; answer its number."""
        assert self.portrait is not None, "an observer says nothing of itself"
        number = self.portrait.say(said, self._now)
        self.wake()
        return number

    async def confirmed(self, number: int, wait_s: float) -> bool:
        """Wait until everybody can see what was said up to a number."""
        if self._caller is not None and self._caller.confirmed >= number:
            return True
        entry = (number, asyncio.get_running_loop().create_future())
        self._confirmations.append(entry)
        try:
            await asyncio.wait([entry[1]], timeout=wait_s)
        finally:
            self._confirmations.remove(entry)
        return entry[1].done()

    async def ask(
        self, type_: str, patience_s: float, *, unread: Unread | None = None, **fields: Any
    ) -> Frames:
        """Ask the hub something, as often and on as many connections as it takes.

        An answer that came while the asker was told to stop goes to ``unread``.
        """
        try:
            async with asyncio.timeout(patience_s):
                while True:
                    try:
                        return await self._ask(type_, fields, unread)
                    except Broken:
                        continue
                    except RateLimited:
                        await asyncio.sleep(random.uniform(0.5, 1.5) * OVER_RATE_S)
        except TimeoutError:
            raise Unavailable("No hub has answered in time.") from None

    async def _ask(self, type_: str, fields: Mapping[str, Any], unread: Unread | None) -> Frames:
        await self._open.wait()
        if self._error is not None:
            raise self._error
        ref = self.put(type_, **fields)
        asked = self._asked[ref] = Asked()
        try:
            return await asked.answer
        except asyncio.CancelledError:
            if unread is not None and asked.answered:
                unread(asked.frames)
            raise
        finally:
            self._asked.pop(ref, None)

    def put(self, type_: str, **fields: Any) -> int:
        """Send a question whose answer a listener takes; answer its ref."""
        assert self._caller is not None, "there is a hub to ask"
        ref = self._caller.ask(type_, self._now, **fields)
        self.wake()
        return ref

    def say(self, type_: str, **fields: Any) -> None:
        """Send a message, if there is anybody to send it to."""
        if self.is_open and self._caller is not None:
            self._caller.say(type_, self._now, **fields)
            self.wake()

    def awaits(self, ref: object) -> bool:
        """Whether somebody waits for the answer with this ref."""
        return ref in self._asked

    @property
    def is_open(self) -> bool:
        return self._open.is_set() and self._error is None

    @property
    def error(self) -> LifesignsError | None:
        """Why there is no further connection."""
        return self._error

    # The background.

    async def _live(self) -> None:
        failures = turn = 0
        while not self._stopping:
            began = self._now
            code, reason = await self._attempt(self._target.urls[turn % len(self._target.urls)])
            if self._stopping:
                return
            if code is not None and not reconnects(code):
                self._closed.code = code
                self._end(error_of_close(code, reason), reason)
                return
            self._tried.set()
            steady = code is not None and self._now - began >= STEADY_S
            failures = 0 if steady else failures + 1
            turn += 1
            pause_s = delay_s(max(0, failures - 1), random.random(), FIRST_AGAIN_S, LONGEST_AGAIN_S)
            hint_s, self._hint_s = self._hint_s, None
            await asyncio.sleep(pause_s if hint_s is None else min(hint_s, LONGEST_AGAIN_S))

    async def _attempt(self, url: str) -> tuple[int | None, str]:
        """Connect once and stay; answer with what it was closed, None if there was no hub."""
        from websockets.exceptions import ConnectionClosed, InvalidHandshake

        try:
            await self._converse(url)
        except ConnectionClosed as closed:
            if closed.rcvd is None or closed.rcvd.code == NO_CODE:
                return BROKEN, ""
            return closed.rcvd.code, closed.rcvd.reason
        except (OSError, InvalidHandshake) as error:
            if not self._complained:
                self._complained = True
                log.warning("no hub answers at %s (%s); trying again", url, error)
        except Exception:
            log.exception("a connection to %s failed; trying again", url)
        return None, ""

    async def _converse(self, url: str) -> None:
        # Loaded when it is needed: to import it takes as long as all the rest.
        from websockets.asyncio.client import connect
        from websockets.typing import Subprotocol

        socket = await connect(
            url,
            additional_headers=self._target.headers,
            subprotocols=[Subprotocol(MSGPACK.subprotocol)],
            compression=None,
            user_agent_header="lifesigns",
            open_timeout=OPEN_S,
            ping_interval=None,  # the caller knows better when to ask
            close_timeout=1,
            max_size=LARGEST_FRAME,
            proxy=None if is_loopback(url) else True,
        )
        with self._conversation(socket) as caller:
            while True:
                payload = await socket.recv(decode=False)
                self._receive(caller, caller.receive(payload, self._now))

    @contextmanager
    def _conversation(self, socket: ClientConnection) -> Iterator[Caller]:
        codec = CODECS.get(socket.subprotocol or "", JSON)
        caller = Caller(codec, self.portrait, self._now, self._claims())
        self._caller, self._socket, self._pings = caller, socket, False
        writer = asyncio.create_task(self._write(socket, caller), name="lifesigns writer")
        self.wake()
        try:
            yield caller
        finally:
            writer.cancel()
            socket.transport.abort()
            self._lose()

    def _receive(self, caller: Caller, received: Received) -> None:
        if received.type == "welcome":
            self._complained = False
            self._open.set()
            self._tried.set()
            self._connected.set()
            for listener in self.listeners:
                listener.opened()
        elif received.type == "goaway":
            self._hint_s = received.body.get("reconnect_in_ms", 0) / 1000
        elif caller.refusal is not None:
            self._refused(caller.refusal)
            return
        for listener in self.listeners:
            listener.receive(received)
        asked = self._asked.get(received.ref) if isinstance(received.ref, int) else None
        if asked is not None:
            asked.take(received)
        elif received.type == "error" and received.ref is None:
            log.warning("the hub says: %s", received.body.get("message"))
        for number, future in self._confirmations:
            if number <= caller.confirmed and not future.done():
                future.set_result(None)
        self.wake()

    def _refused(self, error: LifesignsError) -> None:
        """The hub does not take our hello, and we know no other one."""
        self._stopping = True
        self._closed.code = error.close_code
        self._end(error)
        if self._socket is not None:
            self._socket.transport.abort()

    async def _write(self, socket: ClientConnection, caller: Caller) -> None:
        from websockets.exceptions import ConnectionClosed

        with suppress(ConnectionClosed):  # whoever reads has it too, and knows why
            while True:
                await self._wakes.wait()
                self._wakes.clear()
                for payload in caller.messages_to_send(self._now):
                    await socket.send(payload, text=not caller.binary)
                if self._pings:
                    self._pings = False
                    pong = asyncio.ensure_future(await socket.ping())
                    pong.add_done_callback(partial(self._ponged, caller))

    def _ponged(self, caller: Caller, pong: asyncio.Future[float]) -> None:
        if not pong.cancelled() and pong.exception() is None:
            caller.heard(self._now)

    def wake(self) -> None:
        """Something is to be written, or is due earlier than it was."""
        self._wakes.set()
        if self._caller is not None:
            if self._timer is not None:
                self._timer.cancel()
            due = max(self._caller.deadline(), self._now + SOONEST_S)
            self._timer = asyncio.get_running_loop().call_at(due, self._tick)

    def _tick(self) -> None:
        if self._caller is None or self._socket is None:
            return
        verdict = self._caller.tick(self._now)
        if verdict == "leave":
            log.warning("the hub has fallen silent; trying another connection")
            self._socket.transport.abort()
            return
        self._pings = self._pings or verdict == "ping"
        self.wake()

    def _lose(self) -> None:
        was_open = self.is_open
        self._caller = self._socket = None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._connected.clear()
        if self._error is None:
            self._open.clear()
        for asked in self._asked.values():
            if not asked.answer.done():
                asked.answer.set_exception(Broken())
        if was_open:
            for listener in self.listeners:
                listener.broke()

    def _end(self, error: LifesignsError | None, reason: str = "") -> None:
        """There is no further connection."""
        if self._error is not None:
            return
        self._error = error or Unavailable("The connection was closed by this program.")
        if error is not None:
            log.warning("the connection is closed for good: %s", error)
            self._closed.tell(reason or error.message)
        self._tried.set()
        self._open.set()
        for listener in self.listeners:
            listener.ended(error)

    @property
    def _now(self) -> float:
        return asyncio.get_running_loop().time()
