"""What is known of an agent beyond its life: whose it is, what is set up, and the links for that.

A link is minted by the agent for its owner. While one can still be used, asking for another of its
kind answers the same, so that a loop that always asks makes no heap of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Any, Final, Literal

from lifesigns.core.errors import Conflict, NotFound
from lifesigns.core.instant import to_text, to_text_or_none
from lifesigns.core.presence import agent_uuid
from lifesigns.dialects.callboard.refusal import Invalid

Kind = Literal["CLAIM", "CARD", "PAYOUT"]
PAYMENT_KINDS: Final[tuple[Kind, ...]] = ("CARD", "PAYOUT")

DAY_MS: Final = 86_400_000
# For how long a link is good, and how many are remembered so that their ends can be told.
GOOD_MS: Final[Mapping[Kind, int]] = {"CLAIM": 7 * DAY_MS, "CARD": DAY_MS, "PAYOUT": DAY_MS}
LINKS: Final = 20

FLAGS: Final[Mapping[str, str]] = {
    "claimed": "claimed",
    "cardReady": "card_ready",
    "payoutReady": "payout_ready",
    "ownerAttending": "owner_attending",
}


@dataclass(frozen=True, slots=True)
class Link:
    """One link for an owner."""

    id: str
    kind: Kind
    created_ms: int
    expires_ms: int
    completed_ms: int | None = None

    def status(self, now_ms: int) -> str:
        if self.completed_ms is not None:
            return "COMPLETED"
        return "EXPIRED" if now_ms >= self.expires_ms else "PENDING"


@dataclass(frozen=True, slots=True)
class Account:
    """One agent, as its owner and the hub's operators have set it up."""

    agent: str
    created_ms: int
    claimed: bool = False
    card_ready: bool = False
    payout_ready: bool = False
    owner_attending: bool = False  # is in a chat with the agent right now
    links: tuple[Link, ...] = ()

    def pending(self, kinds: tuple[Kind, ...], now_ms: int) -> Link | None:
        """Find a link of these kinds that can still be used."""
        found = (link for link in self.links if link.kind in kinds)
        return next((link for link in found if link.status(now_ms) == "PENDING"), None)

    def link(self, link_id: str) -> Link:
        """Find a payment's link; a claim's has no address of its own."""
        for link in self.links:
            if link.id == link_id and link.kind in PAYMENT_KINDS:
                return link
        raise NotFound("There is no such link.")


def pack(account: Account) -> dict[str, Any]:
    """Lay an account out to be kept."""
    return asdict(account)


def unpack(body: Mapping[str, Any]) -> Account:
    """Read an account that was kept, by a hub of whatever version."""
    known = {name: value for name, value in body.items() if name in _FIELDS}
    return Account(**known | {"links": tuple(Link(**link) for link in body["links"])})


_FIELDS: Final = frozenset(each.name for each in fields(Account))


def mint(account: Account, kind: Kind, link_id: str, now_ms: int) -> tuple[Account, Link]:
    """Give the link of a kind, a new one called ``link_id`` if none can be used."""
    if _is_set_up(account, kind):
        raise Conflict(_SET_UP[kind])
    former = account.pending((kind,), now_ms)
    if former is not None:
        return account, former
    link = Link(link_id, kind, now_ms, now_ms + GOOD_MS[kind])
    return replace(account, links=(*account.links, link)[-LINKS:]), link


_SET_UP: Final[Mapping[Kind, str]] = {
    "CLAIM": "This agent has an owner already.",
    "CARD": "The card is set up already.",
    "PAYOUT": "Payouts are set up already.",
}


def _is_set_up(account: Account, kind: Kind) -> bool:
    if kind == "CLAIM":
        return account.claimed
    return account.card_ready if kind == "CARD" else account.payout_ready


def kind_of(body: Mapping[str, Any]) -> Kind:
    """Take which payment a link is for."""
    for kind in PAYMENT_KINDS:
        if body.get("kind") == kind:
            return kind
    raise Invalid({"kind": f"kind is one of {', '.join(PAYMENT_KINDS)}."})


def settled(account: Account, body: Mapping[str, Any], now_ms: int) -> Account:
    """Note what an operator says is set up; the links for it are completed."""
    wrong = {
        name: f"{name} is true or false."
        for name in FLAGS
        if name in body and not isinstance(body[name], bool)
    }
    if wrong:
        raise Invalid(wrong)
    said = {own: body[name] for name, own in FLAGS.items() if name in body}
    account = replace(account, **said)
    links = tuple(
        replace(link, completed_ms=now_ms)
        if link.status(now_ms) == "PENDING" and _is_set_up(account, link.kind)
        else link
        for link in account.links
    )
    return replace(account, links=links)


def spell_link(own: Account, link: Link, address: str, now_ms: int) -> dict[str, Any]:
    """Spell a link out; ``address`` is the hub's."""
    return {
        "id": link.id,
        "kind": link.kind,
        "status": link.status(now_ms),
        "url": f"{address}/setup/{own.agent}/{link.kind.lower()}/{link.id}",
        "createdAt": to_text(link.created_ms),
        "expiresAt": to_text(link.expires_ms),
        "completedAt": to_text_or_none(link.completed_ms),
    }


def spell(project: str, account: Account) -> dict[str, Any]:
    """Spell out whose an agent is and what is set up."""
    return {
        "id": agent_uuid(project, account.agent),
        "handle": account.agent,
        "claimed": account.claimed,
        "ownerAttending": account.owner_attending,
        **readiness(account),
        "createdAt": to_text(account.created_ms),
    }


def readiness(account: Account) -> dict[str, bool]:
    """Tell what of the payments is set up."""
    return {"cardReady": account.card_ready, "payoutReady": account.payout_ready}
