"""Whether a receiver is dead: it has answered nothing well for long, and is left in peace.

While its circuit is open nobody is kept waiting for it: what is due counts as tried. When its time
is over, one message goes to see, and all others wait for what comes of it. Must not know what time
it is.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from lifesigns.core.instant import to_text

KIND: Final = "circuit"  # of the documents in which they are kept, named by their webhooks

FAILURES: Final = 10  # in a row, and
SILENCE_MS: Final = 60_000  # nothing good for so long: a restart is over by then
OPEN_MS: Final = (30_000, 60_000, 120_000, 300_000)  # how long it stays open, the first time ...
PROBE_MS: Final = 20_000  # longer than one message may take


@dataclass(frozen=True, slots=True)
class Circuit:
    """How a receiver has done since it last did well."""

    failures: int = 0
    since_ms: int = 0
    until_ms: int = 0  # open until then
    opened: int = 0  # how often
    probed: bool = False  # one message has gone to see
    error: str = ""  # the last one

    def admits(self, now_ms: int) -> bool:
        """Tell whether something may be sent."""
        return now_ms >= self.until_ms

    def body(self) -> dict[str, Any]:
        """Lay it out as it is kept."""
        return {name: getattr(self, name) for name in self.__slots__}


def circuit_of(body: Mapping[str, Any] | None) -> Circuit:
    """Read one that was kept; a receiver of which nothing is kept does well."""
    return Circuit() if body is None else Circuit(**body)


def failed(circuit: Circuit, now_ms: int, error: str) -> Circuit:
    """Count a failure."""
    since_ms = circuit.since_ms or now_ms
    after = replace(circuit, failures=circuit.failures + 1, since_ms=since_ms, error=error)
    begun_before = not circuit.admits(now_ms) and not circuit.probed
    if begun_before or after.failures < FAILURES or now_ms - since_ms < SILENCE_MS:
        return after
    open_ms = OPEN_MS[min(circuit.opened, len(OPEN_MS) - 1)]
    return replace(after, until_ms=now_ms + open_ms, opened=circuit.opened + 1, probed=False)


def probing(circuit: Circuit, now_ms: int) -> Circuit:
    """Keep the others back while one message sees how it is."""
    return replace(circuit, until_ms=now_ms + PROBE_MS, probed=True)


def spell(circuit: Circuit, now_ms: int) -> dict[str, Any]:
    """Spell out how a receiver does."""
    return {
        "failures": circuit.failures,
        "failing_since": to_text(circuit.since_ms) if circuit.failures else None,
        "last_error": circuit.error or None,
        "circuit": "closed" if circuit.admits(now_ms) else "open",
    }
