"""The agents API of Mission Control: records of agents, provisioned with their first heartbeat.

What such a record shows is put together of two things, of which one may be missing: the enrolment,
which lasts, and the sign that was last seen of the agent. Agents that speak something else have
only the latter. Here each becomes the API's words, and each of its requests and refusals ours.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple
from uuid import NAMESPACE_URL, UUID, uuid5

from lifesigns.core.access import check_name
from lifesigns.core.codec import check_bulk
from lifesigns.core.enrolment import (
    INTERVAL,
    INTERVAL_S,
    TOLERANCE,
    TOLERANCE_S,
    Enrolment,
    ulid,
)
from lifesigns.core.errors import BadJson, BadRequest, BadValue, Forbidden, LifesignsError
from lifesigns.core.field import DAY_MS, describing
from lifesigns.core.instant import from_text, to_text, to_text_or_none
from lifesigns.core.model import Limits, Presence
from lifesigns.core.presence import agent_uuid
from lifesigns.core.workspace import gateway_agent_id, session_id

NAME = "mission_control"
BOOK = NAME  # of what is listed as activity
ONLINE, OFFLINE, PROVISIONING = "online", "offline", "provisioning"
SHORTEST_INTERVAL_S = 0.1  # as many heartbeats as a key may post for an agent, unless that is set
LISTED, PAGE = 200, 50  # agents on a page: at most, and unless told

Shown = dict[str, Any]


class Invalid(BadValue):
    """A request that does not validate, told as the API tells it: what, where, and what was sent.

    ``loc`` begins with ``body`` or ``query``.
    """

    def __init__(self, message: str, kind: str, *loc: str | int, sent: Any = None) -> None:
        super().__init__(message, field=".".join(str(each) for each in loc[1:]))
        self.kind = kind
        self.loc = loc
        self.sent = sent


# Requests.


class Named(NamedTuple):
    """Of which agent a heartbeat is, as people call it."""

    name: str
    board: str | None


class Heartbeat(NamedTuple):
    """What a heartbeat says."""

    status: str | None
    metadata: dict[str, Any] | None  # None: nothing of it

    @property
    def leaves(self) -> bool:
        return self.status is not None and self.status.lower() == OFFLINE


def name_of(body: Mapping[str, Any]) -> Named:
    """Read who is meant."""
    return Named(_name(body), _board(body))


def heartbeat(body: Mapping[str, Any], limits: Limits, *, named: bool = False) -> Heartbeat:
    """Read what is said; ``named``: a name and a board stand beside it."""
    status = _text(body, "status", limits.word_length)
    known = {"status", "name", "board_id"} if named else {"status"}
    more = {field: value for field, value in body.items() if field not in known}
    own = more.pop("metadata", None)
    if isinstance(own, dict):
        more |= own
    elif own is not None:
        more["metadata"] = own
    return Heartbeat(
        status, describing({"metadata": more}, limits, 0)["metadata"] if more else None
    )


def wanted(body: Mapping[str, Any], limits: Limits, *, new: bool) -> dict[str, Any]:
    """Read what a record shall say; keys are fields of ``Enrolment``. What is new has a name."""
    if not new and "status" in body:
        raise Forbidden("A status comes with a heartbeat, and cannot be set.")
    said: dict[str, Any] = {}
    if new or "name" in body:
        said["name"] = _name(body)
    if new or "board_id" in body:
        said["board"] = _board(body)
    if body.get("heartbeat_config") is not None:
        said["terms"] = _terms(_map(body, "heartbeat_config", limits) or {}, limits)
    if "identity_profile" in body:
        said["profile"] = _map(body, "identity_profile", limits)
    for field, name in (("identity_template", "identity"), ("soul_template", "soul")):
        if field in body:
            said[name] = _text(body, field, limits.metadata_bytes)
    for field, name in (("is_board_lead", "lead"), ("is_gateway_main", "main")):
        if field in body:
            said[name] = _flag(body, field)
    more = {field: value for field, value in body.items() if field not in _SETTABLE}
    check_bulk(more, "body", limits.metadata_bytes, limits.metadata_depth)
    return said | ({"more": more} if more else {})


_SETTABLE = frozenset(
    {
        *("name", "board_id", "heartbeat_config", "identity_profile", "identity_template"),
        *("soul_template", "is_board_lead", "is_gateway_main"),
        # Of the hub alone.
        *("id", "gateway_id", "status", "gateway_agent_id", "workspace_path", "is_mc_agent"),
        *("openclaw_session_id", "last_seen_at", "created_at", "updated_at"),
    }
)


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which agents a list is of."""

    board: str | None = None
    gateway: str | None = None
    enrolled: bool | None = None
    limit: int = PAGE
    offset: int = 0

    @property
    def enrolled_only(self) -> bool:
        """Whether agents that are not enrolled cannot be among them."""
        return self.board is not None or self.enrolled is True

    @property
    def nobody(self) -> bool:
        """Whether nothing can match: no board has agents that are not enrolled."""
        return self.board is not None and self.enrolled is False


def list_of(query: Mapping[str, str]) -> Wanted:
    """Read which agents are asked for; parameters that nobody knows mean nothing."""
    return Wanted(
        _uuid(query.get("board_id"), "query", "board_id"),
        _uuid(query.get("gateway_id"), "query", "gateway_id"),
        _switch(query, "is_mc_agent"),
        *slice_of(query, 1_000_000_000),
    )


def slice_of(query: Mapping[str, str], deepest: int) -> tuple[int, int]:
    """Read how much of a list is asked for: the limit and the offset."""
    return _whole(query, "limit", 1, LISTED, PAGE), _whole(query, "offset", 0, deepest, 0)


def since_of(query: Mapping[str, str]) -> int | None:
    """Read from when on a stream tells."""
    since = query.get("since")
    if since is None:
        return None
    try:
        return from_text(since)
    except BadValue as bad:
        raise Invalid(bad.message, "datetime_parsing", "query", "since", sent=since) from bad


def words(said: Heartbeat, enrolment: Enrolment | None, sign: Sign | None) -> dict[str, Any]:
    """Put a heartbeat into our words; keys are fields of ``Words``."""
    told: dict[str, Any] = {}
    status = next_status(said.status, sign)
    if status is not None:
        told["status"] = status
    if said.metadata is not None:
        told["metadata"] = said.metadata
    if enrolment is not None:
        told |= {"name": enrolment.name, "dialect": NAME}
        if enrolment.board is not None:
            told["group"] = enrolment.board
    elif sign is None:
        told["dialect"] = NAME
    return told


def as_uuid(given: str) -> str | None:
    """Read a UUID as it stands in an address; None if it is none."""
    return str(UUID(given)) if _UUID.fullmatch(given) else None


def board_of(query: Mapping[str, str]) -> str | None:
    return _uuid(query.get("board_id"), "query", "board_id")


def _name(body: Mapping[str, Any]) -> str:
    if "name" not in body:
        raise Invalid("Field required", "missing", "body", "name", sent=dict(body))
    given = body["name"]
    if not isinstance(given, str):
        raise Invalid("Input should be a valid string", "string_type", "body", "name", sent=given)
    name = given.strip()
    if not name:
        raise Invalid("name is required", "value_error", "body", "name", sent=given)
    try:
        return check_name(name)
    except BadValue as bad:
        raise Invalid(bad.message, "value_error", "body", "name", sent=given) from bad


def _board(body: Mapping[str, Any]) -> str | None:
    given = body.get("board_id")
    if given is not None and not isinstance(given, str):
        raise Invalid("Input should be a UUID", "uuid_type", "body", "board_id", sent=given)
    return _uuid(given, "body", "board_id")


_UUID = re.compile(r"[0-9a-fA-F]{8}-?(?:[0-9a-fA-F]{4}-?){3}[0-9a-fA-F]{12}")


def _uuid(given: str | None, *loc: str) -> str | None:
    if given is None:
        return None
    if not _UUID.fullmatch(given):
        raise Invalid("Input should be a valid UUID", "uuid_parsing", *loc, sent=given)
    return str(UUID(given))


def _text(body: Mapping[str, Any], name: str, longest: int) -> str | None:
    given = body.get(name)
    if given is None:
        return None
    if not isinstance(given, str):
        raise Invalid("Input should be a valid string", "string_type", "body", name, sent=given)
    if len(given) > longest:
        sentence = f"String should have at most {longest} characters"
        raise Invalid(sentence, "string_too_long", "body", name, sent=given)
    return given


def _flag(body: Mapping[str, Any], name: str) -> bool:
    given = body[name]
    if not isinstance(given, bool):
        raise Invalid("Input should be a valid boolean", "bool_type", "body", name, sent=given)
    return given


def _map(body: Mapping[str, Any], name: str, limits: Limits) -> dict[str, Any] | None:
    given = body[name]
    if given is None:
        return None
    if not isinstance(given, dict):
        raise Invalid("Input should be a valid dictionary", "dict_type", "body", name, sent=given)
    check_bulk(given, name, limits.metadata_bytes, limits.metadata_depth)
    return given


def _terms(given: dict[str, Any], limits: Limits) -> dict[str, Any]:
    for name, least, most in (
        (INTERVAL, SHORTEST_INTERVAL_S, DAY_MS / 1000),
        (TOLERANCE, limits.min_ttl_s, limits.max_ttl_s),
    ):
        value = given.get(name)
        number = isinstance(value, int | float) and not isinstance(value, bool)
        if value is not None and not (number and least <= value <= most):
            sentence = f"Input should be a number of seconds from {least:g} to {most:g}"
            raise Invalid(sentence, "value_error", "body", "heartbeat_config", name, sent=value)
    return {name: value for name, value in given.items() if value is not None}


def _switch(query: Mapping[str, str], name: str) -> bool | None:
    value = query.get(name)
    if value is None:
        return None
    if value.lower() not in ("true", "false", "1", "0"):
        raise Invalid("Input should be a valid boolean", "bool_parsing", "query", name, sent=value)
    return value.lower() in ("true", "1")


def _whole(query: Mapping[str, str], name: str, least: int, most: int, usual: int) -> int:
    value = query.get(name)
    if value is None:
        return usual
    if not value.isascii() or not value.isdecimal() or len(value) > len(str(most)):
        sentence = "Input should be a valid integer"
        raise Invalid(sentence, "int_parsing", "query", name, sent=value)
    if not least <= int(value) <= most:
        sentence = f"Input should be from {least} to {most}"
        raise Invalid(sentence, "value_error", "query", name, sent=value)
    return int(value)


# Answers.


@dataclass(frozen=True, slots=True)
class Sign:
    """What was last seen of an agent."""

    id: str
    name: str | None
    status: str | None  # its own word
    alive: bool
    left: bool  # it ended by leaving
    seen_ms: int
    since_ms: int  # since when it is what it is, there or not


def sign_of(presence: Presence) -> Sign:
    """Take it from a presence."""
    since_ms = presence.online_since_ms if presence.alive else presence.offline_since_ms
    return Sign(
        presence.id,
        presence.words.name,
        presence.words.status,
        presence.alive,
        presence.reason == "left",
        presence.last_heartbeat_ms,
        since_ms or 0,
    )


def sign_in(frame: Mapping[str, Any]) -> Sign:
    """Take it from a frame of a watch."""
    since = frame["online_since"] if frame["alive"] else frame["offline_since"]
    return Sign(
        frame["id"],
        frame["name"],
        frame["status"],
        frame["alive"],
        frame["reason"] == "left",
        from_text(frame["last_heartbeat"]),
        0 if since is None else from_text(since),
    )


def gateway_of(project: str) -> str:
    """Name the gateway: the hub itself, for a project."""
    return str(uuid5(NAMESPACE_URL, f"lifesigns:{project}"))


def status_of(enrolment: Enrolment | None, sign: Sign | None) -> str:
    """Tell the status that is read: an agent's own word while it is alive."""
    if sign is None:
        return PROVISIONING if enrolment is not None and not enrolment.heard_ms else OFFLINE
    return (sign.status or ONLINE) if sign.alive else OFFLINE


def next_status(given: str | None, sign: Sign | None) -> str | None:
    """Tell the status after a heartbeat; None: it stays as it is."""
    if given is not None:
        return given
    if sign is None or sign.left or sign.status in (None, PROVISIONING, OFFLINE):
        return ONLINE
    return None


def seen_ms(enrolment: Enrolment | None, sign: Sign | None) -> int | None:
    """Tell when an agent was heard of last."""
    noted_ms = 0 if enrolment is None else enrolment.heard_ms
    return max(noted_ms, 0 if sign is None else sign.seen_ms) or None


def created_ms(enrolment: Enrolment | None, sign: Sign | None) -> int:
    """Tell since when an agent is known; of one that is not enrolled, since its present state."""
    if enrolment is not None:
        return enrolment.created_ms
    return 0 if sign is None else sign.since_ms


def agent_read(project: str, enrolment: Enrolment | None, sign: Sign | None) -> Shown:
    """Show an agent's record."""
    agent = enrolment.id if enrolment is not None else (sign.id if sign is not None else "")
    uuid = agent_uuid(project, agent)
    began_ms, heard_ms = created_ms(enrolment, sign), seen_ms(enrolment, sign)
    altered_ms = max(began_ms, heard_ms or 0)
    its = _STRANGER if enrolment is None else enrolment
    if enrolment is not None:
        altered_ms = max(altered_ms, enrolment.updated_ms)
    return {
        **its.more,
        "id": uuid,
        "gateway_id": gateway_of(project),
        "board_id": its.board,
        "name": its.name or (sign and sign.name) or agent,
        "status": status_of(enrolment, sign),
        "gateway_agent_id": gateway_agent_id(its.serial or ulid(UUID(uuid).int)),
        "workspace_path": its.workspace,
        "is_mc_agent": enrolment is not None,
        "is_board_lead": its.lead,
        "is_gateway_main": its.main,
        "openclaw_session_id": session_id(uuid),
        "heartbeat_config": {INTERVAL: INTERVAL_S, TOLERANCE: TOLERANCE_S, **its.terms},
        "identity_profile": its.profile,
        "identity_template": its.identity,
        "soul_template": its.soul,
        "last_seen_at": to_text_or_none(heard_ms),
        "created_at": to_text(began_ms),
        "updated_at": to_text(altered_ms),
    }


# What stands in the record of an agent that has none.
_STRANGER = Enrolment("", "", None, "", None, "", 0, 0)


def healthz(project: str, agent: str, enrolment: Enrolment | None, sign: Sign | None) -> Shown:
    """Answer how an agent stands."""
    return {
        "ok": True,
        "agent_id": agent_uuid(project, agent),
        "board_id": None if enrolment is None else enrolment.board,
        "gateway_id": gateway_of(project),
        "status": status_of(enrolment, sign),
        "is_board_lead": enrolment is not None and enrolment.lead,
    }


def reported(name: str, board: str | None, status: str) -> Shown:
    """Make of a heartbeat what is kept to be listed."""
    return {"name": name, "board_id": board, "status": status}


def activity(project: str, agent: str, number: str, report: Mapping[str, Any]) -> Shown:
    """Show one entry of the activity; ``number`` is that of the entry in its diary."""
    at_ms = int(number.partition("-")[0])
    verb = "left" if report["status"] == OFFLINE else f"says {report['status']}"
    return {
        "id": str(uuid5(NAMESPACE_URL, f"lifesigns:{project}/{agent}/{number}")),
        "event_type": "agent.heartbeat",
        "message": f"Heartbeat of {report['name']}: it {verb}.",
        "agent_id": agent_uuid(project, agent),
        "board_id": report["board_id"],
        "created_at": to_text(at_ms),
    }


def page(items: list[Shown], total: int, limit: int, offset: int) -> Shown:
    return {"items": items, "total": total, "limit": limit, "offset": offset}


# Refusals.


def refusal(error: LifesignsError) -> tuple[int, str | list[Shown]]:
    """Tell the status and the detail of a refusal."""
    if isinstance(error, Invalid):
        return 422, [_wrong(error.kind, list(error.loc), error.message, error.sent)]
    if isinstance(error, BadJson):
        return 422, [_wrong("json_invalid", ["body"], error.message, {})]
    if isinstance(error, BadValue | BadRequest):
        loc = ["body", *(error.field.split(".") if error.field else ())]
        return 422, [_wrong("value_error", loc, error.message, None)]
    return error.http_status, "Unauthorized" if error.http_status == 401 else error.message


def _wrong(kind: str, loc: list[str | int], message: str, sent: Any) -> Shown:
    return {"type": kind, "loc": loc, "msg": message, "input": sent}


_REQUEST_ID = re.compile(r"[\x21-\x7e]{1,128}")


def is_request_id(text: str) -> bool:
    """Tell whether a request's own id can be echoed: it goes into headers and logs."""
    return _REQUEST_ID.fullmatch(text) is not None
