"""What lies in an agent's inbox: its kinds, its name, and how it is spelled out.

A letter is named by its number in the inbox and the agent's id, so that whoever acknowledges it
need not say whose it is. Must not know how it is kept.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from lifesigns.core.access import check_agent_id
from lifesigns.core.errors import BadRequest
from lifesigns.core.instant import to_text

KINDS = ("assigned", "unassigned", "run", "job", "slot", "tell")

_ID = re.compile(r"([0-9]{1,15}-[0-9]{1,15})-(.+)")


@dataclass(frozen=True, slots=True)
class Letter:
    """Something that an agent was told."""

    agent: str
    number: str  # <ms>-<n>: when it came, and a count within that
    kind: str
    body: Mapping[str, Any]

    @property
    def id(self) -> str:
        return f"{self.number}-{self.agent}"

    def frame(self) -> dict[str, Any]:
        """Spell it out as a socket is told it."""
        at_ms = int(self.number.partition("-")[0])
        return {**self.body, "type": self.kind, "id": self.id, "at": to_text(at_ms)}

    def entry(self) -> dict[str, Any]:
        """Spell it out as whoever polls is told it."""
        return {**self.frame(), "kind": self.kind}


def read_id(letter_id: str, field: str = "id") -> tuple[str, str]:
    """Take a letter's id; answer the agent and the number."""
    found = _ID.fullmatch(letter_id)
    if found is None:
        raise BadRequest(f"No message is called {letter_id[:64]!r}.", field=field)
    return check_agent_id(found[2], field), found[1]
