"""What an agent says of itself: the latest value of each field, and which of them are news.

It takes no more room while nobody listens than while somebody does. A hello says all of it, a beat
what has changed since. Knows no socket; time is an argument.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from copy import deepcopy
from typing import Any

from lifesigns.core import field
from lifesigns.core.access import check_agent_id, check_instance
from lifesigns.core.errors import BadValue
from lifesigns.core.instant import LAST_MS
from lifesigns.core.model import Limits

FIELDS = (*field.DESCRIBING, "ttl")
QUIET = ("busy_for", "busy_until")  # two ways to say one thing: the later counts
LARGEST = Limits()


class Portrait:
    """One instance of an agent, in its own words."""

    __slots__ = ("_news", "_said", "agent", "instance", "number")

    def __init__(self, agent: str, instance: str) -> None:
        self.agent = check_agent_id(agent)
        self.instance = check_instance(instance)
        self._said: dict[str, Any] = {}
        self._news: set[str] = set()  # names of fields that were not told since they changed
        self.number = 0  # how often something was said

    def say(self, fields: Mapping[str, Any], now: float) -> int:
        """Take what is said from now on, checked; answer its number."""
        fields = {name: _plain(value) for name, value in fields.items()}
        for name in fields:
            if name not in FIELDS:
                raise BadValue(f"An agent has no field {name[:64]!r}.", field=name[:64])
        field.ttl_ms(fields, LARGEST)
        # Whether a quiet phase ends within a day is the hub's to judge, by its own clock.
        field.describing(fields, LARGEST, LAST_MS)
        if "status" in fields and "state" not in fields:
            fields["state"] = None  # as the hub has it: a new status drops an older hint
        for name in QUIET:
            if name in fields:
                for each in QUIET:
                    self._said.pop(each, None)
                    self._news.discard(each)
        for name, value in fields.items():
            if value is None:
                self._said.pop(name, None)
            else:
                self._said[name] = now + value if name == "busy_for" else value
        self._news.update(fields)
        self.number += 1
        return self.number

    def hello(self, now: float) -> dict[str, Any]:
        """Describe it whole; nothing is news after that."""
        self._news.clear()
        whole = {name: self._value(name, now) for name in self._said}
        return {"agent": self.agent, "instance": self.instance, **whole}

    @property
    def has_news(self) -> bool:
        return bool(self._news)

    def news(self, now: float) -> dict[str, Any]:
        """Tell what has changed since it was last told; it is no news after that."""
        names, self._news = self._news, set()
        return {name: self._value(name, now) for name in sorted(names)}

    def tell_again(self, names: Iterable[str]) -> None:
        """What was told of these fields was not taken."""
        self._news.update(names)

    def drop(self, name: str) -> bool:
        """Say no more of a field that the hub does not take; answer whether there was one."""
        self._news.discard(name)
        return self._said.pop(name, None) is not None

    def _value(self, name: str, now: float) -> Any:
        value = self._said.get(name)
        return max(0.0, value - now) if name == "busy_for" and value is not None else value


def _plain(value: Any) -> Any:
    """Keep what is said as it is now: whoever said it may go on to alter it."""
    if isinstance(value, tuple | set | frozenset):
        value = sorted(value) if isinstance(value, set | frozenset) else list(value)
    return deepcopy(value)
