"""Which agents are meant: a map of conditions that must all hold."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from lifesigns.core.access import covers, is_agent_id
from lifesigns.core.errors import BadValue
from lifesigns.core.model import Presence, Words, same
from lifesigns.core.presence import STATES


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
    metadata: Mapping[str, Sequence[Any]] = field(default_factory=dict)  # one of each key's values
    alive: bool | None = None

    @property
    def everything(self) -> bool:
        """Whether it asks nothing."""
        parts = (self.ids, self.state, self.capability, self.metadata)
        return self.alive is None and not any(parts) and not any(getattr(self, w) for w in WORDS)

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
        return self.suits(words)

    @property
    def worded(self) -> bool:
        """Whether it asks for what an agent says of itself, capabilities aside."""
        return bool(self.metadata) or any(getattr(self, part) for part in WORDS)

    def suits(self, words: Words) -> bool:
        """Tell whether an agent that says this may be meant: all but its capabilities is right."""
        for part in WORDS:
            wanted = getattr(self, part)
            if wanted and getattr(words, part) not in wanted:
                return False
        if self.metadata:
            given = words.metadata or {}
            return all(
                any(same(given.get(key), value) for value in values)
                for key, values in self.metadata.items()
            )
        return True


WORDS = ("status", "dialect", "name", "group", "host", "did")

LISTS = ("ids", "state", "capability", *WORDS)
LONGEST_LIST = 1_000
MOST_NAMED = 100  # agents of which one watch is shown every beat
NOBODY = ("\x00",)  # no agent says it of itself


def filter_of(message: Mapping[str, Any]) -> Filter:
    """Take the filter out of a message; a part that nobody knows would show too much."""
    given = message.get("filter")
    if given is None:
        return Filter()
    if not isinstance(given, dict):
        raise BadValue("filter is a map.", field="filter")
    parts: dict[str, Any] = {}
    for name, value in given.items():
        path = f"filter.{name}"
        if value is None:
            continue
        if name in LISTS:
            parts[name] = _texts(value, path)
            if not parts[name] and name != "capability":
                parts[name] = NOBODY  # one of none: an empty list of peers is not the whole fleet
        elif name == "metadata":
            if not isinstance(value, dict):
                raise BadValue(f"{path} is a map.", field=path)
            parts[name] = {key: (each,) for key, each in value.items()}
        elif name == "alive":
            if not isinstance(value, bool):
                raise BadValue(f"{path} is true or false.", field=path)
            parts[name] = value
        else:
            raise BadValue(f"A filter has no part {name[:64]!r}.", field=path[:128])
    unknown = set(parts.get("state", ())) - {*STATES, *NOBODY}
    if unknown:
        raise BadValue(f"A state is one of {', '.join(STATES)}.", field="filter.state")
    return Filter(**parts)


def check_named(wanted: Filter) -> None:
    """Refuse a filter that does not name its agents one by one, or too many of them."""
    ids = wanted.ids
    if not 1 <= len(ids) <= MOST_NAMED or not all(map(is_agent_id, ids)):
        raise BadValue(
            f"Every beat is shown of 1 to {MOST_NAMED} agents, each named in full by ids.",
            field="filter.ids",
        )


def _texts(value: Any, path: str) -> tuple[str, ...]:
    if isinstance(value, str):  # one needs no list
        return (value,)
    if not isinstance(value, list) or not all(isinstance(each, str) for each in value):
        raise BadValue(f"{path} is a list of texts.", field=path)
    if len(value) > LONGEST_LIST:
        raise BadValue(f"{path} has at most {LONGEST_LIST} entries.", field=path)
    return tuple(value)
