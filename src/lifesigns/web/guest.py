"""All that one peer asks beside its beats: its checks, its watches, its claims; and its runs.

There is one for each socket that has asked anything; most never do.
"""

from __future__ import annotations

import logging
import secrets
from collections.abc import Callable

from lifesigns.core.access import Grant
from lifesigns.core.errors import Internal, LifesignsError, NotFound, Unavailable
from lifesigns.core.request import (
    CheckAsked,
    ClaimAsked,
    DoneAsked,
    PickAsked,
    ReleaseAsked,
    RenewAsked,
    UnwatchAsked,
    WatchAsked,
)
from lifesigns.core.run import agent_of_run
from lifesigns.core.session import ServerSession
from lifesigns.hub.packet import Sink
from lifesigns.store.lease import Lease
from lifesigns.store.link import ReplyError
from lifesigns.web.answer import Checks, reply_to
from lifesigns.web.delegate import Delegate
from lifesigns.web.lobby import Lobby
from lifesigns.web.spectator import Spectator

log = logging.getLogger(__name__)

MARK_BYTES = 8

Delegating = PickAsked | ClaimAsked | RenewAsked | ReleaseAsked
Question = CheckAsked | WatchAsked | UnwatchAsked | DoneAsked | Delegating


class Guest:
    """Answers one peer. Its watches go to a sink, all else is queued in its session."""

    __slots__ = (
        "_checks",
        "_delegate",
        "_grant",
        "_handed",
        "_lease",
        "_lobby",
        "_session",
        "_spectator",
        "_write",
    )

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
        self._lease = lease
        self._handed: dict[bytes, Callable[[], None]] = {}  # by the ping that went behind it
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
        if isinstance(asked, DoneAsked):
            agent = agent_of_run(asked.run) if self._lease is None else self._lease.agent
            self._grant.allow_beat(agent)
            self._lobby.spawn(self._report(asked, agent))
        elif isinstance(asked, PickAsked):
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

    def hand(self, received: Callable[[], None]) -> bytes:
        """Make the mark of a ping whose answer says that what went before it was read."""
        mark = secrets.token_bytes(MARK_BYTES)
        self._handed[mark] = received
        return mark

    def ponged(self, mark: bytes) -> None:
        """The peer answered a ping."""
        received = self._handed.pop(mark, None)
        if received is not None:
            received()

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

    async def _report(self, asked: DoneAsked, agent: str) -> None:
        try:
            project = self._grant.project
            await self._lobby.scheduler.report(project, agent, asked.run, asked.report)
        except LifesignsError as error:
            self._refuse(error, asked)
        except ReplyError as error:
            log.warning("the store refused a report: %s", error)
            self._refuse(Unavailable("The store does not take it now."), asked)
        except Exception:
            log.exception("a report could not be taken")
            self._refuse(Internal(), asked)
        else:
            self._session.send(reply_to("ok", asked.ref, run=asked.run))
            self._write()

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
