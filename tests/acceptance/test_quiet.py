"""Agents with nothing to say, on a hub as it is set by default."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.agent import PING, PONG, framed, presence, upgraded
from tests.hub import hub_process

PINGS = 3


@pytest.mark.parametrize("ttl", [1, 2])
async def test_agent_that_only_answers_pings_never_goes_offline(folder: Path, ttl: int) -> None:
    """A ttl shorter than the time for a hello, or for a pong, was pinged too late to be saved."""
    hello = {"agent": "quiet", "ttl": ttl}
    async with hub_process(folder) as hub, upgraded(hub, hello=hello) as peer, hub.client() as http:
        began = await presence(http, "quiet")
        for _ in range(PINGS):
            opcode, payload = await peer.frame()
            assert opcode == PING
            await peer.write(framed(PONG, payload))
        shown = await presence(http, "quiet")
        assert (shown["alive"], shown["seq"]) == (True, began["seq"])
