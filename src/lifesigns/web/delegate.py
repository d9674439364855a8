"""The claims of one connection: made, renewed, let go, and told of while they are held."""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import Callable, Coroutine
from typing import Any

from lifesigns.core.access import Grant
from lifesigns.core.claim import Claim, Order, Won, agent_of_claim, claimed, holder_of
from lifesigns.core.errors import BadRequest, ClaimLost, Internal, LifesignsError, Unavailable
from lifesigns.core.instant import to_text
from lifesigns.core.presence import DETAILS
from lifesigns.core.request import ClaimAsked, PickAsked, ReleaseAsked, RenewAsked
from lifesigns.core.session import ServerSession
from lifesigns.store.lease import Lease
from lifesigns.web.answer import reply_to, send_listed
from lifesigns.web.lobby import Lobby

log = logging.getLogger(__name__)

Asked = PickAsked | ClaimAsked | RenewAsked | ReleaseAsked

TOKEN_BYTES = 6
ALONG_S = 10.0  # for so long it is tried to take a claim along that was held before
AGAIN_S = 0.25


class Delegate:
    """One connection as a delegator."""

    def __init__(
        self,
        lobby: Lobby,
        grant: Grant,
        lease: Lease | None,
        session: ServerSession,
        write: Callable[[], None],
    ) -> None:
        self._lobby = lobby
        self._claims = lobby.claims
        self._delegation = lobby.delegation
        self._project = grant.project
        self._by = grant.key_id if lease is None else lease.agent
        self._asker = None if lease is None else lease.agent
        instance = None if lease is None else lease.instance
        self._holder = holder_of(self._by, instance)
        self._session = session
        self._write = write
        self._held: dict[str, Claim] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._claiming = 0
        self._closed = False

    def ask(self, asked: Asked) -> None:
        """Take a question; it is answered later."""
        if isinstance(asked, ClaimAsked):
            most = self._lobby.limits.claims
            if len(self._held) + self._claiming >= most:
                raise BadRequest(f"At most {most} claims at once.")
            self._claiming += 1
            self._run(self._claim(asked), asked.ref)
        elif isinstance(asked, PickAsked):
            self._run(self._pick(asked), asked.ref)
        elif isinstance(asked, RenewAsked):
            self._run(self._renew(asked), asked.ref)
        else:
            self._run(self._release(asked), asked.ref)

    def take_along(self, claims: tuple[str, ...]) -> None:
        """Hold claims that were held over another socket."""
        for claim in claims[: self._lobby.limits.claims]:
            self._run(self._take_along(claim), None)

    def release_all(self) -> None:
        """Let all claims go."""
        for claim in list(self._held.values()):
            self._forget(claim)
            self._lobby.spawn(self._let_go(claim))

    def close(self) -> None:
        """The peer is gone: its claims outlive it for a while from now."""
        self._closed = True
        for task in self._tasks:
            task.cancel()
        held = list(self._held.values())
        for claim in held:
            self._forget(claim)
        if held:
            self._lobby.spawn(self._part(held))

    def _run(self, work: Coroutine[Any, Any, None], ref: str | int | None) -> None:
        task = self._lobby.loop.create_task(self._answer(work, ref))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _answer(self, work: Coroutine[Any, Any, None], ref: str | int | None) -> None:
        try:
            await work
        except LifesignsError as error:
            self._session.send_error(error, ref)
        except Exception:
            log.exception("a claim failed")
            self._session.send_error(Internal(), ref)
        self._write()

    async def _pick(self, asked: PickAsked) -> None:
        found = await self._delegation.pick(self._project, asked.wanted, asked.n, self._asker)
        spell = DETAILS[asked.detail]
        entries = [spell(presence) for presence in found]
        room = self._lobby.limits.outgoing_frame_bytes
        send_listed(self._session, "picked", asked.ref, entries, room)

    async def _claim(self, asked: ClaimAsked) -> None:
        order = Order(
            token=new_token(),
            holder=self._holder,
            by=self._by,
            note=asked.note,
            ttl_ms=asked.ttl_ms,
            bound=True,
            asker=self._asker,
        )
        try:
            won, presence = await self._delegation.claim(
                self._project, order, asked.agent, asked.wanted, asked.wait_s
            )
        finally:
            self._claiming -= 1
        self._session.send(reply_to("claimed", asked.ref, **claimed(won.claim, presence)))
        await self._hold(won)

    async def _renew(self, asked: RenewAsked) -> None:
        won = await self._claims.renew(
            self._project, asked.claim, self._holder, asked.ttl_ms, bound=True
        )
        expires_at, fence = to_text(won.claim.ends_ms), won.claim.fence
        ok = reply_to("ok", asked.ref, claim=asked.claim, expires_at=expires_at, fence=fence)
        self._session.send(ok)
        if asked.claim in self._held:
            self._held[asked.claim] = won.claim
            self._delegation.retime(self._project, won.claim)
        else:
            await self._hold(won)

    async def _release(self, asked: ReleaseAsked) -> None:
        held = self._held.get(asked.claim)
        if held is not None:
            self._forget(held)  # first: it is no news to whoever does it
        await self._claims.release(self._project, asked.claim, self._holder, "released")
        self._session.send(reply_to("ok", asked.ref, claim=asked.claim))

    async def _take_along(self, claim: str) -> None:
        until = self._lobby.loop.time() + ALONG_S
        while True:
            try:
                won = await self._claims.renew(self._project, claim, self._holder, 0, bound=True)
            except ClaimLost:
                self._lose(claim, "expired")
                return
            except Unavailable:
                if self._lobby.loop.time() > until:
                    self._lose(claim, "expired")
                    return
                await asyncio.sleep(AGAIN_S)
            else:
                await self._hold(won)
                return

    async def _hold(self, won: Won) -> None:
        self._held[won.claim.id] = won.claim
        await self._delegation.keep(self._project, won, self._tell)

    def _tell(self, claim: Claim, why: str, final: bool) -> None:
        """Say how a claim stands that is held here."""
        if final:
            self._held.pop(claim.id, None)
            self._lose(claim.id, why)
        elif why:
            self._lose(claim.id, why, final=False)
        else:
            self._session.send({"type": "regained", "claim": claim.id, "agent": claim.agent})
        self._write()

    def _lose(self, claim: str, why: str, *, final: bool = True) -> None:
        agent = agent_of_claim(claim)
        lost = {"type": "lost", "claim": claim, "agent": agent, "why": why, "final": final}
        self._session.send(lost)

    def _forget(self, claim: Claim) -> None:
        del self._held[claim.id]
        self._delegation.drop(self._project, claim)

    async def _let_go(self, claim: Claim) -> None:
        try:
            await self._claims.release(self._project, claim.id, self._holder, "released")
        except LifesignsError as error:  # it ends by itself
            log.debug("a claim could not be released: %s", error)

    async def _part(self, held: list[Claim]) -> None:
        try:
            await self._claims.hold(self._project, held)
        except LifesignsError as error:  # then they end a little sooner
            log.debug("claims could not be held on: %s", error)


def new_token() -> str:
    """Make what tells one claim from all others."""
    return secrets.token_hex(TOKEN_BYTES)
