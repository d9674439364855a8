"""The client for programs of the pulse API: ``from lifesigns.pulse import AgentTool``."""

from __future__ import annotations

from lifesigns.client.agenttool import AgentTool, Fleet, State

__all__ = ["AgentTool", "Fleet", "State"]
