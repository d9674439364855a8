"""A claim: a delegator's exclusive, fenced hold on one slot of an agent.

Its id ends in the agent's, so that whoever has the id finds the agent. Nothing here knows how a
claim is stored, or who is told of it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from lifesigns.core.access import check_agent_id
from lifesigns.core.errors import BadRequest, BadValue
from lifesigns.core.instant import to_text

TOKEN_LETTERS = 12
HELD_MS = 10_000  # how long a claim outlives the last sign of its holder's socket


@dataclass(frozen=True, slots=True)
class Claim:
    """Who holds which slot, and until when."""

    id: str
    instance: str  # the one that was claimed
    holder: str  # compared, never shown
    by: str  # what the claimed agent is told
    note: str
    fence: int
    ttl_ms: int
    begun_ms: int
    ends_ms: int  # unless it is renewed, or its holder's socket stays gone
    bound: bool  # to a socket of its holder

    @property
    def agent(self) -> str:
        return agent_of_claim(self.id)

    @property
    def token(self) -> str:
        return self.id.partition("@")[0]


def claim_id(token: str, agent: str) -> str:
    """Name a claim."""
    return f"{token}@{agent}"


def agent_of_claim(claim: str) -> str:
    """Tell whose slot a claim is on."""
    return claim.partition("@")[2]


def check_claim(value: Any, path: str = "claim") -> str:
    """Take the id of a claim, whether there is such a one or not."""
    if not isinstance(value, str):
        raise BadValue(f"{path} is a text.", field=path)
    token, _, agent = value.partition("@")
    if not (0 < len(token) <= TOKEN_LETTERS and token.isalnum() and token.isascii()):
        raise BadValue(f"{path} is the id of a claim.", field=path)
    try:
        check_agent_id(agent, path)
    except BadRequest as bad:
        raise BadValue(f"{path} is the id of a claim.", field=path) from bad
    return value


def assigned(claim: Claim) -> dict[str, Any]:
    """Spell out a claim as the claimed agent sees it."""
    return {
        "claim": claim.id,
        "by": claim.by,
        "note": claim.note or None,
        "fence": claim.fence,
        "expires_at": to_text(claim.ends_ms),
    }


def listed(claim: Claim) -> dict[str, Any]:
    """Spell out a claim as a list has it."""
    return {
        **assigned(claim),
        "agent": claim.agent,
        "instance": claim.instance,
        "ttl": claim.ttl_ms / 1000,
        "claimed_at": to_text(claim.begun_ms),
    }
