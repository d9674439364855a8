"""The client for programs without an event loop: the same names, and every call blocks."""

from __future__ import annotations

from lifesigns.client.blocking import Agent, Claim, Flag, Hub, Peer, Watch

__all__ = ["Agent", "Claim", "Flag", "Hub", "Peer", "Watch"]
