"""The hub's end of a real socket, by hand: it hands runs out and can refuse what is reported.

For what a hub does once in a while, and a test wants at a certain moment.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from typing import Any

from websockets.asyncio.server import ServerConnection, serve
from websockets.typing import Subprotocol

from lifesigns.core.codec import CODECS
from lifesigns.core.instant import to_text


class Foreman:
    """Greets whoever says hello, and keeps what is reported."""

    def __init__(self) -> None:
        self.url = ""
        self.reports: list[dict[str, Any]] = []
        self.refusals: list[dict[str, Any]] = []  # for the next reports, one each
        self.byes: list[str | None] = []
        self.greeted = 0
        self.mute = False  # it takes reports, and answers none
        self._sockets: list[ServerConnection] = []

    async def hand(self, run: str, prompt: str = "go", *, deadline_s: float = 60) -> None:
        """Hand a run out over the latest connection."""
        deadline = to_text(time.time_ns() // 1_000_000 + round(deadline_s * 1000))
        told = {"type": "run", "run": run, "schedule": "s1", "agent": "a1", "member_id": None}
        await self._send(self._sockets[-1], {**told, "prompt": prompt, "deadline": deadline})

    async def cut(self) -> None:
        """Break the latest connection."""
        self._sockets[-1].transport.abort()

    async def serve(self, socket: ServerConnection) -> None:
        self._sockets.append(socket)
        async for payload in socket:
            message = CODECS[socket.subprotocol or ""].decode(
                payload.encode() if isinstance(payload, str) else payload
            )
            type_, ref = message["type"], message.get("ref")
            if type_ == "hello":
                self.greeted += 1
                await self._send(socket, welcome(message))
            elif type_ == "bye":
                self.byes.append(message.get("reason"))
                await socket.close(1000)
            elif type_ == "done":
                self.reports.append({n: v for n, v in message.items() if n not in ("type", "ref")})
                if self.mute:
                    continue
                refusal = self.refusals.pop(0) if self.refusals else None
                answer = {"type": "ok"} if refusal is None else {"type": "error", **refusal}
                await self._send(socket, {**answer, "ref": ref})
            elif ref is not None:
                await self._send(socket, {"type": "ok", "ref": ref})

    async def _send(self, socket: ServerConnection, message: dict[str, Any]) -> None:
        codec = CODECS[socket.subprotocol or ""]
        await socket.send(codec.encode(message), text=not codec.binary)


def welcome(hello: dict[str, Any]) -> dict[str, Any]:
    return {
        **{"type": "welcome", "session": "s", "node": "01", "ttl": 30, "beat_every": 10},
        **{"agent": hello["agent"], "instance": hello["instance"], "seq": 1, "epoch": "e"},
        **{"time": to_text(time.time_ns() // 1_000_000), "limits": {}},
    }


@contextlib.asynccontextmanager
async def foreman() -> AsyncIterator[Foreman]:
    made = Foreman()
    async with serve(
        made.serve,
        "127.0.0.1",
        0,
        subprotocols=[Subprotocol(name) for name in CODECS],
        ping_interval=None,
    ) as server:
        made.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        yield made
        server.close(close_connections=True)
        await asyncio.sleep(0)
