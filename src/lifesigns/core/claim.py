"""A claim: a delegator's exclusive, fenced hold on one slot of an agent.

Its id ends in the agent's, so that whoever has the id finds the agent. Nothing here knows how a
claim is stored, or who is told of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from lifesigns.core.errors import BadValue, Busy, LifesignsError, NotAlive
from lifesigns.core.instant import to_text
from lifesigns.core.model import Presence
from lifesigns.core.presence import OFFLINE, STATES, full

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


@dataclass(frozen=True, slots=True)
class Order:
    """What a delegator wants to be noted with the claim that it gets."""

    token: str
    holder: str
    by: str
    note: str
    ttl_ms: int
    bound: bool
    asker: str | None = None  # the agent that asks: nobody is given itself


class Candidate(NamedTuple):
    """An agent that was judged as it was at this number, and the instance to be claimed."""

    agent: str
    epoch: str
    seq: int
    instance: str


@dataclass(frozen=True, slots=True)
class Won:
    """A claim that is held from this number of its agent's changes on."""

    claim: Claim
    epoch: str
    seq: int


class Tried(NamedTuple):
    """A candidate as it is now."""

    agent: str
    presence: Presence | None  # None: it was never seen
    late: bool  # nothing of it has altered, but its lease or its state has run out


def candidate_of(presence: Presence) -> Candidate | None:
    """Choose the instance of an agent that is to be claimed; None if none can be.

    The best one, the one with the most slots free among those, the newest of these.
    """
    if presence.free_slots <= 0:
        return None
    held = [instance for _, instance in presence.claims]
    _, _, _, name = max(
        (STATES.index(state), i.words.slots - held.count(i.name), i.start_ms, i.name)
        for i, state in presence.instances
    )
    return Candidate(presence.id, presence.epoch, presence.seq, name)


def refusal(agent: str, presence: Presence | None) -> LifesignsError:
    """Say why an agent that was named cannot be claimed."""
    state = STATES[OFFLINE] if presence is None else presence.state
    if presence is None or not presence.alive:
        return NotAlive(f"{agent!r} is {state}.", state=state)
    return Busy(f"{agent!r} takes no work now: it is {state}.", state=state)


class Standing(NamedTuple):
    """How it is with a claim: ``why`` it is lost or in doubt; empty while all is well."""

    why: str
    final: bool


DOUBTFUL = ("suspect", "stalled")


def standing(claim: Claim, presence: Presence | None, now_ms: int) -> Standing:
    """Judge a claim by what is known of its agent."""
    if presence is None:
        return Standing("forgotten", True)
    found = next((each for each in presence.instances if each[0].name == claim.instance), None)
    if not presence.alive:
        return Standing("revoked" if presence.reason == "revoked" else "offline", True)
    if found is None:
        return Standing("offline", True)
    if (claim.token, claim.instance) not in presence.claims:
        return Standing("expired" if now_ms >= claim.ends_ms else "released", True)
    instance, state = found
    if state not in DOUBTFUL:
        return Standing("", False)
    return Standing("node_lost" if instance.why == "node_lost" else state, False)


def claim_id(token: str, agent: str) -> str:
    """Name a claim."""
    return f"{token}@{agent}"


def agent_of_claim(claim: str) -> str:
    """Tell whose slot a claim is on."""
    return claim.partition("@")[2]


def check_claim(value: Any, path: str = "claim") -> str:
    """Take the id of a claim; one that names none is that of a claim which is lost."""
    if not isinstance(value, str):
        raise BadValue(f"{path} is a text.", field=path)
    return value


def assignment(claim: str, by: str, note: str, fence: int, ends_ms: int) -> dict[str, Any]:
    """Spell out what a claimed agent is told."""
    return {
        "claim": claim,
        "by": by,
        "note": note or None,
        "fence": fence,
        "expires_at": to_text(ends_ms),
    }


def spell_told(kind: str, details: Sequence[Any]) -> dict[str, Any]:
    """Spell out what the scripts have to say to a claimed agent."""
    if kind == "assigned":
        return assignment(*details)
    claim, why = details
    return {"claim": claim, "why": why}


def assigned(claim: Claim) -> dict[str, Any]:
    """Spell out a claim as the claimed agent sees it."""
    return assignment(claim.id, claim.by, claim.note, claim.fence, claim.ends_ms)


def listed(claim: Claim) -> dict[str, Any]:
    """Spell out a claim as a list has it."""
    return {
        **assigned(claim),
        "agent": claim.agent,
        "instance": claim.instance,
        "ttl": claim.ttl_ms / 1000,
        "claimed_at": to_text(claim.begun_ms),
    }


def claimed(claim: Claim, presence: Presence) -> dict[str, Any]:
    """Spell out a claim as the one who made it sees it."""
    return {
        "claim": claim.id,
        "agent": claim.agent,
        "instance": claim.instance,
        "fence": claim.fence,
        "note": claim.note or None,
        "expires_at": to_text(claim.ends_ms),
        "presence": full(presence),
    }


def holder_of(name: str, instance: str | None) -> str:
    """Name a holder: an instance of an agent, or else a key."""
    return f"key {name}" if instance is None else f"agent {name} {instance}"
