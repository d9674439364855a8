"""Lifesigns: agents beat, and anyone can ask who is alive."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lifesigns.client import (
        Agent,
        Busy,
        ClaimLost,
        Hub,
        LifesignsError,
        NoMatch,
        NotAlive,
        Run,
        Unavailable,
        heartbeat,
    )

__version__ = "0.1.0"

__all__ = [
    "Agent",
    "Busy",
    "ClaimLost",
    "Hub",
    "LifesignsError",
    "NoMatch",
    "NotAlive",
    "Run",
    "Unavailable",
    "heartbeat",
]


def __getattr__(name: str) -> Any:
    # The hub and the commands import this package too, and need nothing of the client.
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from lifesigns import client

    value = globals()[name] = getattr(client, name)
    return value
