"""The values that travel between the rooms.

``Words`` is what an instance says of itself, ``Instance`` one running copy as the store remembers
it, ``Record`` an agent with all its instances, ``Presence`` what the world is shown of it.
They are made for every agent that is read, which is why they are tuples. Times are whole
milliseconds of the store's clock. Nothing here knows how a value is packed, sent or decided.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

NATIVE_DIALECT = "pulse"


class Words(NamedTuple):
    """What an instance says of itself."""

    status: str | None = None
    state: str | None = None  # the hint; a status without a state drops it
    task: str | None = None
    progress: dict[str, Any] | None = None
    metadata: dict[str, Any] | None = None
    context: Any = None
    capabilities: tuple[str, ...] | list[str] = ()
    slots: int = 1
    progress_ttl_ms: int | None = None
    busy_until_ms: int | None = None
    did: str | None = None
    name: str | None = None
    group: str | None = None
    host: str | None = None
    version: str | None = None
    dialect: str = NATIVE_DIALECT


@dataclass(frozen=True, slots=True)
class Limits:
    """The bounds of what an agent may say; all are settings."""

    min_ttl_s: float = 1.0
    max_ttl_s: float = 86_400.0
    metadata_bytes: int = 16_384
    metadata_depth: int = 16
    word_length: int = 128  # a status, a capability
    text_length: int = 1_024  # a task, a note, a reason
    capabilities: int = 64
    slots: int = 1_000
    check_agents: int = 1_000
    watches: int = 100  # on one connection
    claims: int = 100  # on one connection
    message_bytes: int = 65_536
    check_message_bytes: int = 262_144
    messages_per_s: float = 50.0
    burst_s: float = 2.0
    flood_s: float = 10.0
    errors: int = 20
    errors_s: float = 10.0
    default_ttl_s: float = 30.0
    hello_timeout_s: float = 5.0
    pong_timeout_s: float = 20.0
    outgoing_frame_bytes: int = 524_288


class Instance(NamedTuple):
    """One running copy of an agent."""

    name: str
    session: str  # empty: it beats over HTTP and belongs to no node
    start_ms: int
    n: int  # news counted per session: fences late and repeated batches
    rev: int  # how often somebody else than its session wrote its words
    ttl_ms: int
    why: str  # the reason to give if its lease lapses; empty: expired
    pairs: tuple[tuple[int, int], ...]  # (from when, rank)
    heard_ms: int | None  # set when the lease does not tell it: cut, or gone
    said_ms: int  # when its newest news came
    progressed_ms: int
    worded_ms: int  # since when its own word is what it is
    words: Words
    lease_ms: int | None  # None: it holds none
    held: bool = False  # its lease ran out while the service was away, and counts on for a while

    @property
    def last_heartbeat_ms(self) -> int:
        if self.heard_ms is not None or self.lease_ms is None:
            return self.heard_ms or self.said_ms
        return self.lease_ms - self.ttl_ms


class Override(NamedTuple):
    """What an operator says of an agent, in place of its own word."""

    rank: int
    why: str
    until_ms: int | None  # None: until it is taken back


class Record(NamedTuple):
    """An agent as the store remembers it."""

    seq: int
    at_ms: int
    rank: int
    since_ms: int  # since when it has this rank
    up_ms: int  # when its present or last life began
    down_ms: int  # when its last life ended; 0: it has never ended
    why: str
    text: str
    last: Instance | None  # the instance that was there last, when none is left
    instances: tuple[Instance, ...]
    claims: tuple[tuple[str, str], ...] = ()  # the token of each, and the instance that it is on
    override: Override | None = None
    freed_ms: int = 0  # when the last claim ended; 0: none has
    due_ms: int = 0  # when its next run is due; 0: none is


class Presence(NamedTuple):
    """What is known of an agent now."""

    id: str
    project: str
    rank: int
    state: str
    words: Words
    capabilities: tuple[str, ...]
    slots: int
    free_slots: int
    last_heartbeat_ms: int
    expires_at_ms: int | None
    held: bool
    last_progress_ms: int
    busy_until_ms: int | None
    online_since_ms: int | None
    offline_since_ms: int | None
    reason: str | None
    reason_text: str | None
    instances: tuple[tuple[Instance, str], ...]  # with the state of each
    epoch: str
    seq: int
    claims: tuple[tuple[str, str], ...] = ()
    override: Override | None = None
    idle_since_ms: int = 0  # since when nobody has given it anything to do
    next_active_ms: int | None = None  # when its next run is due

    @property
    def alive(self) -> bool:
        return self.rank > 1


def same(given: Any, wanted: Any) -> bool:
    """Compare as JSON does: true is not 1, however deep it stands."""
    if isinstance(given, bool) or isinstance(wanted, bool):
        return given is wanted
    if isinstance(given, dict) and isinstance(wanted, dict):
        return given.keys() == wanted.keys() and all(same(given[k], wanted[k]) for k in given)
    if isinstance(given, list) and isinstance(wanted, list):
        return len(given) == len(wanted) and all(map(same, given, wanted))
    return bool(given == wanted)
