"""Claims as the store keeps them: taken, renewed, held on and let go, each in one script."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from typing import Any

import msgpack

from lifesigns.core.claim import (
    HELD_MS,
    Candidate,
    Claim,
    Order,
    Tried,
    Won,
    agent_of_claim,
    claim_id,
    spell_told,
)
from lifesigns.core.errors import ClaimLost
from lifesigns.core.model import Presence
from lifesigns.core.presence import present
from lifesigns.core.record import unpack_record
from lifesigns.store import script
from lifesigns.store.ingest import Ingest
from lifesigns.store.link import Link, Script, translated
from lifesigns.store.store import Store

ASSIGNED, UNASSIGNED = "assigned", "unassigned"  # what a hub is told of the agents that it has


class Claims:
    """The claims of all projects."""

    def __init__(self, link: Link, store: Store, ingest: Ingest) -> None:
        self._link = link
        self._store = store
        self._ingest = ingest
        self.made = 0
        self.refused = 0

    def lane_of(self, project: str, agent: str) -> int:
        """Tell in which of a project's lanes an agent is."""
        return self._store.lane(project, agent).number

    async def read(self, project: str, agent: str) -> Presence | None:
        """Read an agent as it is now; None if it was never seen."""
        return (await self._store.read(project, agent)).presence

    async def take(
        self, project: str, order: Order, candidates: Sequence[Candidate]
    ) -> tuple[Won | None, list[Tried]]:
        """Claim the first of some agents of one lane that is still as it was judged."""
        agent = candidates[0].agent
        flat = [part for candidate in candidates for part in candidate]
        token, holder, by, note = order.token, order.holder, order.by, order.note
        batch = [token, holder, by, note, order.ttl_ms, order.bound, flat]
        now_ms, epoch, gap, fence, *rest = await self._run(script.CLAIM, project, agent, batch)
        tried, seq = [], 0
        for at in range(0, len(rest), 4):
            why, packed, leases = rest[at + 1 : at + 4]
            name, presence = rest[at].decode(), None
            if packed:
                record = unpack_record(packed, leases, now_ms=now_ms, gap_ms=int(gap))
                presence = present(project, name, record, epoch=epoch.decode(), now_ms=now_ms)
                seq = presence.seq
            tried.append(Tried(name, presence, why == b"late"))
        if not fence:
            self.refused += 1
            return None, tried
        self.made += 1
        agent = tried[-1].agent
        instance = next(each.instance for each in candidates if each.agent == agent)
        claim = Claim(
            claim_id(token, agent),
            instance,
            holder,
            by,
            note,
            fence,
            ttl_ms=order.ttl_ms,
            begun_ms=now_ms,
            ends_ms=now_ms + order.ttl_ms,
            bound=order.bound,
        )
        return Won(claim, epoch.decode(), seq), tried

    async def renew(
        self, project: str, claim: str, holder: str, ttl_ms: int | None, *, bound: bool
    ) -> Won:
        """Let a claim last longer, and tie it to the socket that says so, or to none.

        Without a ttl it lasts as long as before; with 0, it ends when it did.
        """
        ttl = {None: 0, 0: -1}.get(ttl_ms, ttl_ms)
        agent, token = agent_of_claim(claim), claim.partition("@")[0]
        batch = [agent, token, holder, ttl, bound]
        _, epoch, seq, *terms = await self._run(script.CLAIM_RENEW, project, agent, batch)
        if not terms:
            raise ClaimLost("No such claim is held any more.", field="claim")
        return Won(_claim(claim, terms[0]), epoch.decode(), seq)

    async def release(self, project: str, claim: str, holder: str | None, why: str) -> None:
        """End a claim; with no holder, whoever holds it."""
        agent, token = agent_of_claim(claim), claim.partition("@")[0]
        batch = [agent, token, holder or "", why]
        if not (await self._run(script.CLAIM_RELEASE, project, agent, batch))[2]:
            raise ClaimLost("No such claim is held any more.", field="claim")

    async def hold(self, project: str, claims: Iterable[Claim]) -> None:
        """Tell that the holders of claims are there."""
        lanes: dict[bytes, list[Any]] = {}
        for claim in claims:
            key = self._store.lane(project, claim.agent).keys[8]
            lanes.setdefault(key, []).extend((claim.id, claim.ends_ms))
        calls = [((key,), (b"", HELD_MS, *flat)) for key, flat in lanes.items()]
        if calls:
            await translated(self._link.ask_scripts(script.CLAIM_HOLD, calls))

    async def all(self, project: str) -> list[Claim]:
        """List the claims of a project, the oldest first."""
        replies = await asyncio.gather(
            *[self._link.ask("HGETALL", lane.keys[9]) for lane in self._store.lanes(project)]
        )
        claims = [
            _claim(reply[at].decode(), reply[at + 1])
            for reply in replies
            for at in range(0, len(reply), 2)
        ]
        return sorted(claims, key=lambda claim: claim.fence)

    async def of_agent(self, project: str, agent: str) -> list[Claim]:
        """List the claims on an agent."""
        presence = await self.read(project, agent)
        if presence is None or not presence.claims:
            return []
        ids = [claim_id(token, agent) for token, _ in presence.claims]
        key = self._store.lane(project, agent).keys[9]
        terms = await self._link.ask("HMGET", key, *ids)
        return [_claim(id_, each) for id_, each in zip(ids, terms, strict=True) if each]

    async def count(self, project: str) -> int:
        """Count the claims of a project."""
        lanes = self._store.lanes(project)
        return sum(await asyncio.gather(*[self._link.ask("ZCARD", lane.keys[8]) for lane in lanes]))

    def told(self, about: str, details: Sequence[Any], session: str) -> None:
        """A slot of an agent was claimed, or is free again, which has its socket here."""
        lease = self._ingest.leases.get(session)
        if lease is not None:
            lease.holder.tell({"type": about, **spell_told(about, details)})

    async def _run(self, what: Script, project: str, agent: str, batch: list[Any]) -> Any:
        lane = self._store.lane(project, agent)
        packed = msgpack.packb(batch, use_bin_type=False)
        args = (b"", *lane.tail, packed)
        return await translated(self._link.ask_script(what, lane.keys, args))


def _claim(id_: str, terms: bytes) -> Claim:
    instance, holder, by, note, fence, ttl, begun, ends, bound = msgpack.unpackb(terms, raw=True)
    return Claim(
        id_,
        instance.decode(),
        holder.decode(),
        by.decode(),
        note.decode(),
        fence,
        ttl_ms=ttl,
        begun_ms=begun,
        ends_ms=ends,
        bound=bound,
    )
