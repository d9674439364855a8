"""What a peer may ask on a socket, and how its message is read.

One value for each type of message, its fields checked. What must not be asked before another
thing, and how often, is the session's business.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from lifesigns.core import field
from lifesigns.core.claim import check_claim
from lifesigns.core.errors import BadValue, UnknownType
from lifesigns.core.filter import Filter, check_named, filter_of
from lifesigns.core.model import Limits
from lifesigns.core.run import Report, agent_of_run, read_report

Ref = str | int | None
Message = Mapping[str, Any]

PROBE_MS = 1_000
LONGEST_PROBE_MS = 10_000
CLAIM_TTL_S = 60
LONGEST_CLAIM_TTL_S = 86_400
LONGEST_WAIT_S = 60
MOST_PICKED = 100
WATCH_DETAILS = ("full", "lite", "counts", "beats")


@dataclass(frozen=True, slots=True)
class Hello:
    ref: Ref
    agent: str | None
    instance: str | None
    ttl_ms: int
    said: Mapping[str, Any]
    claims: tuple[str, ...] = ()  # held before, over another socket


@dataclass(frozen=True, slots=True)
class Beat:
    ref: Ref
    ttl_ms: int | None
    said: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Bye:
    ref: Ref
    reason: str


@dataclass(frozen=True, slots=True)
class CheckAsked:
    ref: Ref
    agents: list[str]
    within_ms: float | None
    detail: str
    probe: bool = False
    timeout_ms: float = PROBE_MS


@dataclass(frozen=True, slots=True)
class PickAsked:
    ref: Ref
    wanted: Filter
    n: int
    detail: str


@dataclass(frozen=True, slots=True)
class ClaimAsked:
    ref: Ref
    agent: str | None  # None: whoever matches
    wanted: Filter
    ttl_ms: int
    wait_s: float
    note: str


@dataclass(frozen=True, slots=True)
class RenewAsked:
    ref: Ref
    claim: str
    ttl_ms: int | None  # None: as long as before


@dataclass(frozen=True, slots=True)
class ReleaseAsked:
    ref: Ref
    claim: str


@dataclass(frozen=True, slots=True)
class WatchAsked:
    ref: str | int
    wanted: Filter
    since: str | None
    detail: str


@dataclass(frozen=True, slots=True)
class UnwatchAsked:
    ref: Ref
    watch: str


@dataclass(frozen=True, slots=True)
class DoneAsked:
    ref: Ref
    run: str
    report: Report


@dataclass(frozen=True, slots=True)
class PingAsked:
    ref: Ref


@dataclass(frozen=True, slots=True)
class Sign:
    """The peer lives; it says nothing else."""


SIGN: Final = Sign()

Event = (
    Hello
    | Beat
    | Bye
    | CheckAsked
    | PickAsked
    | ClaimAsked
    | RenewAsked
    | ReleaseAsked
    | WatchAsked
    | UnwatchAsked
    | DoneAsked
    | PingAsked
    | Sign
)


def read(message: Message, ref: Ref, limits: Limits, now_ms: int) -> Event:
    """Take a message for what it asks; ``now_ms`` is in the store's time."""
    name = message.get("type")
    if not isinstance(name, str):
        raise BadValue("A message has a type, which is a text.", field="type")
    reader = READERS.get(name)
    if reader is None:
        raise UnknownType(f"No message is of the type {name[:64]!r}.", field="type")
    return reader(message, ref, limits, now_ms)


def _hello(message: Message, ref: Ref, limits: Limits, now_ms: int) -> Hello:
    ttl_ms = field.ttl_ms(message, limits) or round(limits.default_ttl_s * 1000)
    return Hello(
        ref=ref,
        agent=field.agent_of(message),
        instance=field.instance_of(message),
        ttl_ms=ttl_ms,
        said=field.describing(message, limits, now_ms),
        claims=_claims(message, limits),
    )


def _beat(message: Message, ref: Ref, limits: Limits, now_ms: int) -> Beat:
    return Beat(ref, field.ttl_ms(message, limits), field.describing(message, limits, now_ms))


def _bye(message: Message, ref: Ref, limits: Limits, now_ms: int) -> Bye:
    return Bye(ref, field.reason_of(message, limits))


def read_check(message: Message, ref: Ref, limits: Limits, now_ms: int = 0) -> CheckAsked:
    """Take a check, of a socket or of a request."""
    timeout_ms = field.number_of(message, "timeout", 0, LONGEST_PROBE_MS, PROBE_MS)
    assert timeout_ms is not None, "it has a default"
    return CheckAsked(
        ref=ref,
        agents=field.agents_of(message, limits),
        within_ms=field.number_of(message, "within", 0, 1e12),
        detail=field.choice_of(message, "detail", ("full", "lite")),
        probe=field.flag_of(message, "probe"),
        timeout_ms=timeout_ms,
    )


def read_pick(message: Message, ref: Ref, limits: Limits, now_ms: int = 0) -> PickAsked:
    """Take a dry run of a claim."""
    return PickAsked(
        ref=ref,
        wanted=filter_of(message),
        n=field.whole_of(message, "n", 1, MOST_PICKED, 1),
        detail=field.choice_of(message, "detail", ("full", "lite")),
    )


def read_claim(message: Message, ref: Ref, limits: Limits, now_ms: int = 0) -> ClaimAsked:
    """Take a claim on one agent, or on whoever matches."""
    agent = field.agent_of(message)
    if agent is not None and message.get("filter") is not None:
        raise BadValue("A claim is on an agent or by a filter, not both.", field="filter")
    wait_s = field.number_of(message, "wait", 0, LONGEST_WAIT_S, 0)
    assert wait_s is not None, "it has a default"
    return ClaimAsked(
        ref=ref,
        agent=agent,
        wanted=filter_of(message),
        ttl_ms=_claim_ttl_ms(message) or CLAIM_TTL_S * 1000,
        wait_s=wait_s,
        note=field.reason_of(message, limits, "note"),
    )


def read_renew(message: Message, ref: Ref, limits: Limits, now_ms: int = 0) -> RenewAsked:
    """Take the renewal of a claim."""
    return RenewAsked(ref, check_claim(message.get("claim")), _claim_ttl_ms(message))


def _release(message: Message, ref: Ref, limits: Limits, now_ms: int) -> ReleaseAsked:
    return ReleaseAsked(ref, check_claim(message.get("claim")))


def _watch(message: Message, ref: Ref, limits: Limits, now_ms: int) -> WatchAsked:
    if ref is None:
        raise BadValue("A watch needs a ref.", field="ref")
    since = message.get("since")
    wanted = filter_of(message)
    detail = field.choice_of(message, "detail", WATCH_DETAILS)
    if detail == "beats":
        check_named(wanted)
    return WatchAsked(
        ref=ref,
        wanted=wanted,
        since=None if since is None else field.text_of(message, "since"),
        detail=detail,
    )


def _unwatch(message: Message, ref: Ref, limits: Limits, now_ms: int) -> UnwatchAsked:
    return UnwatchAsked(ref, field.text_of(message, "watch"))


def _done(message: Message, ref: Ref, limits: Limits, now_ms: int) -> DoneAsked:
    run = field.text_of(message, "run")
    agent_of_run(run)
    return DoneAsked(ref, run, read_report(message, limits))


def _ping(message: Message, ref: Ref, limits: Limits, now_ms: int) -> PingAsked:
    return PingAsked(ref)


def _claim_ttl_ms(message: Message) -> int | None:
    ttl_s = field.number_of(message, "ttl", 1, LONGEST_CLAIM_TTL_S)
    return None if ttl_s is None else round(ttl_s * 1000)


def _claims(message: Message, limits: Limits) -> tuple[str, ...]:
    given = message.get("claims")
    if given is None:
        return ()
    if not isinstance(given, list) or len(given) > limits.claims:
        raise BadValue(f"claims is a list of at most {limits.claims} claims.", field="claims")
    return tuple(dict.fromkeys(check_claim(each, f"claims[{i}]") for i, each in enumerate(given)))


READERS: Final[Mapping[str, Callable[[Message, Ref, Limits, int], Event]]] = {
    "hello": _hello,
    "beat": _beat,
    "bye": _bye,
    "check": read_check,
    "pick": read_pick,
    "claim": read_claim,
    "renew": read_renew,
    "release": _release,
    "watch": _watch,
    "unwatch": _unwatch,
    "done": _done,
    "ping": _ping,
}
