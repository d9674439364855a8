"""The client for programs without an event loop: its work is done on one in a thread."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Mapping, Sequence
from types import TracebackType
from typing import Any, TypeVar, Unpack, overload

from lifesigns.client import agent, claim, hub, peer, watch
from lifesigns.client.agent import H
from lifesigns.client.hub import ANSWER_S, Filter, Presence
from lifesigns.client.runtime import Thread
from lifesigns.client.signal import Signal

T = TypeVar("T")

Handler = Callable[[dict[str, Any]], object]


class Flag:
    """A fact to look up, or to wait for: the ways of ``threading.Event``."""

    def __init__(self, signal: Signal, thread: Thread) -> None:
        self._signal = signal
        self._thread = thread

    def __bool__(self) -> bool:
        return self._signal.is_set()

    def is_set(self) -> bool:
        return self._signal.is_set()

    @property
    def why(self) -> str | None:
        return self._signal.why

    @property
    def reason(self) -> str | None:
        return self._signal.why

    @property
    def code(self) -> int | None:
        """The code with which the hub closed, where there is one."""
        return getattr(self._signal, "code", None)

    def wait(self, timeout: float | None = None) -> bool:
        """Block until it is set, or for so many seconds; answer whether it is."""
        if not self._thread.running:
            return self.is_set()  # nobody is there to alter it
        return self.is_set() or self._thread.call(_within(self._signal, timeout))


class Hub:
    """A hub, seen by an observer: it is not present itself."""

    def __init__(
        self,
        url: str | Sequence[str] | None = None,
        key: str | None = None,
        *,
        timeout: float = ANSWER_S,
    ) -> None:
        self._thread = Thread()
        self._hub = hub.Hub(url, key, timeout=timeout)

    @classmethod
    def on(cls, thread: Thread, asked: hub.Hub) -> Hub:
        """Ask over the connection of an agent."""
        made = cls.__new__(cls)
        made._thread, made._hub = thread, asked
        return made

    @property
    def connected(self) -> Flag:
        return Flag(self._hub.connected, self._thread)

    @property
    def closed(self) -> Flag:
        return Flag(self._hub.closed, self._thread)

    def __enter__(self) -> Hub:
        self._call(self._hub.__aenter__())
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Ask nothing more."""
        if self._thread.running:
            self._thread.call(self._hub.close())
            self._thread.stop()

    def check(
        self,
        *agents: str,
        within: float | None = None,
        probe: bool = False,
        timeout: float | None = None,
        detail: str | None = None,
    ) -> dict[str, Presence]:
        """Tell of each agent whether it is alive, and how sure that is; spans in milliseconds."""
        work = self._hub.check(*agents, within=within, probe=probe, timeout=timeout, detail=detail)
        return self._call(work)

    def who(self, *, detail: str | None = None, **wanted: Unpack[Filter]) -> list[Presence]:
        """List agents by id; those alive, unless ``alive`` or ``state`` says otherwise."""
        return self._call(self._hub.who(detail=detail, **wanted))

    def pick(
        self, *, n: int = 1, detail: str | None = None, **wanted: Unpack[Filter]
    ) -> list[Presence]:
        """List up to ``n`` agents that a claim would choose from, the best first."""
        return self._call(self._hub.pick(n=n, detail=detail, **wanted))

    def claim(
        self,
        agent: str | None = None,
        *,
        ttl: float = 60,
        wait: float = 0,
        note: str | None = None,
        **wanted: Unpack[Filter],
    ) -> Claim:
        """Hold a slot of one agent, or of one that matches: ``with hub.claim() as peer``."""
        asked = self._hub.claim(agent, ttl=ttl, wait=wait, note=note, **wanted)
        return Claim(self._thread, asked)

    def watch(
        self, *, detail: str | None = None, present: bool = False, **wanted: Unpack[Filter]
    ) -> Watch:
        """Follow agents: ``for change in hub.watch(capability="search")``."""
        return Watch(self._thread, self._hub.watch(detail=detail, present=present, **wanted))

    def _call(self, work: Coroutine[Any, Any, T]) -> T:
        self._thread.start()
        return self._thread.call(work)


class Agent:
    """An agent that is alive while its block runs, whatever the program does meanwhile."""

    def __init__(
        self,
        name: str,
        /,
        url: str | Sequence[str] | None = None,
        key: str | None = None,
        *,
        instance: str | None = None,
        on_assigned: Handler | None = None,
        on_unassigned: Handler | None = None,
        on_tell: Handler | None = None,
        **said: Unpack[agent.Said],
    ) -> None:
        self._thread = Thread()
        self._agent = agent.Agent(
            name,
            url,
            key,
            instance=instance,
            on_assigned=_aside(on_assigned),
            on_unassigned=_aside(on_unassigned),
            on_tell=_aside(on_tell),
            **said,
        )
        self.hub = Hub.on(self._thread, self._agent.hub)

    @property
    def id(self) -> str:
        return self._agent.id

    @property
    def instance(self) -> str:
        return self._agent.instance

    @property
    def connected(self) -> Flag:
        """Set while there is a hub that has welcomed us."""
        return Flag(self._agent.connected, self._thread)

    @property
    def closed(self) -> Flag:
        """Set when the hub has told us not to come back."""
        return Flag(self._agent.closed, self._thread)

    def __enter__(self) -> Agent:
        self._thread.start()
        self._thread.call(self._agent.__aenter__())
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            self._thread.call(self._agent.__aexit__(kind, error, trace))
        finally:
            self._thread.stop()

    def leave(self, reason: str | None = None) -> None:
        """Say bye, with a reason for people; there is no coming back."""
        self._thread.call(self._agent.leave(reason))

    def abort(self) -> None:
        """End as a program does that is killed, for a rehearsal: nothing is said any more."""
        self._thread.call(self._agent.abort())

    @overload
    def on_run(self, handler: H) -> H: ...

    @overload
    def on_run(self, *, at_once: int = 1) -> Callable[[H], H]: ...

    def on_run(self, handler: Any = None, *, at_once: int = 1) -> Any:
        """Have the runs of this agent's schedules done by a function, in a thread: ``@me.on_run``.

        What it returns is the response, what it raises the error.
        """
        take = self._agent.on_run(at_once=at_once)
        return take if handler is None else take(handler)

    def update(self, *, wait: float = 0, **said: Unpack[agent.Said]) -> bool:
        """Say something of the agent; ``wait`` is how long until everybody has to see it."""
        return self._thread.running and self._thread.call(self._agent.update(wait=wait, **said))


class Claim:
    """A claim to be: enter it to hold a peer, leave it to let go."""

    def __init__(self, thread: Thread, asked: claim.Claim) -> None:
        self._thread = thread
        self._claim = asked

    def __enter__(self) -> Peer:
        self._thread.start()
        return Peer(self._thread.call(self._claim.__aenter__()), self._thread)

    def __exit__(self, *_: object) -> None:
        self._thread.call(self._claim.release())


class Peer:
    """An agent that is held: hand it work, and look at ``lost`` before relying on it."""

    def __init__(self, held: peer.Peer, thread: Thread) -> None:
        self._held = held
        self.claim = held.claim
        self.id = held.id
        self.instance = held.instance
        self.fence = held.fence
        self.note = held.note
        self.presence = held.presence
        self.lost = Flag(held.lost, thread)
        self.doubtful = Flag(held.doubtful, thread)

    @property
    def expires_at(self) -> str:
        return self._held.expires_at


class Watch:
    """Changes as they come: ``for change in watch``; each wait for one blocks."""

    def __init__(self, thread: Thread, asked: watch.Watch) -> None:
        self._thread = thread
        self._watch = asked

    @property
    def agents(self) -> dict[str, Mapping[str, Any]]:
        """Who is there, by id, as far as changes have come."""
        return self._watch.agents

    @property
    def counts(self) -> dict[str, int]:
        """How many are in each state, in a watch of counts."""
        return self._watch.counts

    @property
    def cursor(self) -> str | None:
        return self._watch.cursor

    def close(self) -> None:
        """Watch no more."""
        self._watch.close()

    def __enter__(self) -> Watch:
        self._thread.start()
        self._thread.call(self._watch.__aenter__())
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __iter__(self) -> Watch:
        return self

    def __next__(self) -> dict[str, Any]:
        if self._watch.over:
            raise StopIteration  # its thread may have ended too
        self._thread.start()
        try:
            return self._thread.call(self._watch.__anext__())
        except StopAsyncIteration:
            raise StopIteration from None


async def _within(signal: Signal, timeout_s: float | None) -> bool:
    try:
        async with asyncio.timeout(timeout_s):
            return await signal.wait()
    except TimeoutError:
        return signal.is_set()


def _aside(handler: Handler | None) -> agent.Handler | None:
    """Call a handler in a further thread: it may block, and beats must not wait for it."""
    if handler is None:
        return None
    return lambda message: asyncio.to_thread(handler, message)
