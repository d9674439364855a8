"""Golden pairs of requests and answers, as files: a dialect's whole face.

A file is one scene on a hub of its own: an object whose ``steps`` are played one after another.
Each has the call (``"PUT /v1/pulse/a"``), what is sent (``body``; ``text`` for what is no JSON;
``headers``; ``key``, the root key unless named) and the ``answer``: its ``status``, the
``headers`` that matter, and the ``body``, whole. Where a value cannot be known before stands
``"<...>"``, with the name of a kind of ``KINDS``; a kind with ``=`` and a name, like
``"<time=beat>"``, must be the same wherever the name stands. ``"<...>": "<more>"`` in a map allows
other fields. What such a name stood for may be sent later: ``<=key>`` anywhere in a step is the
value that ``"<text=key>"`` was found to be.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import httpx

from tests.hub import RunningHub

KINDS = {
    "time": r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z",
    "uuid": r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}",
    "text": r"(?s).+",
    "number": r"-?\d+(\.\d+)?",
}
PLACE = re.compile(r"<(\w+)(?:=(\w+))?>")
SENT = re.compile(r"<=(\w+)>")
OPEN = "<...>"


async def play(hub: RunningHub, steps: Sequence[Mapping[str, Any]]) -> None:
    """Play a scene; every answer must be as it is written."""
    known: dict[str, Any] = {}
    for written in steps:
        step = filled(written, known)
        async with hub.client(step.get("key")) as http:
            answer = await _call(http, step)
        wanted = step["answer"]
        assert answer.status_code == wanted["status"], (step["call"], answer.text)
        for name, value in wanted.get("headers", {}).items():
            assert answer.headers.get(name) == value, (step["call"], name)
        if "body" in wanted:
            wrong = differences(wanted["body"], answer.json(), known)
            assert not wrong, f"{step['call']}: {'; '.join(wrong)}"


def filled(written: Any, known: Mapping[str, Any]) -> Any:
    """Put in what was found before."""
    if isinstance(written, str):
        return SENT.sub(lambda place: str(known[place[1]]), written)
    if isinstance(written, dict):
        return {name: filled(value, known) for name, value in written.items()}
    return [filled(each, known) for each in written] if isinstance(written, list) else written


async def _call(http: httpx.AsyncClient, step: Mapping[str, Any]) -> httpx.Response:
    method, path = step["call"].split(" ", 1)
    options: dict[str, Any] = {"headers": step.get("headers", {})}
    if "body" in step:
        options["json"] = step["body"]
    if "text" in step:
        options["content"] = step["text"]
    return await http.request(method, path, **options)


def differences(wanted: Any, found: Any, known: dict[str, Any], at: str = "") -> list[str]:
    """Tell where an answer is not as it is written."""
    place = PLACE.fullmatch(wanted) if isinstance(wanted, str) else None
    if place is not None:
        kind, name = place.groups()
        if found is None or not re.fullmatch(KINDS[kind], str(found)):
            return [f"{at} is {found!r} and no {kind}"]
        wanted = known.setdefault(name, found) if name else found
    if isinstance(wanted, dict) and isinstance(found, dict):
        names = wanted.keys() - {OPEN} | (set() if OPEN in wanted else found.keys())
        parts = [(name, wanted.get(name, "nothing"), found.get(name, "nothing")) for name in names]
    elif isinstance(wanted, list) and isinstance(found, list) and len(wanted) == len(found):
        parts = [(str(i), *pair) for i, pair in enumerate(zip(wanted, found, strict=True))]
    else:
        same = wanted == found and isinstance(wanted, bool) is isinstance(found, bool)
        return [] if same else [f"{at} is {found!r} and not {wanted!r}"]
    return [
        wrong
        for name, *pair in sorted(parts)
        for wrong in differences(*pair, known, f"{at}/{name}")
    ]
