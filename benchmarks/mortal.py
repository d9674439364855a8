"""Agents that live as agents do, and end in one of the ways in which programs end.

Takes the orders of generator.py and three more: ``live``, ``hold`` and ``post``. Whoever ends notes
when, by the machine's monotonic clock, which is the same for all its processes. One that falls
silent does so right after a last beat.
"""

from __future__ import annotations

import asyncio
import http.client
import json
import random
import socket
import struct
import subprocess
import time
from typing import Any

from generator import Agent, Generator, frame, run

HOLDER_S = 120  # nobody kills a holder whose bench has died
RESET = struct.pack("ii", 1, 0)  # SO_LINGER: on, for no time


class Mortals(Generator):
    """All agents of this process."""

    def __init__(self) -> None:
        super().__init__()
        self._holders: dict[Agent, subprocess.Popen[bytes]] = {}

    async def live(
        self, *, every_s: float, seconds: float, dying: int, within_s: float, how: str
    ) -> dict[str, Any]:
        """Beat for a while; some end at a random moment. Answer until when each has lived.

        Whoever was there before this order and is not named lives on.
        """
        if how == "kill":
            for agent in self.agents:
                self._hand_over(agent)
        end = time.monotonic() + seconds
        lives = []
        for number, agent in enumerate(self.agents):
            mortal = number < dying
            dies = end - seconds + random.uniform(0, within_s) if mortal else end
            lives.append(self._live(agent, every_s, dies, how if mortal else "last"))
        return {"ends": await asyncio.gather(*lives)}

    async def hold(self) -> dict[str, Any]:
        """Do not wonder if the sockets break: their hub is going to be killed."""
        for agent in self.agents:
            agent.over = True
        self.agents = []
        return {}

    async def post(
        self,
        *,
        host: str,
        port: int,
        key: str,
        count: int,
        prefix: str,
        ttl: float,
        within_s: float,
    ) -> dict[str, Any]:
        """Post one beat for each agent, at random moments; answer when."""
        line = http.client.HTTPConnection(host, port)
        began = time.monotonic()
        ends = []
        for number, moment in enumerate(sorted(random.uniform(0, within_s) for _ in range(count))):
            await asyncio.sleep(began + moment - time.monotonic())
            ends.append(time.monotonic())
            line.request(
                "PUT",
                f"/v1/pulse/{prefix}-{number:06}",
                json.dumps({"ttl": ttl}),
                {"Authorization": f"Bearer {key}", "Content-Type": "application/json"},
            )
            answer = line.getresponse()
            if answer.status != http.client.OK:
                raise SystemExit(f"not posted: {answer.status} {answer.read()!r}")
            answer.read()
        line.close()
        return {"ends": ends}

    async def _live(self, agent: Agent, every_s: float, dies: float, how: str) -> float:
        beat = frame(self._encode({"type": "beat"}), binary=self.binary)
        due = time.monotonic() + random.uniform(0, every_s)
        while due < dies:
            await asyncio.sleep(due - time.monotonic())
            if how != "kill":
                agent.transport.write(beat)
            due = max(due + every_s, time.monotonic())
        await asyncio.sleep(dies - time.monotonic())
        ended = time.monotonic()
        self._end(agent, how, beat)
        return ended

    def _end(self, agent: Agent, how: str, beat: bytes) -> None:
        if how != "last":
            agent.over = True
        match how:
            case "bye":
                agent.transport.write(frame(self._encode({"type": "bye"}), binary=self.binary))
            case "close":
                agent.transport.close()
            case "reset":
                line = agent.transport.get_extra_info("socket")
                line.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
                agent.transport.abort()
            case "kill":
                self._holders.pop(agent).kill()
            case "silence" | "last":
                agent.transport.write(beat)

    def _hand_over(self, agent: Agent) -> None:
        """Give the socket to a process of its own, which alone has it then."""
        agent.over = True
        number = agent.transport.get_extra_info("socket").fileno()
        self._holders[agent] = subprocess.Popen(
            ["sleep", str(HOLDER_S)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            pass_fds=[number],
        )
        agent.transport.abort()


if __name__ == "__main__":
    run(Mortals())
