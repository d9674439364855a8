"""All that one peer asks beside its beats: its checks, its watches, its claims.

There is one for each socket that has asked anything; most never do.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

from lifesigns.core.access import Grant
from lifesigns.core.errors import Internal, LifesignsError, NotFound
from lifesigns.core.request import (
    CheckAsked,
    ClaimAsked,
    PickAsked,
    ReleaseAsked,
    RenewAsked,
    UnwatchAsked,
    WatchAsked,
)
from lifesigns.core.session import ServerSession
from lifesigns.hub.packet import Sink
from lifesigns.store.lease import Lease
from lifesigns.web.answer import Checks, reply_to
from lifesigns.web.delegate import Delegate
from lifesigns.web.lobby import Lobby
from lifesigns.web.spectator import Spectator

log = logging.getLogger(__name__)

Delegating = PickAsked | ClaimAsked | RenewAsked | ReleaseAsked
Question = CheckAsked | WatchAsked | UnwatchAsked | Delegating


class Guest:
    """Answers one peer. Its watches go to a sink, all else is queued in its session."""

    __slots__ = ("_checks", "_delegate", "_grant", "_lobby", "_session", "_spectator", "_write")

    def __init__(
        self,
        lobby: Lobby,
        grant: Grant,
        lease: Lease | None,
        session: ServerSession,
        sink: Sink,
        write: Callable[[], None],
    ) -> None:
        self._lobby = lobby
        self._grant = grant
        self._session = session
        self._write = write
        project, limits = grant.project, lobby.limits
        self._checks = Checks(lobby, project, session, write)
        self._spectator = Spectator(lobby.fanout, project, session.codec, sink, limits.watches)
        self._delegate = Delegate(lobby, grant, lease, session, write)

    def ask(self, asked: Question) -> None:
        """Take a question; it is answered, or refused here and now."""
        if not isinstance(asked, WatchAsked | UnwatchAsked):
            self._lobby.store.check_able()  # if each waited for a late store, they would pile up
        if isinstance(asked, PickAsked):
            self._grant.allow_watch()
            self._delegate.ask(asked)
        elif isinstance(asked, Delegating):
            self._grant.allow_claim()
            self._delegate.ask(asked)
        elif isinstance(asked, UnwatchAsked):
            if not self._spectator.end(asked.watch):
                raise NotFound("This connection has no such watch.", field="watch")
            self._session.send(reply_to("ok", asked.ref))
        else:
            self._grant.allow_watch()
            if isinstance(asked, WatchAsked):
                self._lobby.spawn(self._watch(asked))
            elif (work := self._checks.ask(asked)) is not None:
                self._lobby.spawn(work)

    def take_along(self, claims: tuple[str, ...]) -> None:
        """Hold claims that the peer held over another socket."""
        self._delegate.take_along(claims)

    def pause(self) -> None:
        """The peer does not read."""
        self._checks.pause()

    def resume(self) -> None:
        """It reads again."""
        self._checks.resume()
        self._spectator.pump()

    def release(self) -> None:
        """It says goodbye: it claims nothing any more."""
        self._delegate.release_all()

    def close(self) -> None:
        """It is gone."""
        self._spectator.close()
        self._checks.close()
        self._delegate.close()

    async def _watch(self, asked: WatchAsked) -> None:
        try:
            await self._spectator.begin(asked)
        except LifesignsError as error:
            self._refuse(error, asked)
        except Exception:
            log.exception("a watch could not begin")
            self._refuse(Internal(), asked)

    def _refuse(self, error: LifesignsError, asked: Question) -> None:
        self._session.send_error(error, asked.ref)
        self._write()
