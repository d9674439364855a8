"""What each field of a message may hold.

One table for the socket and for REST: a field's name, and the function that takes its value into
the form in which ``Words`` keep it, or refuses it with the field's name. Fields that nobody knows
are left alone: they are another version's.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from lifesigns.core.access import check_agent_id, check_instance
from lifesigns.core.codec import check_bulk
from lifesigns.core.errors import BadValue
from lifesigns.core.instant import from_text
from lifesigns.core.model import Limits
from lifesigns.core.presence import HINTS

DAY_MS = 86_400_000
SHORTEST_PROGRESS_TTL_S = 0.1

Check = Callable[[Any, str, Limits], Any]


def describing(message: Mapping[str, Any], limits: Limits, now_ms: int) -> dict[str, Any]:
    """Take from a message what it says of the agent, checked; keys are fields of ``Words``."""
    said: dict[str, Any] = {}
    for name, value in message.items():
        check = DESCRIBING.get(name)
        if check is not None:
            said[name] = None if value is None else check(value, name, limits)
    for name, default in (("capabilities", ()), ("slots", 1)):
        if name in said and said[name] is None:
            said[name] = default
    if "progress_ttl" in said:
        said["progress_ttl_ms"] = said.pop("progress_ttl")
    if "busy_until" in said or "busy_for" in said:
        until, span = said.pop("busy_until", None), said.pop("busy_for", None)
        if until is not None and until > now_ms + DAY_MS:
            raise BadValue("A quiet phase may end at most 24 hours from now.", field="busy_until")
        said["busy_until_ms"] = until if span is None else now_ms + span
    return said


def ttl_ms(message: Mapping[str, Any], limits: Limits) -> int | None:
    """Take the ttl from a message; None when it gives none. Out of range is never clamped."""
    value = message.get("ttl")
    if value is None:
        return None
    return _seconds(value, "ttl", limits.min_ttl_s, limits.max_ttl_s)


def agent_of(message: Mapping[str, Any], name: str = "agent") -> str | None:
    """Take an agent's id; None when there is none."""
    value = message.get(name)
    if value is None:
        return None
    return check_agent_id(_text(value, name), name)


def instance_of(message: Mapping[str, Any]) -> str | None:
    """Take an instance's name; None when there is none."""
    value = message.get("instance")
    if value is None:
        return None
    return check_instance(_text(value, "instance"), "instance")


def reason_of(message: Mapping[str, Any], limits: Limits, name: str = "reason") -> str:
    """Take free words; empty when there are none."""
    value = message.get(name)
    return "" if value is None else _long(value, name, limits)


def ref_of(message: Mapping[str, Any]) -> str | int | None:
    """Take the mark by which a client knows the answer again."""
    value = message.get("ref")
    if value is None or (isinstance(value, str | int) and not isinstance(value, bool)):
        return value
    raise BadValue("A ref is a text or an integer.", field="ref")


def agents_of(message: Mapping[str, Any], limits: Limits) -> list[str]:
    """Take the ids that a check asks about, each once, in their order."""
    value = message.get("agents")
    if not isinstance(value, list) or not value:
        raise BadValue("agents is a list of at least one id.", field="agents")
    if len(value) > limits.check_agents:
        raise BadValue(f"At most {limits.check_agents} agents in one check.", field="agents")
    ids: dict[str, None] = {}
    for i, each in enumerate(value):
        path = f"agents[{i}]"
        ids[check_agent_id(_text(each, path), path)] = None
    return list(ids)


def number_of(
    message: Mapping[str, Any], name: str, low: float, high: float, default: float | None = None
) -> float | None:
    """Take a finite number in a range."""
    value = message.get(name)
    if value is None:
        return default
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise BadValue(f"{name} is a number.", field=name)
    if not low <= value <= high:
        raise BadValue(f"{name} is between {low:g} and {high:g}.", field=name)
    return value


def whole_of(message: Mapping[str, Any], name: str, low: int, high: int, default: int) -> int:
    """Take a whole number in a range."""
    value = message.get(name)
    if value is None:
        return default
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise BadValue(f"{name} is an integer from {low} to {high}.", field=name)
    return value


def flag_of(message: Mapping[str, Any], name: str) -> bool:
    """Take true or false; false when there is none."""
    value = message.get(name)
    if value is not None and not isinstance(value, bool):
        raise BadValue(f"{name} is true or false.", field=name)
    return bool(value)


def instant_of(message: Mapping[str, Any], name: str) -> int | None:
    """Take a time, in ms; None when there is none."""
    value = message.get(name)
    return None if value is None else _instant(value, name)


def text_of(message: Mapping[str, Any], name: str) -> str:
    """Take a text that must be there."""
    return _text(message.get(name), name)


def choice_of(message: Mapping[str, Any], name: str, choices: tuple[str, ...]) -> str:
    """Take one of a few words; the first is the default."""
    value = message.get(name)
    if value is None:
        return choices[0]
    if value not in choices:
        raise BadValue(f"{name} is one of {', '.join(choices)}.", field=name)
    return str(value)


def _text(value: Any, path: str) -> str:
    if not isinstance(value, str):
        raise BadValue(f"{path} is a text.", field=path)
    return value


def _word(value: Any, path: str, limits: Limits) -> str:
    if len(_text(value, path)) > limits.word_length:
        raise BadValue(f"{path} has at most {limits.word_length} characters.", field=path)
    return str(value)


def _long(value: Any, path: str, limits: Limits) -> str:
    if len(_text(value, path)) > limits.text_length:
        raise BadValue(f"{path} has at most {limits.text_length} characters.", field=path)
    return str(value)


def _hint(value: Any, path: str, limits: Limits) -> str:
    if not isinstance(value, str) or value not in HINTS:
        raise BadValue(f"{path} is one of {', '.join(HINTS)}, or null.", field=path)
    return value


def _map(value: Any, path: str, limits: Limits) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise BadValue(f"{path} is a map.", field=path)
    check_bulk(value, path, limits.metadata_bytes, limits.metadata_depth)
    return value


def _anything(value: Any, path: str, limits: Limits) -> Any:
    check_bulk(value, path, limits.metadata_bytes, limits.metadata_depth)
    return value


def _progress(value: Any, path: str, limits: Limits) -> dict[str, Any]:
    if isinstance(value, str):  # a bare text is its note: the shortest thing that agents say
        return {"note": _long(value, path, limits)}
    if isinstance(value, dict) and value.get("note") is not None:
        _long(value["note"], f"{path}.note", limits)
    return _map(value, path, limits)


def _capabilities(value: Any, path: str, limits: Limits) -> tuple[str, ...]:
    if not isinstance(value, list):
        raise BadValue(f"{path} is a list of texts.", field=path)
    if len(value) > limits.capabilities:
        raise BadValue(f"{path} has at most {limits.capabilities} entries.", field=path)
    return tuple(
        dict.fromkeys(_capability(each, f"{path}[{i}]", limits) for i, each in enumerate(value))
    )


def _capability(value: Any, path: str, limits: Limits) -> str:
    if not _word(value, path, limits):
        raise BadValue(f"{path} is an empty text.", field=path)
    return str(value)


def _slots(value: Any, path: str, limits: Limits) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= limits.slots:
        raise BadValue(f"{path} is an integer from 0 to {limits.slots}.", field=path)
    return value


def _seconds(value: Any, path: str, low: float, high: float) -> int:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise BadValue(f"{path} is a number of seconds.", field=path)
    if not low <= value <= high:
        raise BadValue(f"{path} is between {low:g} and {high:g} seconds.", field=path)
    return round(value * 1000)


def _span(value: Any, path: str, limits: Limits) -> int:
    return _seconds(value, path, 0, DAY_MS / 1000)


def _progress_ttl(value: Any, path: str, limits: Limits) -> int:
    return _seconds(value, path, SHORTEST_PROGRESS_TTL_S, limits.max_ttl_s)


def _instant(value: Any, path: str, limits: Limits | None = None) -> int:
    try:
        return from_text(_text(value, path))
    except BadValue as bad:
        raise BadValue(f"{path}: {bad.message}", field=path) from bad


DESCRIBING: dict[str, Check] = {
    "status": _word,
    "state": _hint,
    "task": _long,
    "progress": _progress,
    "progress_ttl": _progress_ttl,
    "busy_until": _instant,
    "busy_for": _span,
    "metadata": _map,
    "context": _anything,
    "capabilities": _capabilities,
    "slots": _slots,
    "did": _long,
    "name": _word,
    "group": _word,
    "host": _word,
    "version": _word,
}
