"""A published API as the hub serves it: its addresses, and the shape of whatever it refuses."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from starlette.datastructures import MutableHeaders
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from lifesigns.core.errors import LifesignsError


def beats_at_heartbeats(request: Request) -> bool:
    """Tell whether a call may be a sign of life, as the published APIs name theirs."""
    return "heartbeat" in request.url.path


@dataclass(frozen=True, slots=True)
class Dialect:
    """What is served of it, and how."""

    name: str
    routes: tuple[Route, ...]
    prefixes: tuple[str, ...]  # all below is its own, what is not there too
    refuse: Callable[[LifesignsError, Request], Response]
    # While such a call comes in, no lease may end that it would lengthen.
    beats: Callable[[Request], bool] = beats_at_heartbeats
    # What each answer below the prefixes carries besides.
    head: Callable[[Request, MutableHeaders], None] | None = None

    def owns(self, path: str) -> bool:
        """Tell whether an address is one of its own."""
        return any(path == each or path.startswith(f"{each}/") for each in self.prefixes)
