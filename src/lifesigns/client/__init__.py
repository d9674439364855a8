"""The client: a program's presence, and what it asks about others."""

from __future__ import annotations

from lifesigns.client.agent import Agent
from lifesigns.client.heartbeat import heartbeat
from lifesigns.client.hub import Hub
from lifesigns.client.run import Run
from lifesigns.core.errors import (
    Busy,
    ClaimLost,
    LifesignsError,
    NoMatch,
    NotAlive,
    Unavailable,
)

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
