"""What a program asks a hub: who is there, who can take work, and what becomes of them."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from types import TracebackType
from typing import Any, TypedDict, Unpack

from lifesigns.client.claim import Claim
from lifesigns.client.line import Line
from lifesigns.client.question import Question, Watches
from lifesigns.client.signal import Closed, Signal
from lifesigns.client.watch import Watch
from lifesigns.core.errors import NoMatch, Unavailable

Presence = dict[str, Any]
Words = str | Iterable[str]

ANSWER_S = 10.0  # for a hub to be there and to answer
MOST_CHECKED = 1_000  # agents in one question


class Filter(TypedDict, total=False):
    """Which agents are meant: all parts must hold; of a list one, of capabilities all."""

    ids: Words  # with a * at the end a prefix
    state: Words
    status: Words
    dialect: Words
    group: Words
    name: Words
    host: Words
    did: Words
    capability: Words
    metadata: Mapping[str, Any]
    alive: bool | None


class Hub:
    """A hub, seen by an observer: it is not present itself.

    It connects with the first question, or when its block is entered, and comes back by itself.
    """

    def __init__(
        self,
        url: str | Sequence[str] | None = None,
        key: str | None = None,
        *,
        thread: bool = False,
        timeout: float = ANSWER_S,
    ) -> None:
        self._line = Line(url, key, None, thread=thread)
        self._timeout_s = timeout

    @classmethod
    def on(cls, line: Line) -> Hub:
        """Ask over the connection of an agent."""
        hub = cls.__new__(cls)
        hub._line, hub._timeout_s = line, ANSWER_S
        return hub

    @property
    def connected(self) -> Signal:
        """Set while there is a hub that has welcomed us."""
        return self._line.connected

    @property
    def closed(self) -> Closed:
        """Set when the hub has told us not to come back."""
        return self._line.closed

    async def __aenter__(self) -> Hub:
        await self._line.start()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Ask nothing more."""
        await self._line.stop()

    async def check(
        self,
        *agents: str,
        within: float | None = None,
        probe: bool = False,
        timeout: float | None = None,  # noqa: ASYNC109 - the agents', not ours
        detail: str | None = None,
    ) -> dict[str, Presence]:
        """Tell of each agent whether it is alive, and how sure that is.

        ``within`` and ``timeout`` are milliseconds: how old the evidence may be to count as fresh,
        and how long agents have to answer a ``probe``.
        """
        options = {"within": within, "timeout": timeout, "detail": detail}
        given = {name: value for name, value in options.items() if value is not None}
        if probe:
            given["probe"] = True
        found: dict[str, Presence] = {}
        for begin in range(0, max(1, len(agents)), MOST_CHECKED):
            some = list(agents[begin : begin + MOST_CHECKED])
            for frame in await self._ask("check", (timeout or 0) / 1000, agents=some, **given):
                found |= frame["agents"]
        return found

    async def who(self, *, detail: str | None = None, **wanted: Unpack[Filter]) -> list[Presence]:
        """List agents by id; those alive, unless ``alive`` or ``state`` says otherwise."""
        if "alive" not in wanted and "state" not in wanted:
            wanted["alive"] = True
        await self._line.start()
        question = Question(_plain(wanted), detail, present=False)
        return await self._line.run(_look(self._line.watches, question, self._timeout_s))

    async def pick(
        self, *, n: int = 1, detail: str | None = None, **wanted: Unpack[Filter]
    ) -> list[Presence]:
        """List up to ``n`` agents that a claim would choose from, the best first."""
        options = {"n": n, "filter": _plain(wanted), "detail": detail}
        given = {name: value for name, value in options.items() if value is not None}
        try:
            frames = await self._ask("pick", 0, **given)
        except NoMatch:
            return []
        return [shown for frame in frames for shown in frame["agents"]]

    def claim(
        self,
        agent: str | None = None,
        *,
        ttl: float = 60,
        wait: float = 0,
        note: str | None = None,
        **wanted: Unpack[Filter],
    ) -> Claim:
        """Hold a slot of one agent, or of one that matches: ``async with hub.claim() as peer``.

        ``NoMatch`` if nobody can be claimed within ``wait`` seconds, ``Busy`` or ``NotAlive`` of
        one that is named. The claim renews itself every third of its ``ttl`` until the block ends.
        """
        fields = {"agent": agent, "wait": wait, "note": note, "filter": _plain(wanted) or None}
        given = {name: value for name, value in fields.items() if value}
        return Claim(self._line, self._timeout_s + wait, ttl, given)

    def watch(
        self, *, detail: str | None = None, present: bool = False, **wanted: Unpack[Filter]
    ) -> Watch:
        """Follow agents: ``async for change in hub.watch(capability="search")``.

        With ``present`` those who are there at first come as changes too. Entered as a block, it
        begins when it is known who is there; ``agents`` shows them.
        """
        return Watch(self._line, Question(_plain(wanted), detail, present=present))

    async def _ask(self, type_: str, more_s: float, **fields: Any) -> list[Mapping[str, Any]]:
        await self._line.start()
        patience_s = self._timeout_s + more_s
        return await self._line.run(self._line.connection.ask(type_, patience_s, **fields))


async def _look(watches: Watches, question: Question, patience_s: float) -> list[Presence]:
    """Ask for what a watch begins with, and for no more."""
    watches.begin(question)
    try:
        async with asyncio.timeout(patience_s):
            await question.loaded.wait()
    except TimeoutError:
        raise Unavailable("No hub has answered in time.") from None
    finally:
        watches.end(question)
    if question.error is not None:
        raise question.error
    return [dict(shown) for _, shown in sorted(question.mirror.agents.items())]


def _plain(wanted: Mapping[str, Any]) -> dict[str, Any]:
    """Spell a filter as the wire has it."""
    return {
        name: value if isinstance(value, str | Mapping | bool) else list(value)
        for name, value in wanted.items()
        if value is not None
    }
