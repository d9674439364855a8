"""Projects, keys and tickets, as the store keeps them.

Tokens come in, hashes are stored: nothing here can show a key again. What must change together
changes in one script. Every revocation moves the *revision*, by which hubs notice; the ids that
it ended are told for a week. Must not know how a token travels or who remembers it.
"""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from importlib.resources import files
from pathlib import Path
from typing import Any, Final, Literal

import msgpack

from lifesigns.core.access import (
    DEFAULT_PROJECT,
    ROOT_ID,
    SCOPES,
    Grant,
    check_grant,
    check_project,
    check_root_token,
    check_token,
    digest,
)
from lifesigns.core.errors import BadValue, Conflict, Forbidden, NotFound, Unavailable
from lifesigns.store import keyfile
from lifesigns.store.keys import PARTITIONS
from lifesigns.store.link import Arg, Link, ReplyError, Script

PROJECTS: Final = "ls:projects"  # HASH name -> packed project
KEYS: Final = "ls:keys"  # HASH hash of a token -> packed grant
KEY_IDS: Final = "ls:keyids:"  # and a project; HASH id -> hash of its token
KEY_ENDS: Final = "ls:keyends"  # ZSET project/id -> when it expires
KEY_REVISION: Final = "ls:keyrev"  # moves when a key ends
KEYS_REVOKED: Final = "ls:keysrevoked"  # ZSET id -> the revision that ended it
TICKET: Final = "ls:ticket:"  # and a hash; STRING packed grant, with its end

Purpose = Literal["connect", "events", "login"]

# 12 of these letters are 61 bits, so that ids never meet; 32 are 165 bits that nobody guesses.
# Digits and letters only: a double click selects the whole secret.
_LETTERS = "abcdefghijkmnpqrstuvwxyz23456789ABCDEFGHJKLMNPQRSTUVWXYZ"
_ID_LETTERS, _SECRET_LETTERS = 12, 32

LOGIN_MS: Final = 12 * 3_600_000

_NOT_NOW = frozenset({"BUSY", "LOADING", "MASTERDOWN", "MISCONF", "NOREPLICAS", "OOM", "READONLY"})

_PAGE = 500  # keys that one command reads
_PRUNED_AT_ONCE = 100  # expired keys that the making of another one clears away


@dataclass(frozen=True, slots=True)
class Project:
    """A tenant."""

    name: str
    spread: int  # over how many partitions its agents lie: one or all, fixed when it is made
    created_ms: int = 0


@dataclass(frozen=True, slots=True)
class Terms:
    """What a ticket is good for."""

    ttl_s: int  # unless a shorter one is asked for
    once: bool


TICKETS: Final[Mapping[Purpose, Terms]] = {
    "connect": Terms(30, once=True),
    "events": Terms(3_600, once=False),  # an EventSource reconnects with the address that it has
    "login": Terms(900, once=True),
}


def _script(name: str, flags: str = "") -> Script:
    lua = files("lifesigns.store") / "lua"
    texts = [(lua / f"{part}.lua").read_text("utf-8") for part in ("key_prelude", name)]
    return Script(name, "\n".join([f"#!lua{flags}", *texts]))


_CREATE = _script("key_create")
_REVOKE = _script("key_revoke", " flags=allow-oom")  # a full store must still shut somebody out
_ROOT = _script("key_root", " flags=allow-oom")
_DELETE = _script("project_delete", " flags=allow-oom")


class Registry:
    """Keeps projects, keys and tickets. Every method raises ``Unavailable`` without the store."""

    def __init__(self, link: Link) -> None:
        self._link = link

    # Projects.

    async def project(self, name: str) -> Project | None:
        """Read one project; ``default`` is there even in a store that was just emptied."""
        packed = await self._ask("HGET", PROJECTS, name)
        if packed is not None:
            return _unpack_project(packed)
        return Project(name, PARTITIONS) if name == DEFAULT_PROJECT else None

    async def projects(self) -> list[Project]:
        """Read all projects, by name."""
        packed = await self._ask("HVALS", PROJECTS)
        found = {each.name: each for each in map(_unpack_project, packed)}
        found.setdefault(DEFAULT_PROJECT, Project(DEFAULT_PROJECT, PARTITIONS))
        return [found[name] for name in sorted(found)]

    async def create_project(self, name: str, *, spread_all: bool = False, now_ms: int) -> Project:
        """Make a project. One that expects many thousand agents is spread over all partitions."""
        project = Project(check_project(name), PARTITIONS if spread_all else 1, now_ms)
        if name == DEFAULT_PROJECT or not await self._keep_project(project):
            raise Conflict(f"There is a project {name!r} already.", field="name")
        return project

    async def delete_project(self, name: str) -> None:
        """Drop a project and end all its keys. Its agents are the caller's to forget."""
        if name == DEFAULT_PROJECT:
            raise Conflict(f"The project {name!r} stays.", field="name")
        if not await self._run(_DELETE, name):
            raise NotFound(f"There is no project {name!r}.")

    async def _keep_project(self, project: Project) -> bool:
        packed = _pack({"name": project.name, "spread": project.spread, "at": project.created_ms})
        return bool(await self._ask("HSETNX", PROJECTS, project.name, packed))

    # Keys.

    async def create(
        self, wanted: Grant, *, token: str | None = None, now_ms: int
    ) -> tuple[Grant, str]:
        """Make a key and answer it with its token, which cannot be read again.

        Of ``wanted`` the id and the time of making are chosen here. A given ``token`` is one
        that is in use already and is taken over.
        """
        key_id = _letters(_ID_LETTERS)
        grant = check_grant(replace(wanted, key_id=key_id, created_ms=now_ms), now_ms)
        if token is not None:
            check_token(token)
        made = token or f"ls_{key_id}_{_letters(_SECRET_LETTERS)}"
        if grant.project == DEFAULT_PROJECT:
            await self._keep_project(Project(DEFAULT_PROJECT, PARTITIONS, now_ms))
        if grant.expires_ms is not None:
            await self.prune(now_ms)
        answer = await self._run(
            _CREATE,
            grant.project,
            key_id,
            digest(made),
            _pack_grant(grant),
            "" if grant.expires_ms is None else grant.expires_ms,
            grant.parent or "",
            "" if token is None else "1",
        )
        if answer == b"no_project":
            raise NotFound(f"There is no project {grant.project!r}.")
        if answer == b"no_parent":
            raise Forbidden("The key by which this one was asked for is not good any more.")
        if answer == b"known":
            raise Conflict("This token is a key already.", field="key")
        return grant, made

    async def create_login(self, grant: Grant, *, now_ms: int) -> tuple[Grant, str]:
        """Make a key of the same scope as that of a login ticket; it never outlives the latter."""
        ends = now_ms + LOGIN_MS
        wanted = replace(
            grant,
            project=_home(grant),
            name="login",
            expires_ms=ends if grant.expires_ms is None else min(ends, grant.expires_ms),
            parent=grant.key_id,
        )
        return await self.create(wanted, now_ms=now_ms)

    async def keys(self, project: str) -> list[Grant]:
        """List the keys of a project, the oldest first."""
        ids = await self._ask("HVALS", KEY_IDS + project)
        grants = await self.lookup([each.decode() for each in ids])
        return sorted((g for g in grants if g is not None), key=lambda g: (g.created_ms, g.key_id))

    async def lookup(self, digests: Sequence[str]) -> list[Grant | None]:
        """Read the grants of tokens by their digests, expired ones too; None: no such key."""
        found: list[Grant | None] = []
        for start in range(0, len(digests), _PAGE):
            packed = await self._ask("HMGET", KEYS, *digests[start : start + _PAGE])
            found.extend(None if each is None else _unpack_grant(each) for each in packed)
        return found

    async def revoke(self, project: str, key_id: str) -> None:
        """End a key, and those that were made by its login tickets."""
        if key_id == ROOT_ID and project == DEFAULT_PROJECT:
            raise Conflict("The root key is replaced by setting LIFESIGNS_ADMIN_KEY, not revoked.")
        if not await self._run(_REVOKE, project, key_id, *await self._children(project, key_id)):
            raise NotFound(f"There is no key {key_id!r}.")
        # None is made any more now, but one may have been while the list was read.
        if born := await self._children(project, key_id):
            await self._run(_REVOKE, project, *born)

    async def prune(self, now_ms: int) -> int:
        """Clear expired keys away, a limited number at once; answer how many."""
        ended = await self._ask(
            "ZRANGEBYSCORE", KEY_ENDS, "-inf", now_ms, "LIMIT", 0, _PRUNED_AT_ONCE
        )
        for each in ended:
            project, _, key_id = each.decode().partition("/")
            await self._run(_REVOKE, project, key_id)
        return len(ended)

    async def revision(self) -> int:
        """Read the number that has moved when a key ended."""
        return int(await self._ask("GET", KEY_REVISION) or 0)

    async def revoked_since(self, revision: int) -> frozenset[str]:
        """Name the keys that ended after a revision, as far as a week back."""
        ids = await self._ask("ZRANGEBYSCORE", KEYS_REVOKED, f"({revision}", "+inf")
        return frozenset(each.decode() for each in ids)

    async def _children(self, project: str, key_id: str) -> list[str]:
        family = {key_id}
        for key in await self.keys(project):  # by age, so that parents come before children
            if key.parent in family:
                family.add(key.key_id)
        return sorted(family - {key_id})

    # The root key.

    async def ensure_root(
        self, given: str | None, data_dir: Path | None, *, now_ms: int
    ) -> str | None:
        """See to it that there is a root key; answer one that was made now, to be shown once.

        A given one counts, and replaces a former one. Else the store's is kept. Else the one in
        the data folder is taken, or made there. However many hubs start at once, the store lets
        one of them win, and the others keep nothing of their own.
        """
        await self._keep_project(Project(DEFAULT_PROJECT, PARTITIONS, now_ms))
        if given is not None:
            check_root_token(given)
            if await self._set_root(given, now_ms, replaces=True) == b"replaced":
                await self._revoke_logins_of_root()
            return None
        if await self._ask("HEXISTS", KEY_IDS + DEFAULT_PROJECT, ROOT_ID):
            return None
        offered = f"ls_{ROOT_ID}_{_letters(_SECRET_LETTERS)}"
        token = offered if data_dir is None else keyfile.keep(data_dir, offered)
        check_root_token(token, keyfile.NAME)
        if await self._set_root(token, now_ms, replaces=False) == b"set":
            return token
        # Only what was offered here: an older file is somebody's to look at.
        if data_dir is not None and token == offered and not await self._is_root(token):
            keyfile.drop(data_dir, token)
        return None

    async def _set_root(self, token: str, now_ms: int, *, replaces: bool) -> bytes:
        grant = Grant(ROOT_ID, DEFAULT_PROJECT, "root", name="root", created_ms=now_ms)
        flag = "1" if replaces else ""
        answer: bytes = await self._run(
            _ROOT, DEFAULT_PROJECT, ROOT_ID, digest(token), _pack_grant(grant), flag
        )
        if answer == b"known":
            raise BadValue("The root key is the token of another key.", field="admin_key")
        return answer

    async def _is_root(self, token: str) -> bool:
        stored = await self._ask("HGET", KEY_IDS + DEFAULT_PROJECT, ROOT_ID)
        return stored is not None and stored.decode() == digest(token)

    async def _revoke_logins_of_root(self) -> None:
        if children := await self._children(DEFAULT_PROJECT, ROOT_ID):
            await self._run(_REVOKE, DEFAULT_PROJECT, *children)

    # Tickets.

    async def create_ticket(
        self, grant: Grant, purpose: Purpose, *, ttl_s: float | None = None, now_ms: int
    ) -> tuple[str, int]:
        """Make a ticket that stands for a grant; answer it, and when it ends."""
        longest_s = TICKETS[purpose].ttl_s
        if ttl_s is None:
            ttl_s = longest_s
        if not 1 <= ttl_s <= longest_s:
            raise BadValue(f"ttl is from 1 to {longest_s} seconds.", field="ttl")
        ticket = f"lt_{_letters(_SECRET_LETTERS)}"
        ttl_ms = round(ttl_s * 1000)
        name = _ticket_name(ticket, purpose)
        await self._ask("SET", name, _pack_grant(grant), "PX", ttl_ms)
        return ticket, now_ms + ttl_ms

    async def redeem(self, ticket: str, purpose: Purpose) -> Grant | None:
        """Take a ticket in; one for another purpose, or used before, is none."""
        read = "GETDEL" if TICKETS[purpose].once else "GET"
        packed = await self._ask(read, _ticket_name(ticket, purpose))
        return None if packed is None else _unpack_grant(packed)

    async def holds(self, grant: Grant) -> bool:
        """Tell whether the key behind a grant is still there."""
        return bool(await self._ask("HEXISTS", KEY_IDS + _home(grant), grant.key_id))

    async def _ask(self, *command: Arg) -> Any:
        with _translated():
            return await self._link.ask(*command)

    async def _run(self, script: Script, project: str, *arguments: Arg) -> Any:
        names = (PROJECTS, KEYS, KEY_IDS + project, KEY_ENDS, KEY_REVISION, KEYS_REVOKED)
        with _translated():
            return await self._link.ask_script(script, names, (project, *arguments))


@contextlib.contextmanager
def _translated() -> Iterator[None]:
    """A server that answers that it cannot now is away too; other refusals are bugs of ours."""
    try:
        yield
    except ReplyError as refusal:
        if refusal.code not in _NOT_NOW:
            raise
        raise Unavailable("The store cannot do this now.") from refusal


def _ticket_name(ticket: str, purpose: Purpose) -> str:
    """The purpose is part of the name, so that a wrong use does not spend the ticket."""
    return TICKET + digest(f"{purpose} {ticket}")


def _home(grant: Grant) -> str:
    """Say where the key is filed: the root key may stand in another project for a while."""
    return DEFAULT_PROJECT if grant.scope == "root" else grant.project


def _letters(count: int) -> str:
    return "".join(secrets.choice(_LETTERS) for _ in range(count))


# Records are maps, and unknown fields are left alone: hubs of two versions share a store.

_GRANT_FIELDS = frozenset(field.name for field in fields(Grant))


def _pack(record: dict[str, Any]) -> bytes:
    return bytes(msgpack.packb(record))


def _pack_grant(grant: Grant) -> bytes:
    values = ((name, getattr(grant, name)) for name in sorted(_GRANT_FIELDS))
    return _pack({name: value for name, value in values if value is not None})


def _unpack_grant(packed: bytes) -> Grant | None:
    record = msgpack.unpackb(packed)
    if record["scope"] not in SCOPES:
        return None  # a newer hub's scope: what it allows is not known here, so it allows nothing
    return Grant(**{name: value for name, value in record.items() if name in _GRANT_FIELDS})


def _unpack_project(packed: bytes) -> Project:
    record = msgpack.unpackb(packed)
    return Project(record["name"], record["spread"], record["at"])
