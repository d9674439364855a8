"""What a call's query may say; whatever nobody knows is refused."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from starlette.requests import Request

from lifesigns.core.errors import BadRequest
from lifesigns.core.filter import WORDS, Filter
from lifesigns.core.presence import DETAILS, STATES


def query_of(request: Request, known: Sequence[str]) -> dict[str, str]:
    """Take the query's parameters, each once; an unknown one is refused."""
    taken: dict[str, str] = {}
    for name, value in request.query_params.multi_items():
        if name not in known:
            raise BadRequest(f"There is no parameter {name[:64]!r}.", field=name[:64])
        if name in taken:
            raise BadRequest(f"The parameter {name} comes twice.", field=name)
        taken[name] = value
    return taken


def filter_of_query(
    request: Request,
    others: Sequence[str],
    *,
    alive: str = "true",
    details: Sequence[str] = (*DETAILS, "counts"),
) -> tuple[Filter, dict[str, str]]:
    """Take a filter, and the ``others`` that may stand beside it.

    ``alive`` is what counts when neither it nor a state is named.
    """
    lists: dict[str, list[str]] = {name: [] for name in ("ids", "state", "capability", *WORDS)}
    single: dict[str, str] = {}
    metadata: dict[str, tuple[Any, ...]] = {}
    for name, value in request.query_params.multi_items():
        if name in lists:
            lists[name].append(value)
        elif name.startswith("metadata.") and len(name) > len("metadata."):
            key = name.removeprefix("metadata.")
            literal = _literal(value)
            values = (value,) if literal == value else (value, literal)
            metadata[key] = (*metadata.get(key, ()), *values)
        elif name not in ("alive", "detail", *others):
            raise BadRequest(f"There is no parameter {name[:64]!r}.", field=name[:64])
        elif name in single:
            raise BadRequest(f"The parameter {name} comes twice.", field=name)
        else:
            single[name] = value
    for state in lists["state"]:
        if state not in STATES:
            raise BadRequest(f"A state is one of {', '.join(STATES)}.", field="state")
    if single.get("detail", "full") not in details:
        raise BadRequest(f"detail is one of {', '.join(details)}.", field="detail")
    if single.get("expand", "instances") != "instances":
        raise BadRequest("Only instances can be expanded.", field="expand")
    if single.get("alive", "any") not in ("true", "false", "any"):
        raise BadRequest("alive is one of true, false, any.", field="alive")
    asked = single.get("alive", "any" if lists["state"] else alive)
    life = {"true": True, "false": False, "any": None}[asked]
    # As a socket's filter has them: who asks the same shares a view, and a cursor leads there.
    parts = {name: tuple(values) for name, values in lists.items()}
    return Filter(**parts, metadata=metadata, alive=life), single


def _literal(value: str) -> Any:
    """Read a parameter as the JSON that it may be: 3 is a number, three a text."""
    if value in ("true", "false", "null"):
        return {"true": True, "false": False, "null": None}[value]
    try:
        return int(value)
    except ValueError:
        pass  # not a whole number: perhaps another one
    try:
        return float(value)
    except ValueError:
        return value


def flag_of(query: Mapping[str, str], name: str) -> bool:
    value = query.get(name, "false")
    if value not in ("true", "false"):
        raise BadRequest(f"{name} is true or false.", field=name)
    return value == "true"


def whole_of(query: Mapping[str, str], name: str, low: int, high: int, default: int) -> int:
    value = query.get(name)
    if value is None:
        return default
    short = value.isdecimal() and len(value) <= len(str(high))
    if not short or not low <= int(value) <= high:
        raise BadRequest(f"{name} is a whole number from {low} to {high}.", field=name)
    return int(value)
