"""What is kept of an agent that the hub has enrolled, beside its presence.

Decides which agent a name means and what an enrolment says once it is altered. An agent that is
enrolled has a folder, a key of its own, and terms: how often it should beat, and how long it may
be silent. Names are for people, and may be used once on each board. Must not know what is alive.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any

from lifesigns.core.errors import Conflict

INTERVAL_S, TOLERANCE_S = 60, 120  # unless the enrolment says otherwise
INTERVAL, TOLERANCE = "interval_seconds", "missing_tolerance"

_CROCKFORD = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_ULID_LENGTH = 26


@dataclass(frozen=True, slots=True)
class Enrolment:
    """An enrolled agent."""

    id: str
    name: str
    board: str | None
    serial: str  # at the gateway: a ULID
    workspace: str | None  # its folder, on the machine whose hub made it
    key_id: str  # of its own key
    created_ms: int
    updated_ms: int
    terms: Mapping[str, Any] = field(default_factory=dict)  # of its heartbeat, as they were given
    profile: Mapping[str, Any] | None = None
    identity: str | None = None
    soul: str | None = None
    lead: bool = False
    main: bool = False
    more: Mapping[str, Any] = field(default_factory=dict)  # what else was said of it
    # When it was heard, as far as it is noted here: with its first heartbeat, and whenever it says
    # that it goes, though it may be gone already. 0: never.
    heard_ms: int = 0
    settled: bool = True  # False: its key and its folder are still to be made

    @property
    def interval_s(self) -> float:
        """How often it should beat."""
        return float(self.terms.get(INTERVAL) or INTERVAL_S)

    @property
    def tolerance_s(self) -> float:
        """How long it may be silent."""
        return float(self.terms.get(TOLERANCE) or TOLERANCE_S)

    def altered(self, changes: Mapping[str, Any], now_ms: int) -> Enrolment:
        """Say something else of it; of the terms, what is not said stays."""
        terms = {**self.terms, **changes.get("terms", {})}
        more = {**self.more, **changes.get("more", {})}
        return replace(self, **{**changes, "terms": terms, "more": more, "updated_ms": now_ms})

    def body(self) -> dict[str, Any]:
        """Lay it out as a document."""
        return {name: value for name, value in asdict(self).items() if name != "id"}


_FIELDS = frozenset(each.name for each in fields(Enrolment))


def enrolment_of(agent: str, body: Mapping[str, Any]) -> Enrolment:
    """Read a document; what a newer hub says in it is left out."""
    return Enrolment(agent, **{name: value for name, value in body.items() if name in _FIELDS})


Roll = Mapping[str, str | None]  # the agents of one name, with the board of each


def meant(name: str, roll: Roll, board: str | None) -> str | None:
    """Tell which agent a name means, on a board or, if none is given, on any; None: nobody yet."""
    found = sorted(each for each, its in roll.items() if board is None or its == board)
    if len(found) > 1:
        raise Conflict(f"Several agents are called {name!r}: say on which board_id.")
    return found[0] if found else None


def named(name: str, roll: Roll, board: str | None, agent: str) -> dict[str, str | None]:
    """Enter an agent among those of its name."""
    others = {each: its for each, its in roll.items() if each != agent}
    if board in others.values():
        where = "without a board" if board is None else "on this board"
        raise Conflict(f"There is an agent {name!r} {where} already.")
    return {**others, agent: board}


def ulid(number: int) -> str:
    """Write 128 bits as a ULID: the first 48 are a time in ms, so that they sort by it."""
    letters = []
    for _ in range(_ULID_LENGTH):
        number, digit = divmod(number, len(_CROCKFORD))
        letters.append(_CROCKFORD[digit])
    return "".join(reversed(letters))


def new_serial(now_ms: int, chance: int) -> str:
    """Make the serial of an agent that is enrolled now; ``chance`` has 80 random bits."""
    return ulid(now_ms << 80 | chance)
