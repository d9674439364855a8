"""Which agents are meant: a map of conditions that must all hold."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from lifesigns.core.access import covers
from lifesigns.core.model import Presence


@dataclass(frozen=True, slots=True)
class Filter:
    """What an agent must be; an empty part asks nothing."""

    ids: Sequence[str] = ()  # a "*" at the end matches a prefix
    state: Sequence[str] = ()
    status: Sequence[str] = ()
    dialect: Sequence[str] = ()
    name: Sequence[str] = ()
    group: Sequence[str] = ()
    host: Sequence[str] = ()
    did: Sequence[str] = ()
    capability: Sequence[str] = ()  # all of them
    metadata: Mapping[str, Any] = field(default_factory=dict)
    alive: bool | None = None

    def matches(self, presence: Presence) -> bool:
        """Tell whether an agent is meant."""
        words = presence.words
        if self.alive is not None and presence.alive is not self.alive:
            return False
        if self.state and presence.state not in self.state:
            return False
        if self.ids and not any(covers(pattern, presence.id) for pattern in self.ids):
            return False
        if not set(self.capability).issubset(presence.capabilities):
            return False
        for part in WORDS:
            wanted = getattr(self, part)
            if wanted and getattr(words, part) not in wanted:
                return False
        if self.metadata:
            given = words.metadata or {}
            return all(_equal(given.get(key), value) for key, value in self.metadata.items())
        return True


WORDS = ("status", "dialect", "name", "group", "host", "did")


def _equal(given: Any, wanted: Any) -> bool:
    """Compare as JSON does: true is not 1, however deep it stands."""
    if isinstance(given, bool) or isinstance(wanted, bool):
        return given is wanted
    if isinstance(given, dict) and isinstance(wanted, dict):
        return given.keys() == wanted.keys() and all(_equal(given[k], wanted[k]) for k in given)
    if isinstance(given, list) and isinstance(wanted, list):
        return len(given) == len(wanted) and all(map(_equal, given, wanted))
    return bool(given == wanted)
