"""What tells a browser that pages of other origins may call the hub: those that are configured."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from lifesigns.web.auth import HEADERS, PROJECT
from lifesigns.web.origin import named

METHODS = "GET, HEAD, PUT, POST, PATCH, DELETE, OPTIONS"
FIELDS = ", ".join(("content-type", "last-event-id", PROJECT, *HEADERS))
TOLD = "Retry-After, ETag"  # beside those that a browser shows to every page
FOR_S = 600  # a setting that was withdrawn is forgotten after that


def shared_with(origin: str | None, origins: Collection[str]) -> Mapping[str, str]:
    """Say of an answer that a page may read it."""
    if origin is None or not named(origin, origins):
        return {}
    return {
        "Access-Control-Allow-Origin": origin,
        "Access-Control-Expose-Headers": TOLD,
        "Vary": "Origin",
    }


def allowed(origin: str | None, origins: Collection[str]) -> Mapping[str, str]:
    """Answer a browser that asks before it sends a page's request."""
    shared = shared_with(origin, origins)
    asked = {
        "Access-Control-Allow-Methods": METHODS,
        "Access-Control-Allow-Headers": FIELDS,
        "Access-Control-Max-Age": str(FOR_S),
    }
    return {**shared, **asked} if shared else {}
