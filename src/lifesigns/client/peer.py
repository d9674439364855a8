"""Peers that are held: renewed in time, and watched over."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from lifesigns.client.connection import Connection, Frames
from lifesigns.client.signal import Signal
from lifesigns.core.caller import Received
from lifesigns.core.claim import HELD_MS
from lifesigns.core.errors import Conflict, LifesignsError, NotFound, Unavailable

SOON_RELEASED_S = 2.0  # a program that lets go waits no longer for the hub to know
RELEASE_S = 10.0
SHORTEST_PAUSE_S = 0.3


class Peer:
    """An agent that is held: hand it work, and look at ``lost`` before relying on it."""

    def __init__(self, claimed: Mapping[str, Any], ttl_s: float, until: float) -> None:
        self.claim: str = claimed["claim"]
        self.id: str = claimed["agent"]
        self.instance: str = claimed["instance"]
        self.fence: int = claimed["fence"]
        self.note: str | None = claimed.get("note")
        self.expires_at: str = claimed["expires_at"]
        self.presence: dict[str, Any] = claimed["presence"]
        self.lost = Signal()  # it is not held any more
        self.doubtful = Signal()  # it may not be there, or we cannot know
        self.ttl_s = ttl_s
        self.until = until  # on the loop's clock: not held longer without a renewal
        self.away = False  # the doubt is about our own connection
        self.due = asyncio.Event()  # it is to be renewed before its time


class Claims:
    """What is held over one connection."""

    def __init__(self) -> None:
        self._held: dict[str, Peer] = {}
        self._new: dict[str, Peer] = {}  # whose asker has not had its turn yet
        self._leaving: set[asyncio.Task[None]] = set()
        self._keepers: dict[str, asyncio.Task[None]] = {}
        self._connection: Connection | None = None

    def attach(self, connection: Connection) -> None:
        self._connection = connection

    def names(self) -> list[str]:
        """Name what is held: a hello does, so that the hub goes on holding it."""
        return list(self._held)

    @property
    def connection(self) -> Connection:
        assert self._connection is not None, "it is attached when it is made"
        return self._connection

    async def claim(self, patience_s: float, ttl_s: float, fields: Mapping[str, Any]) -> Peer:
        frames = await self.connection.ask(
            "claim", patience_s, unread=self._give_back, ttl=ttl_s, **fields
        )
        peer = self._new.pop(frames[0]["claim"])
        peer.ttl_s = ttl_s
        peer.until = _now() + ttl_s
        peer.due.set()
        return peer

    def _give_back(self, frames: Frames) -> None:
        """Whoever claimed a peer was told to stop before it had it."""
        self.drop(self._new.pop(frames[0]["claim"]))

    def drop(self, peer: Peer) -> None:
        """Hold it no more, and do not wait for the hub to know."""
        self._forget(peer)
        self._let_go(peer.claim)

    async def release(self, peer: Peer) -> None:
        """Hold it no more."""
        self._forget(peer)
        if not peer.lost and self.connection.is_open:
            await asyncio.wait([self._let_go(peer.claim)], timeout=SOON_RELEASED_S)

    def _let_go(self, claim: str) -> asyncio.Task[None]:
        """Tell the hub, whether somebody waits for that or not."""
        task = asyncio.create_task(self._tell_hub(claim), name="lifesigns release")
        self._leaving.add(task)
        task.add_done_callback(self._leaving.discard)
        return task

    async def _tell_hub(self, claim: str) -> None:
        with suppress(LifesignsError):  # then it ends by itself
            await self.connection.ask("release", RELEASE_S, claim=claim)

    # What comes over the connection.

    def opened(self) -> None:
        for peer in self._held.values():
            peer.due.set()

    def broke(self) -> None:
        for peer in self._held.values():
            peer.away = True
            peer.until = min(peer.until, _now() + HELD_MS / 1000)
            peer.doubtful.tell("the hub cannot be reached")
            peer.due.set()

    def ended(self, error: LifesignsError | None) -> None:
        for peer in list(self._held.values()):
            self._lose(peer, "the connection is closed")

    def receive(self, received: Received) -> None:
        body = received.body
        if received.type == "claimed":
            if self.connection.awaits(received.ref):
                self._hold(body)
            else:  # whoever asked for it waits no more
                self._let_go(body["claim"])
            return
        peer = self._held.get(str(body.get("claim")))
        if peer is None:
            return
        if received.type == "lost" and body["final"]:
            self._lose(peer, body["why"])
        elif received.type == "lost":
            peer.doubtful.tell(body["why"])
        elif received.type == "regained":
            peer.doubtful.clear()

    def _hold(self, claimed: Mapping[str, Any]) -> None:
        # At once, not when the asker's turn has come: the next frame may say that it is lost.
        peer = Peer(claimed, ttl_s=1.0, until=_now() + 1.0)
        self._held[peer.claim] = self._new[peer.claim] = peer
        self._keepers[peer.claim] = asyncio.create_task(self._keep(peer), name="lifesigns claim")

    async def _keep(self, peer: Peer) -> None:
        """Renew a claim for as long as it can be."""
        await peer.due.wait()  # its ttl is known from then on
        peer.due.clear()
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(max(peer.ttl_s / 3, SHORTEST_PAUSE_S)):
                    await peer.due.wait()
            peer.due.clear()
            asked = _now()
            try:
                frames = await self.connection.ask(
                    "renew", max(0.0, peer.until - asked), claim=peer.claim
                )
            except (Conflict, NotFound) as error:
                self._lose(peer, error.message)
                return
            except Unavailable:
                if _now() >= peer.until:
                    self._lose(peer, "it could not be renewed in time")
                    return
            except LifesignsError:
                continue  # a hub over its rate, say: there are two more thirds to try
            else:
                self._renewed(peer, frames[0], asked)

    def _renewed(self, peer: Peer, ok: Mapping[str, Any], asked: float) -> None:
        peer.until = asked + peer.ttl_s
        peer.expires_at = ok.get("expires_at", peer.expires_at)
        if peer.away:
            peer.away = False
            peer.doubtful.clear()

    def _lose(self, peer: Peer, why: str) -> None:
        self._forget(peer)
        peer.lost.tell(why)

    def _forget(self, peer: Peer) -> None:
        self._held.pop(peer.claim, None)
        keeper = self._keepers.pop(peer.claim, None)
        if keeper is not None and keeper is not asyncio.current_task():
            keeper.cancel()


def _now() -> float:
    return asyncio.get_running_loop().time()
