"""An event stream as a browser reads it."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Any

import httpx

from tests.hub import Reachable
from tests.patience import SOON_S


@dataclass(frozen=True)
class Event:
    """One event of a stream."""

    type: str
    id: str | None
    frame: dict[str, Any]


class Events:
    """A stream that is being read."""

    def __init__(self, response: httpx.Response) -> None:
        self._chunks = response.aiter_bytes()
        self._rest = b""
        self.last_id: str | None = None

    async def block(self) -> str | None:
        """Read up to the next blank line: an event or a comment; None at the end of the stream."""
        async with asyncio.timeout(SOON_S):
            while b"\n\n" not in self._rest:
                chunk = await anext(self._chunks, None)
                if chunk is None:
                    assert not self._rest, "it ended within an event"
                    return None
                self._rest += chunk
        block, _, self._rest = self._rest.partition(b"\n\n")
        return block.decode()

    async def hear(self) -> Event:
        """Take the next event, passing over comments."""
        while True:
            block = await self.block()
            assert block is not None, "the stream has ended"
            if block.startswith(":"):
                continue
            fields = dict(line.split(": ", 1) for line in block.split("\n"))
            assert set(fields) - {"id"} == {"event", "data"}, fields
            event = Event(fields["event"], fields.get("id"), json.loads(fields["data"]))
            self.last_id = event.id or self.last_id
            return event

    async def begin(self) -> list[dict[str, Any]]:
        """Take all up to the end of the snapshot; answer its agents."""
        assert (await self.hear()).type == "watching"
        agents: list[dict[str, Any]] = []
        more = True
        while more:
            event = await self.hear()
            assert event.type == "snapshot", event
            agents += event.frame["agents"]
            more = event.frame["more"]
        return agents

    async def changes(self, count: int) -> list[dict[str, Any]]:
        """Take frames until so many changes have come."""
        taken: list[dict[str, Any]] = []
        while len(taken) < count:
            event = await self.hear()
            assert event.type == "changes", event
            taken += event.frame["changes"]
        assert len(taken) == count, taken
        return taken

    async def ended(self) -> None:
        """Await the end of the stream, passing over what still comes."""
        while await self.block() is not None:
            pass


@contextlib.asynccontextmanager
async def listening(
    hub: Reachable,
    *,
    key: str | None = None,
    since: str | None = None,
    last_id: str | None = None,
    path: str = "/v1/events",
    **query: Any,
) -> AsyncIterator[Events]:
    """Open a stream; ``key`` as for ``Reachable.client``, ``last_id`` as a browser comes back."""
    params: Mapping[str, Any] = query | ({} if since is None else {"since": since})
    headers = {} if last_id is None else {"Last-Event-ID": last_id}
    async with (
        hub.client(key, headers=headers) as client,
        client.stream("GET", path, params=params) as answer,
    ):
        assert answer.status_code == 200, (await answer.aread()).decode()
        assert answer.headers["content-type"].startswith("text/event-stream")
        yield Events(answer)
