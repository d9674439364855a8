"""One link to one store server, always connected again; nobody who uses it has to wait.

Commands are never repeated: when the connection breaks, whoever waits for a reply gets a LinkLost
and knows that the command was executed or was not. (A script that the server does not know was
not executed: only that one is loaded and sent again.)
It must not know what a command means: no key, no agent, no clock of the store.
"""

from __future__ import annotations

import asyncio
import functools
import hashlib
import itertools
import logging
import random
import re
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from lifesigns.core.backoff import delay_s
from lifesigns.core.errors import Unavailable
from lifesigns.store.address import Address
from lifesigns.store.wire import Arg, Callback, LinkLost, ReplyError, Wire

__all__ = [
    "Arg",
    "Callback",
    "Link",
    "LinkLost",
    "ReplyError",
    "Script",
    "ServerInfo",
    "translated",
]

log = logging.getLogger(__name__)

T = TypeVar("T")

OLDEST_VERSION = (7, 0)
CONNECT_S = 5.0
CLOSE_S = 1.0
SILENT_S = 10.0
ASK_S = 3.0
# Room for thousands of clients that come back at once, and a bound to what a stall can pile up.
ASKED_AT_MOST = 10_000
RETRY_LEAST_S = 0.05
RETRY_MOST_S = 1.0
# What a server answers before it does anything, and what passes: the store is away, in a way.
NOT_NOW = frozenset(
    {
        "BUSY",
        "CLUSTERDOWN",
        "LOADING",
        "MASTERDOWN",
        "MISCONF",
        "NOREPLICAS",
        "OOM",
        "READONLY",
        "TRYAGAIN",
    }
)
# A feed may come back with 16,000 channels; no single command should hold the server up.
CHANNELS_A_COMMAND = 500


@dataclass(frozen=True, slots=True)
class Script:
    """One atomic act, in Lua."""

    name: str
    source: str = field(repr=False)
    sha: str = field(init=False)

    def __post_init__(self) -> None:
        sha = hashlib.sha1(self.source.encode(), usedforsecurity=False).hexdigest()
        object.__setattr__(self, "sha", sha)


@dataclass(frozen=True, slots=True)
class ServerInfo:
    """Who answered: ``version`` is the Redis that it is or, as a Valkey, takes after.

    ``run_id`` is another one after each start of the server. ``product`` is for people.
    """

    version: str
    run_id: str
    product: str


class Link:
    """Commands to one server, or with ``on_push`` the feed of the channels it subscribes to.

    ``on_up`` is called whenever the link has come up, the first time too; ``on_down`` when it was
    lost, after those who waited were told; neither for ``aclose``. ``before_reconnect`` is awaited
    before each try to come back. ``scripts`` are loaded with every connection, before it is up.
    """

    def __init__(
        self,
        address: Address,
        *,
        name: str,
        scripts: Iterable[Script] = (),
        on_up: Callable[[], None] | None = None,
        on_down: Callable[[], None] | None = None,
        on_push: Callable[[list[Any]], None] | None = None,
        before_reconnect: Callable[[], Awaitable[None]] | None = None,
        silent_s: float = SILENT_S,
    ) -> None:
        self.address = address
        self.name = name
        self._scripts = {script.sha: script for script in scripts}
        self._on_up = on_up
        self._on_down = on_down
        self._on_push = on_push
        self._before_reconnect = before_reconnect
        self._silent_s = silent_s
        self._wire: Wire | None = None
        self._server: ServerInfo | None = None
        self._keeper: asyncio.Task[None] | None = None
        self._closing = False
        self._loading: set[str] = set()
        self._asked = 0
        # A dict for its order: channels are subscribed to again as they came.
        self._channels: dict[str, None] = {}

    @property
    def up(self) -> bool:
        return self._wire is not None

    def check_able(self) -> None:
        """Raise Unavailable if it is no use to ask: the link is down, or answers are late.

        For what others want at once, so that it does not pile up. What a hub asks for itself goes
        on, and tells when answers come soon again.
        """
        if self._wire is None:
            raise Unavailable(self._text("is away"))
        if self.late:
            raise Unavailable(self._text("takes too long to answer"))

    @property
    def late(self) -> bool:
        """Whether answers take so long that it is no use to wait for one more."""
        return self._wire is not None and self._wire.late

    @property
    def server(self) -> ServerInfo:
        """The server of the latest connection; there is one once ``start`` has returned."""
        assert self._server is not None
        return self._server

    @property
    def buffered(self) -> int:
        """How many bytes wait to be sent: who writes much holds back while there are many."""
        return self._wire.buffered if self._wire else 0

    async def start(self) -> None:
        """Connect, or raise Unavailable that says why not; from then on keep connected."""
        await self._connect()

    async def aclose(self) -> None:
        """End the link. Who still waits for a reply gets a LinkLost instead."""
        self._closing = True
        if self._keeper:
            self._keeper.cancel()
            await asyncio.wait([self._keeper])
        if self._wire:
            await self._wire.aclose(CLOSE_S)

    # --- commands ---

    def call(self, args: Sequence[Arg], callback: Callback) -> None:
        """Send one command with the others of this turn of the loop.

        The callback gets the reply, a ReplyError or a LinkLost, and always later; a link that is
        down says LinkLost at the next turn, so who tries again waits for ``on_up``. Raises only
        TypeError or ValueError, for arguments that no command can carry (None, a lone surrogate).
        """
        # What a feed receives are pushes, which could not be told from a reply.
        assert self._on_push is None
        if self._wire is None:
            lost = LinkLost(self._text("is away"))
            asyncio.get_running_loop().call_soon(callback, lost)
        else:
            if self.address.sentinels is not None:
                callback = self._heeding_demotion(self._wire, callback)
            self._wire.send(tuple(args), callback)

    def _heeding_demotion(self, wire: Wire, callback: Callback) -> Callback:
        """A server that became a replica keeps its connections for a while: leave it."""

        def answered(reply: Any) -> None:
            if isinstance(reply, ReplyError) and reply.code == "READONLY":
                wire.cut("it is no primary any more")
            callback(reply)

        return answered

    def run(
        self, script: Script, keys: Sequence[Arg], args: Sequence[Arg], callback: Callback
    ) -> None:
        """Run a script. One that the server had to be taught first runs after what followed it."""
        command = ("EVALSHA", script.sha, len(keys), *keys, *args)

        def answered(reply: Any) -> None:
            if isinstance(reply, ReplyError) and reply.code == "NOSCRIPT":
                self._teach(script)
                self.call(command, callback)
            else:
                callback(reply)

        self.call(command, answered)

    def flush(self) -> None:
        """Send what was called so far now, and not at the end of this turn of the loop."""
        if self._wire:
            self._wire.flush()

    async def ask(self, *args: Arg, timeout_s: float = ASK_S) -> Any:
        """Await one command's reply; raise ReplyError, or Unavailable when there is none in time.

        Also Unavailable: the server says that it cannot now (it loads, is full, is no primary).
        """
        return await self._answer(functools.partial(self.call, args), timeout_s)

    async def ask_script(
        self,
        script: Script,
        keys: Sequence[Arg],
        args: Sequence[Arg],
        *,
        timeout_s: float = ASK_S,
    ) -> Any:
        """Await one script's reply, as ``ask`` does."""
        return await self._answer(functools.partial(self.run, script, keys, args), timeout_s)

    async def ask_scripts(
        self,
        script: Script,
        calls: Sequence[tuple[Sequence[Arg], Sequence[Arg]]],
        *,
        timeout_s: float = ASK_S,
    ) -> list[Any]:
        """Await the replies of many runs of a script, which leave in one write."""

        def send(callback: Callback) -> None:
            replies: list[Any] = [None] * len(calls)
            missing = len(calls)

            def answered(index: int, reply: Any) -> None:
                nonlocal missing
                replies[index] = reply
                missing -= 1
                if missing == 0:
                    failed = (each for each in replies if isinstance(each, Exception))
                    callback(next(failed, replies))

            for index, (keys, args) in enumerate(calls):
                self.run(script, keys, args, functools.partial(answered, index))

        replies: list[Any] = await self._answer(send, timeout_s)
        return replies

    async def _answer(self, send: Callable[[Callback], None], timeout_s: float) -> Any:
        if self._wire is None:
            raise Unavailable(self._text("is away"))
        # Counted until the reply has come, and not until the asker gave up: that is what piles up.
        if self._asked >= ASKED_AT_MOST:
            raise Unavailable(self._text(f"has {self._asked} requests waiting already"))
        answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()

        def answered(reply: Any) -> None:
            self._asked -= 1
            if not answer.done():
                answer.set_result(reply)

        send(answered)
        self._asked += 1
        try:
            async with asyncio.timeout(timeout_s):
                reply = await answer
        except TimeoutError:
            raise Unavailable(self._text(f"did not answer within {timeout_s:g} s")) from None
        if isinstance(reply, LinkLost):
            raise Unavailable(str(reply)) from None
        if isinstance(reply, ReplyError):
            if reply.code in NOT_NOW:
                raise Unavailable(self._text(f"cannot now: {reply}")) from None
            raise reply
        return reply

    def _teach(self, script: Script) -> None:
        """Load a script, once for all of its runs that came back."""
        if script.sha in self._loading:
            return

        def loaded(reply: Any) -> None:
            self._loading.discard(script.sha)
            if isinstance(reply, ReplyError):
                log.error("%s", self._text(f"does not take the script {script.name}: {reply}"))

        self._loading.add(script.sha)
        self._scripts[script.sha] = script
        self.call(("SCRIPT", "LOAD", script.source), loaded)

    # --- channels ---

    def subscribe(self, channel: str) -> None:
        """Follow a channel, over reconnects too; each confirmation comes as a push.

        A channel that is followed already is not confirmed once more.
        """
        assert self._on_push is not None
        if channel not in self._channels:
            self._channels[channel] = None
            if self._wire:
                self._wire.send_unanswered(("SUBSCRIBE", channel))

    def unsubscribe(self, channel: str) -> None:
        if channel in self._channels:
            del self._channels[channel]
            if self._wire:
                self._wire.send_unanswered(("UNSUBSCRIBE", channel))

    # --- connections ---

    async def _connect(self) -> None:
        wire = Wire(self._lost)
        try:
            async with asyncio.timeout(self.address.connect_s or CONNECT_S):
                await self.address.open(lambda: wire)
                self._server = await self._greet(wire)
            if wire.ended.done():
                raise Unavailable(self._text("cannot be reached: it closed the connection"))
            self._wire = wire
        except TimeoutError:
            raise Unavailable(self._text("cannot be reached: it does not answer")) from None
        except (OSError, UnicodeError) as error:
            raise Unavailable(self._text(f"cannot be reached: {error}")) from error
        finally:
            if self._wire is not wire:
                wire.cut("it was not wanted")
        wire.watch(self._silent_s)
        if self._on_push:
            wire.push_to(self._on_push)
            channels = list(self._channels)
            for start in range(0, len(channels), CHANNELS_A_COMMAND):
                wire.send_unanswered(("SUBSCRIBE", *channels[start : start + CHANNELS_A_COMMAND]))
        self._tell(self._on_up)

    async def _greet(self, wire: Wire) -> ServerInfo:
        """Say who we are, in one write; find out who it is, and teach it the scripts."""
        address = self.address
        commands: list[tuple[str, tuple[Arg, ...]]] = []
        if address.username or address.password:
            names = (address.username,) if address.username else ()
            commands.append(("refuses the password", ("AUTH", *names, address.password or "")))
        if address.db:
            commands.append((f"refuses database {address.db}", ("SELECT", address.db)))
        # PING because INFO answers even while the server still loads its data.
        commands.append(("is not ready", ("PING",)))
        commands.append(("does not say what it is", ("INFO", "server")))
        if address.sentinels is not None:
            commands.append(("does not say its role", ("ROLE",)))
        for script in self._scripts.values():
            refusal = f"does not take the script {script.name}"
            commands.append((refusal, ("SCRIPT", "LOAD", script.source)))
        # For people who look at CLIENT LIST; a server that forbids it is as good.
        commands.append(("", ("CLIENT", "SETNAME", self.name)))

        replies: list[Any] = []
        complete = asyncio.get_running_loop().create_future()

        def answered(reply: Any) -> None:
            replies.append(reply)
            if len(replies) == len(commands) and not complete.done():
                complete.set_result(None)

        for _, args in commands:
            wire.send(args, answered)
        await complete
        info = b""
        for (refusal, args), reply in zip(commands, replies, strict=True):
            if isinstance(reply, LinkLost):
                raise Unavailable(f"{reply}")
            if refusal and isinstance(reply, ReplyError):
                raise Unavailable(self._text(f"{refusal}: {reply}"))
            if args[0] == "INFO" and isinstance(reply, bytes):
                info = reply
            if args[0] == "ROLE" and reply[0] != b"master":
                raise Unavailable(self._text("is a replica: its sentinels have not agreed yet"))
        return self._identify(info.decode(errors="replace"))

    def _identify(self, info: str) -> ServerInfo:
        fields = dict(re.findall(r"^(\w+):(.*?)\r?$", info, re.MULTILINE))
        version = fields.get("redis_version", "of an unknown version")
        product = f"Redis {version}"
        if "valkey_version" in fields:
            product = f"Valkey {fields['valkey_version']}"
        numbers = re.match(r"(\d+)\.(\d+)", version)
        if not numbers or tuple(map(int, numbers.groups())) < OLDEST_VERSION:
            needed = "Redis 7.0 or newer, or Valkey, is needed"
            raise Unavailable(self._text(f"is {product}: {needed}"))
        return ServerInfo(version, fields.get("run_id", ""), product)

    def _lost(self, wire: Wire, why: str) -> None:
        was_up = wire is self._wire
        if was_up:
            # First of all, so that who calls again on LinkLost does not queue on a dead wire.
            self._wire = None
        wire.lose(LinkLost(self._text(f"was lost: {why}")))
        if was_up and not self._closing:
            log.warning("link %s: %s", self.name, self._text(f"was lost: {why}"))
            self._keeper = asyncio.get_running_loop().create_task(self._reconnect())
            self._tell(self._on_down)

    async def _reconnect(self) -> None:
        told = ""
        for attempt in itertools.count():
            await asyncio.sleep(delay_s(attempt, random.random(), RETRY_LEAST_S, RETRY_MOST_S))
            try:
                if self._before_reconnect:
                    await self._before_reconnect()
                await self._connect()
            except Exception as error:
                # Anything at all: whoever reads this log may be the one who can mend it, but a
                # link that gave up would never be back.
                if str(error) != told:
                    told = str(error)
                    unforeseen = not isinstance(error, Unavailable)
                    log.warning("link %s: %s", self.name, told, exc_info=unforeseen)
            else:
                log.info("link %s: %s", self.name, self._text(f"is back, {self.server.product}"))
                return

    def _text(self, what: str) -> str:
        return f"The store at {self.address} {what.removesuffix('.')}."

    def _tell(self, listener: Callable[[], None] | None) -> None:
        try:
            if listener:
                listener()
        except Exception:
            log.exception("link %s: a listener failed", self.name)


async def translated(asking: Awaitable[T]) -> T:
    """Await an answer for somebody who cannot help what the server refuses."""
    try:
        return await asking
    except ReplyError as error:
        log.warning("the store cannot do it now: %s", error)
        raise Unavailable("The store cannot do it now.") from error
