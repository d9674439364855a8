"""Who may do what: grants, scopes, and the names that they are about.

A grant is what a verified key allows: a scope, in one project, perhaps tied to agents. Its
``allow_*`` methods say nothing when an act is allowed and raise ``Forbidden`` with a sentence
otherwise. The names that keys, agents, instances and projects may have are decided here too.
Must not know where keys are kept, how they travel, or what time it is.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal, NoReturn

from lifesigns.core.errors import BadRequest, BadValue, Forbidden

Scope = Literal["watch", "agent", "poster", "admin", "root"]
Act = Literal["watch", "beat", "post", "admin", "root"]

# A scope is the set of acts that it allows; what it is tied to narrows them further.
SCOPES: Final[Mapping[Scope, frozenset[Act]]] = {
    "watch": frozenset({"watch"}),
    "agent": frozenset({"watch", "beat"}),
    "poster": frozenset({"post"}),
    "admin": frozenset({"watch", "beat", "post", "admin"}),
    "root": frozenset({"watch", "beat", "post", "admin", "root"}),
}

DEFAULT_PROJECT: Final = "default"
ROOT_ID: Final = "root"

# These stand where an agent's id would stand in the paths of some dialect.
RESERVED_IDS: Final = frozenset({"me", "heartbeat", "heartbeats", "stream", "stats"})

_AGENT_ID = re.compile(r"[A-Za-z0-9._:@~-]{1,128}")
_AGENT_PREFIX = re.compile(r"[A-Za-z0-9._:@~-]{0,128}\*")
# Control characters separate names inside the store; lone surrogates cannot be sent as UTF-8.
_NAME = re.compile(r"[^\x00-\x1f\x7f-\x9f\ud800-\udfff]{1,128}")
# It begins with a letter or digit, so that no project is called ".." in a path.
_PROJECT = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")

_SHORTEST_TOKEN, _LONGEST_TOKEN = 16, 256


@dataclass(frozen=True, slots=True)
class Grant:
    """What a verified key allows."""

    key_id: str
    project: str
    scope: Scope
    agent: str | None = None  # an id, or a prefix that ends in "*"; None: not tied
    poster: str | None = None  # whose jobs; of the poster scope only
    name: str | None = None  # for people
    created_ms: int = 0
    expires_ms: int | None = None
    parent: str | None = None  # the key by whose login ticket this one was made; dies with it

    def expired(self, now_ms: int) -> bool:
        return self.expires_ms is not None and now_ms >= self.expires_ms

    def may(self, act: Act) -> bool:
        return act in SCOPES[self.scope]

    @property
    def sees_metadata(self) -> bool:
        """A poster is shown the presences of its jobs' agents, without their metadata."""
        return self.scope != "poster"

    def allow_watch(self) -> None:
        """Read, watch, check and pick anything of the project."""
        self._allow("watch", "This key may not look at the agents of the project.")

    def allow_beat(self, agent_id: str) -> None:
        """Speak for an agent: beats, bye, claims, reports."""
        self._allow("beat", f"A key of the scope {self.scope!r} may not speak for an agent.")
        if self.scope == "agent" and self.agent is not None and not covers(self.agent, agent_id):
            raise Forbidden(f"This key is tied to {self.agent!r}, not to {agent_id!r}.")

    def allow_claim(self) -> None:
        """Reserve an agent, and let it go again."""
        self._allow("beat", f"A key of the scope {self.scope!r} may not claim an agent.")

    def allow_post(self, poster: str | None) -> None:
        """Act on a job as its poster; ``poster`` is the job's own, None when it has none."""
        self._allow("post", f"A key of the scope {self.scope!r} may not act as a poster.")
        if self.scope == "poster" and self.poster != poster:
            raise Forbidden("This job belongs to another poster.")

    def allow_admin(self) -> None:
        """Change how the project is run: keys, overrides, webhooks."""
        self._allow("admin", "This needs a key of the scope 'admin'.")

    def allow_root(self) -> None:
        """Change what is above all projects."""
        self._allow("root", "This needs the root key.")

    def allow_scope(self, scope: Scope) -> None:
        """Make a key of that scope: nobody hands out more than they have."""
        self.allow_admin()
        if not SCOPES[scope] <= SCOPES[self.scope]:
            raise Forbidden(f"A key of the scope {self.scope!r} may not make one of {scope!r}.")

    def me(self) -> str:
        """Name the one agent that this key stands for."""
        if self.agent is None or self.agent.endswith("*"):
            raise Forbidden("This key is not tied to one agent, so that it has no 'me'.")
        return self.agent

    def _allow(self, act: Act, sentence: str) -> None:
        if not self.may(act):
            raise Forbidden(sentence)


def covers(pattern: str, agent_id: str) -> bool:
    """Tell whether an id, or a prefix with ``*``, means this agent."""
    if pattern.endswith("*"):
        return agent_id.startswith(pattern[:-1])
    return agent_id == pattern


def digest(token: str) -> str:
    """Make of a key or a ticket what may be kept of it.

    Whoever looks a secret up does so by this digest. The time that takes tells a guesser only
    about the digest of the guess, so that nothing here compares in constant time.
    """
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).hexdigest()


# Names as people and programs send them.


def check_agent_id(value: object, field: str = "id") -> str:
    """Take an agent's id; a bad one is a bad request, wherever it stands."""
    if not isinstance(value, str) or not _AGENT_ID.fullmatch(value):
        raise BadRequest(
            "An agent's id has 1 to 128 characters from A-Z a-z 0-9 . _ : @ ~ -", field=field
        )
    if value in RESERVED_IDS:
        raise BadRequest(f"No agent may be called {value!r}: the name is reserved.", field=field)
    return value


def is_agent_id(value: str) -> bool:
    return _AGENT_ID.fullmatch(value) is not None and value not in RESERVED_IDS


def is_agent_prefix(value: str) -> bool:
    """Tell whether it ends in ``*`` and means all agents whose ids begin so."""
    return _AGENT_PREFIX.fullmatch(value) is not None


def check_agent_pattern(value: object, field: str = "agent") -> str:
    """Take what a key is tied to: an id, or a prefix that ends in ``*``."""
    if isinstance(value, str) and (is_agent_id(value) or is_agent_prefix(value)):
        return value
    raise BadValue("A key is tied to an agent's id, or to a prefix that ends in '*'.", field=field)


def check_instance(value: object, field: str = "instance") -> str:
    """Take the name of one running copy."""
    return check_name(value, field)


def check_name(value: object, field: str = "name") -> str:
    """Take a name of which nothing is asked but that it can be shown and stored."""
    if not isinstance(value, str) or not _NAME.fullmatch(value):
        raise BadValue(
            f"{field} is a text of 1 to 128 characters without control characters.", field=field
        )
    return value


def check_project(value: object, field: str = "name") -> str:
    """Take the name of a project."""
    if not isinstance(value, str) or not _PROJECT.fullmatch(value):
        raise BadValue(
            "A project's name has 1 to 64 characters from a-z 0-9 . _ - "
            "and begins with a letter or a digit.",
            field=field,
        )
    return value


def check_scope(value: object, field: str = "scope") -> Scope:
    """Take the name of a scope."""
    for scope in SCOPES:
        if value == scope:
            return scope
    raise BadValue(f"{field} is one of {', '.join(SCOPES)}.", field=field)


def check_token(value: object, field: str = "key") -> str:
    """Take an existing token that is to become a key."""
    if (
        not isinstance(value, str)
        or not _SHORTEST_TOKEN <= len(value) <= _LONGEST_TOKEN
        or not value.isprintable()
        or value != value.strip()
    ):
        raise BadValue(
            f"A token that is taken over has {_SHORTEST_TOKEN} to {_LONGEST_TOKEN} printable "
            "characters, and no space at its ends.",
            field=field,
        )
    return value


def check_root_token(value: str, field: str = "admin_key") -> str:
    """Take the root key that an operator has chosen.

    It travels in a header, where no line break and no space at an end survives.
    """
    if len(value) < _SHORTEST_TOKEN or not value.isprintable() or value != value.strip():
        raise BadValue(
            f"The root key has {_SHORTEST_TOKEN} printable characters or more, "
            "and no space at its ends.",
            field=field,
        )
    return value


def check_grant(grant: Grant, now_ms: int) -> Grant:
    """Take a grant that somebody wants to have made, whole."""
    check_scope(grant.scope)
    check_project(grant.project, "project")
    if grant.agent is not None:
        if grant.scope != "agent":
            _refuse("agent", "Only a key of the scope 'agent' is tied to agents.")
        check_agent_pattern(grant.agent)
    if grant.scope == "poster":
        check_name(grant.poster, "poster")
    elif grant.poster is not None:
        _refuse("poster", "Only a key of the scope 'poster' has a poster.")
    if grant.name is not None:
        check_name(grant.name, "name")
    if grant.expired(now_ms):
        _refuse("expires_at", "A key expires in the future, or never.")
    if grant.scope == "root" and grant.project != DEFAULT_PROJECT:
        _refuse("scope", f"A root key belongs to the project {DEFAULT_PROJECT!r}.")
    return grant


def _refuse(field: str, sentence: str) -> NoReturn:
    raise BadValue(sentence, field=field)
