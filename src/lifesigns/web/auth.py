"""Who is asking: from a header to a grant.

A gate verifies keys against the registry and remembers the good ones, so that known agents go on
while the store is away. It learns of ended keys by the registry's revision. Tokens are never
kept: everything here is filed under their digests. Must not know what a request wants to do.
"""

from __future__ import annotations

import asyncio
import heapq
import math
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Final

from lifesigns.core.access import (
    DEFAULT_PROJECT,
    ROOT_ID,
    Grant,
    digest,
    is_agent_id,
)
from lifesigns.core.errors import Forbidden, NotFound, Unauthorized, Unavailable
from lifesigns.store.registry import Purpose, Registry

AUTHORIZATION, API_KEY, AGENT_TOKEN = "authorization", "x-api-key", "x-agent-token"
PROJECT: Final = "x-lifesigns-project"
HEADERS: Final = (AUTHORIZATION, API_KEY, AGENT_TOKEN)

# Paths of the dialects that have a header of their own; all others speak Bearer.
_OWN_HEADERS: Final[tuple[tuple[str, str], ...]] = (
    ("/api/v1", AGENT_TOKEN),
    ("/api/v2", API_KEY),
    ("/agents", API_KEY),
    ("/jobs", API_KEY),
    ("/v1/agents", API_KEY),
    ("/v1/jobs", API_KEY),
)

GOOD_S: Final = 60.0  # how long a good key is not asked for again
BAD_S: Final = 5.0  # how long a bad one is refused without asking: a flood costs the store little
AWAY_S: Final = 1.0  # how long a known one goes on before the absent store is tried again
GOOD_KEYS: Final = 200_000  # remembered at most; about 0.5 KB each
BAD_KEYS: Final = 10_000
ENDED_KEYS: Final = 100_000

_KEY = re.compile(r"ls_[A-Za-z0-9]+_[A-Za-z0-9_-]+")


def token_of(path: str, headers: Mapping[str, str]) -> str | None:
    """Find the key of a request; ``headers`` has lower-case names. None: there is no key.

    The own header of the path's dialect counts, even if it is bad; any other one only if that
    is absent. An empty text is a key that was sent, and is bad.
    """
    own = _own_header(path)
    for name in (own, *(header for header in HEADERS if header != own)):
        value = headers.get(name)
        if value is not None and name == AUTHORIZATION:
            value = _bearer(value)
        if value is not None:
            return _as_sent(value.strip())
    return None


def _own_header(path: str) -> str:
    for prefix, header in _OWN_HEADERS:
        if path == prefix or path.startswith(prefix + "/"):
            return header
    return AUTHORIZATION


def _bearer(value: str) -> str | None:
    """Take the key out; another scheme is another's, like that of a proxy in front of us."""
    scheme, _, token = value.strip().partition(" ")
    return token if scheme.lower() == "bearer" else None


def _as_sent(value: str) -> str:
    """Undo the reading of a header as Latin-1: what was sent beyond ASCII is UTF-8 as a rule."""
    if value.isascii():
        return value
    try:
        return value.encode("latin-1").decode("utf-8")
    except UnicodeError:
        return value


class Gate:
    """Verifies keys and tickets.

    ``root_token`` is known without the store. ``clock`` tells monotonic seconds, ``now_ms`` the
    time of day. Call ``recheck`` once before listening, then whenever ``revision`` is not the
    registry's any more, and close the sockets of the keys that it names. A socket whose opening
    took an await is asked for with ``ended`` when it is entered among those to close.
    """

    def __init__(
        self,
        registry: Registry,
        *,
        root_token: str | None = None,
        good_s: float = GOOD_S,
        clock: Callable[[], float] = time.monotonic,
        now_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
    ) -> None:
        self.revision: int | None = None
        self._registry = registry
        self._good_s = good_s
        self._clock = clock
        self._now_ms = now_ms
        self._fixed: dict[str, Grant] = {}
        if root_token is not None:
            root = Grant(ROOT_ID, DEFAULT_PROJECT, "root", name="root")
            self._fixed[digest(root_token)] = root
        # By digest, the latest verified last: the grant, and until when it is not asked for.
        self._good: dict[str, tuple[Grant, float]] = {}
        self._bad: dict[str, float] = {}
        self._asking: dict[str, asyncio.Task[Grant | Unavailable | None]] = {}
        self._era = 0  # moves with the revision: what was asked for before it counts no more
        self._ended: dict[str, None] = {}  # ids, the latest last; ids are never used again
        self._expiring: list[tuple[int, str]] = []  # a heap
        self._expiring_ids: set[str] = set()
        self._projects = {DEFAULT_PROJECT}

    def known(self, token: str | None) -> Grant | None:
        """Answer the grant of a key that was verified lately, without waiting."""
        return None if token is None else self._known(digest(token))

    async def verify(self, token: str | None) -> Grant:
        """Answer the grant of a key, or raise ``Unauthorized``.

        Raises ``Unavailable`` for a key that is not known here while the store is away.
        """
        if token is None:
            raise Unauthorized("A key is needed.")
        name = digest(token)
        grant = self._known(name)
        if grant is not None:
            return grant
        if self._clock() < self._bad.get(name, -math.inf):
            raise Unauthorized("This key is not good.")
        asking = self._asking.get(name)
        if asking is None:
            asking = asyncio.ensure_future(self._ask(name))
            self._asking[name] = asking
            asking.add_done_callback(lambda _: self._asking.pop(name, None))
        # Shielded: a client that goes away must not take the answer from the others who wait.
        found = await asyncio.shield(asking)
        if isinstance(found, Unavailable):
            raise Unavailable("Keys cannot be verified now.")
        if found is None or self.ended(found):
            raise Unauthorized("This key is not good.")
        if found.expired(self._now_ms()):
            raise Unauthorized("This key has expired.")
        return found

    async def admit(self, token: str | None, project: str | None) -> Grant:
        """Verify a key and apply the ``X-Lifesigns-Project`` that came with it, if any."""
        return await self.enter(self.known(token) or await self.verify(token), project)

    async def enter(self, grant: Grant, project: str | None) -> Grant:
        """Put the root key into the project that it names; others have one of their own."""
        if project is None or project == grant.project:
            return grant
        if not grant.may("root"):
            raise Forbidden("Only the root key may name a project.")
        if project not in self._projects:
            era = self._era
            if await self._registry.project(project) is None:
                raise NotFound(f"There is no project {project[:64]!r}.")
            if era == self._era:  # else it may have been deleted after it was read
                self._projects.add(project)
        return replace(grant, project=project)

    async def redeem(self, ticket: str, purpose: Purpose) -> Grant:
        """Answer the grant for which a ticket stands, or raise ``Unauthorized``."""
        grant = await self._registry.redeem(ticket, purpose)
        if grant is None or self.ended(grant) or not await self._stands(grant):
            raise Unauthorized("This ticket is not good, or not any more.")
        if grant.expired(self._now_ms()):
            raise Unauthorized("The key of this ticket has expired.")
        self._expect_end(grant)
        return grant

    async def login(self, ticket: str) -> tuple[Grant, str]:
        """Make a key of a login ticket; answer it with its token."""
        grant = await self.redeem(ticket, "login")
        return await self._registry.create_login(grant, now_ms=self._now_ms())

    async def recheck(self) -> frozenset[str]:
        """Catch up with the registry; answer the ids of the keys that ended meanwhile."""
        revision = await self._registry.revision()
        former = self.revision
        if revision == former:
            return frozenset()
        ended: frozenset[str] = frozenset()
        if former is not None and revision > former:
            ended = await self._registry.revoked_since(former)
        else:
            # The first look, or a store that lost its past: no key ended, but none is certain.
            self._good = {name: (grant, -math.inf) for name, (grant, _) in self._good.items()}
        self.revision = revision
        self._era += 1
        self._bad.clear()  # a token may have been taken over as a key
        self._projects = {DEFAULT_PROJECT}
        if ROOT_ID in ended:  # the one id that is used again
            kept = {name: each for name, each in self._good.items() if each[0].key_id != ROOT_ID}
            self._good = kept
        self._ended.update(dict.fromkeys(ended - {ROOT_ID}))
        _shrink(self._ended, ENDED_KEYS)
        return ended

    def ended(self, grant: Grant) -> bool:
        """Tell whether the key behind a grant was ended, as far as is known here."""
        return grant.key_id in self._ended

    def expired_ids(self, now_ms: int) -> frozenset[str]:
        """Name the keys that have expired since this was last asked."""
        expired = set()
        while self._expiring and self._expiring[0][0] <= now_ms:
            expired.add(heapq.heappop(self._expiring)[1])
        self._expiring_ids -= expired
        return frozenset(expired)

    def _known(self, name: str) -> Grant | None:
        grant = self._fixed.get(name)
        if grant is not None:
            return grant
        grant, fresh_until = self._good.get(name, _NOTHING)
        if grant is None or self._clock() >= fresh_until or grant.key_id in self._ended:
            return None
        return None if grant.expired(self._now_ms()) else grant

    async def _ask(self, name: str) -> Grant | Unavailable | None:
        while True:
            era = self._era
            try:
                (grant,) = await self._registry.lookup([name])
            except Unavailable as away:
                former, _ = self._good.get(name, _NOTHING)
                if former is None:
                    return away
                # Who was good goes on; whoever ended the key needed the store for it as well.
                self._good[name] = (former, self._clock() + AWAY_S)
                return former
            if era == self._era:
                break  # else a key may have ended after it was read
        self._good.pop(name, None)
        if grant is None:
            self._bad[name] = self._clock() + BAD_S
            _shrink(self._bad, BAD_KEYS)
        else:
            self._good[name] = (grant, self._clock() + self._good_s)
            _shrink(self._good, GOOD_KEYS)
            self._expect_end(grant)
        return grant

    async def _stands(self, grant: Grant) -> bool:
        return await self._registry.holds(grant)

    def _expect_end(self, grant: Grant) -> None:
        if grant.expires_ms is not None and grant.key_id not in self._expiring_ids:
            heapq.heappush(self._expiring, (grant.expires_ms, grant.key_id))
            self._expiring_ids.add(grant.key_id)


class OpenGate(Gate):
    """The gate of ``--auth off``: every token is accepted, and none is needed.

    A token that is a valid agent id *is* that agent. A key that the hub made keeps what it is
    tied to, so that agents provisioned with one go on as themselves, and no key becomes a name.
    """

    def known(self, token: str | None) -> Grant | None:
        if token is not None and _KEY.fullmatch(token):
            grant = super().known(token)
            return None if grant is None else _opened(grant)
        return _open_grant(token)

    async def verify(self, token: str | None) -> Grant:
        grant = self.known(token)
        if grant is not None:
            return grant
        try:
            return _opened(await super().verify(token))
        except Unauthorized:
            return _open_grant(None)

    async def redeem(self, ticket: str, purpose: Purpose) -> Grant:
        try:
            return _opened(await super().redeem(ticket, purpose))
        except Unauthorized:
            return _open_grant(None)

    async def login(self, ticket: str) -> tuple[Grant, str]:
        """Answer a token that is good for nothing once keys are asked for again."""
        return await self.redeem(ticket, "login"), "ls_open_login"

    async def _stands(self, grant: Grant) -> bool:
        return True


def _open_grant(token: str | None) -> Grant:
    agent = token if token is not None and is_agent_id(token) else None
    key_id = "open" if agent is None else f"open:{agent}"
    return Grant(key_id, DEFAULT_PROJECT, "root", agent=agent)


def _opened(grant: Grant) -> Grant:
    return replace(grant, scope="root")


_NOTHING: Final[tuple[None, float]] = (None, -math.inf)


def _shrink(remembered: dict[str, Any], limit: int) -> None:
    """Forget the oldest entries beyond a limit."""
    while len(remembered) > limit:
        del remembered[next(iter(remembered))]
