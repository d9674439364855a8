"""The shapes of all answers of the MoltJobs API, refusals too."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from lifesigns.core.errors import LifesignsError
from lifesigns.core.instant import to_text

Shown = dict[str, Any]


def one(value: Any) -> Shown:
    """Answer one thing."""
    return {"data": value}


def many(values: Sequence[Any], cursor: str | None, total: int) -> Shown:
    """Answer a page of a list."""
    return {"data": list(values), "meta": {"nextCursor": cursor, "total": total}}


def refusal(error: LifesignsError, path: str, request_id: str, at_ms: int) -> Shown:
    """Say what is refused, in all the forms that published clients read."""
    inner = {"code": error.code, "message": error.message}
    if error.field is not None:
        inner["field"] = error.field
    return {
        "code": error.code.upper(),
        "status": error.http_status,
        "message": error.message,
        "title": error.code.replace("_", " ").title(),
        "detail": error.message,
        "type": f"urn:lifesigns:problem:{error.code}",
        "timestamp": to_text(at_ms),
        "path": path,
        "requestId": request_id,
        "error": inner,
    }
