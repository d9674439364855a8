"""The side of a conversation that calls: an agent's, or an observer's.

Says hello, beats when it is time, tells news no faster than a hub takes them, gives each question
a ref, and notices when the hub has fallen silent. Whole messages come in by ``receive``;
``messages_to_send`` fetches what is to be written; ``deadline`` says when to call ``tick``.
Nothing here knows of sockets or clocks.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lifesigns.core.codec import Codec
from lifesigns.core.errors import LifesignsError, error_of
from lifesigns.core.portrait import Portrait

RECONNECTABLE = frozenset({1001, 1006, 1011, 1012, 1013, 4008, 4029})

WELCOME_S = 10.0  # a hub whose store is slow greets after three
LONGEST_QUIET_S = 15.0  # nothing came for so long: the hub is not there
NEWS_EVERY_S = 0.05  # less than half of what a hub takes of one connection
MOST_TOLD = 32  # unanswered, as while the store is away; what is said then is told later, as one
AGAIN_S = 1.0  # before saying again what the hub could not take just now
SHORTEST_BEAT_S = 0.1  # what a client dares, well within the rate that a hub allows


@dataclass(frozen=True, slots=True)
class Received:
    """A message of the hub, as its client sees it."""

    type: str
    ref: str | int | None
    body: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Told:
    """A beat with news whose answer is awaited."""

    names: tuple[str, ...]
    number: int


def reconnects(close_code: int) -> bool:
    """Tell whether a client comes back after a socket that ended so."""
    return close_code in RECONNECTABLE


class Caller:
    """One connection's conversation; without a portrait it is an observer's."""

    __slots__ = (
        "_asked",
        "_beat_every_s",
        "_claims",
        "_codec",
        "_heard",
        "_next_ref",
        "_out",
        "_portrait",
        "_quiet_s",
        "_said",
        "_tell_from",
        "_told",
        "confirmed",
        "refusal",
        "welcome",
    )

    def __init__(
        self, codec: Codec, portrait: Portrait | None, now: float, claims: Sequence[str] = ()
    ) -> None:
        self._codec = codec
        self._portrait = portrait
        self._claims = claims
        self._out: list[bytes] = []
        self._next_ref = 0
        self._beat_every_s: float | None = None  # an agent's, known from the welcome
        self._quiet_s = LONGEST_QUIET_S
        self._said = now  # when something was last sent
        self._heard = now
        self._asked: float | None = None  # since when a sign of the hub is waited for
        self._tell_from = now  # when news may be told again
        self._told: dict[int, Told] = {}  # by ref
        self.confirmed = 0  # number of what was said that everybody can see by now
        self.refusal: LifesignsError | None = None  # why there will never be a welcome
        self.welcome: Mapping[str, Any] | None = None
        self._hello(now)

    def _hello(self, now: float) -> None:
        hello: dict[str, Any] = {"type": "hello"}
        if self._portrait is not None:
            self._told = {0: Told((), self._portrait.number)}
            hello |= self._portrait.hello(now)
        if self._claims:
            hello["claims"] = list(self._claims)
        self._queue(hello)

    @property
    def binary(self) -> bool:
        """Whether its messages go in binary frames."""
        return self._codec.binary

    # What comes from the hub.

    def heard(self, now: float) -> None:
        """Take a sign of life that is no message."""
        self._heard = now
        self._asked = None

    def receive(self, payload: bytes, now: float) -> Received:
        """Take one message of the hub."""
        self.heard(now)
        body = self._codec.decode(payload)
        type_, ref = str(body.get("type")), body.get("ref")
        if type_ == "welcome":
            self._greeted(body, now)
        elif type_ == "error" and self.welcome is None:
            self._refused(error_of(body), now)
        elif isinstance(ref, int) and (told := self._told.pop(ref, None)) is not None:
            if type_ == "ok":
                self.confirmed = max(self.confirmed, told.number)
            else:
                self._untold(told, error_of(body), now)
        return Received(type_, ref, body)

    def _greeted(self, welcome: Mapping[str, Any], now: float) -> None:
        self.welcome = welcome
        greeted = self._told.pop(0, None)
        if welcome.get("agent") is None:
            return
        self._said = now
        self._beat_every_s = float(welcome["beat_every"])
        self._quiet_s = min(float(welcome["ttl"]) / 2, LONGEST_QUIET_S)
        if greeted is not None and welcome.get("seq") is not None:
            self.confirmed = greeted.number

    def _refused(self, error: LifesignsError, now: float) -> None:
        """A hello was not taken: say it again without what was wrong with it."""
        name = (error.field or "").partition(".")[0].partition("[")[0]
        if self._portrait is not None and self._portrait.drop(name):
            self._hello(now)
        else:
            self.refusal = error

    def _untold(self, told: Told, error: LifesignsError, now: float) -> None:
        if self._portrait is None:
            return
        name = (error.field or "").partition(".")[0].partition("[")[0]
        if self._portrait.drop(name) or error.retry:
            self._portrait.tell_again(each for each in told.names if each != name)
            self._tell_from = now + (AGAIN_S if error.retry else 0.0)

    # What goes to the hub.

    def ask(self, type_: str, now: float, **fields: Any) -> int:
        """Queue a message that is answered, under the ref returned."""
        self._next_ref += 1
        self._queue({"type": type_, "ref": self._next_ref, **fields})
        self._said = now
        return self._next_ref

    def say(self, type_: str, now: float, **fields: Any) -> None:
        """Queue a message whose answer nobody waits for."""
        self._queue({"type": type_, **fields})
        self._said = now

    def messages_to_send(self, now: float) -> list[bytes]:
        """Fetch what is to be written now."""
        if self._tells(now):
            self.tell(now)
        out, self._out = self._out, []
        return out

    def tell(self, now: float) -> None:
        """Queue the news, however soon after the last ones."""
        portrait = self._portrait
        if portrait is None or not portrait.has_news:
            return
        number, news = portrait.number, portrait.news(now)
        ttl_s = news.get("ttl")
        if self._beat_every_s is not None and ttl_s is not None:
            # Only ever sooner: the hub may refuse a longer one, and to beat too often is no harm.
            self._beat_every_s = min(self._beat_every_s, max(ttl_s / 3, SHORTEST_BEAT_S))
            self._quiet_s = min(self._quiet_s, ttl_s / 2)
        self._told[self.ask("beat", now, **news)] = Told(tuple(news), number)
        self._tell_from = now + NEWS_EVERY_S

    def _tells(self, now: float) -> bool:
        return self._has_news and now >= self._tell_from

    @property
    def _has_news(self) -> bool:
        takes = self.welcome is not None and len(self._told) < MOST_TOLD
        return takes and self._portrait is not None and self._portrait.has_news

    def _queue(self, message: Mapping[str, Any]) -> None:
        self._out.append(self._codec.encode(message))

    # Time.

    def deadline(self) -> float:
        """Say when ``tick`` must be called next; what comes or is said meanwhile may alter it."""
        if self.welcome is None:
            return self._heard + WELCOME_S
        asked = self._heard if self._asked is None else self._asked
        due = asked + self._quiet_s / 2
        if self._beat_every_s is not None:
            due = min(due, self._said + self._beat_every_s)
        if self._has_news:
            due = min(due, self._tell_from)
        return due

    def tick(self, now: float) -> str | None:
        """Beat if it is time; ``"ping"`` asks for a sign of the hub, ``"leave"`` gives it up.

        A hub has half of its time to answer. Whoever looks at the clock much too late has not
        read meanwhile either, so that he asks once more before he leaves.
        """
        if self.welcome is None:
            return "leave" if now >= self._heard + WELCOME_S else None
        if self._beat_every_s is not None and now >= self._said + self._beat_every_s:
            self.say("beat", now)
        wait_s = self._quiet_s / 2
        if self._asked is None:
            if now < self._heard + wait_s:
                return None
        elif now < self._asked + wait_s:
            return None
        elif now < self._asked + 2 * wait_s:
            return "leave"
        self._asked = now
        return "ping"
