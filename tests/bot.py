"""A bot with schedules, as whoever runs it calls the hub."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx

from tests.patience import until_told

PROJECT = "p"
BASE = "/v1/bot"


class Bot:
    """One bot, over a client that shows an administrator's key."""

    def __init__(self, http: httpx.AsyncClient, name: str = "bot") -> None:
        self.http = http
        self.name = name

    @property
    def place(self) -> dict[str, Any]:
        return {"project_id": PROJECT, "bot_id": self.name}

    async def call(self, method: str, path: str, /, **said: Any) -> httpx.Response:
        where = "params" if method == "GET" else "json"
        said = {**self.place, **said}
        return await self.http.request(method, f"{BASE}/{path}", **{where: said})  # type: ignore[arg-type]

    async def good(self, method: str, path: str, code: int = 200, /, **said: Any) -> dict[str, Any]:
        answer = await self.call(method, path, **said)
        assert answer.status_code == code, answer.text
        body: dict[str, Any] = answer.json()
        return body

    async def switch(self, on: bool = True) -> None:
        await self.good("PUT", "update", heartbeat=on)

    async def configure(self, **said: Any) -> dict[str, Any]:
        """Configure a heartbeat; a bot that is not on yet is switched on."""
        said = {"prompt": "Look around", **said}
        answer = await self.call("POST", "heartbeat/configure", **said)
        if answer.status_code == 403:
            await self.switch()
            answer = await self.call("POST", "heartbeat/configure", **said)
        assert answer.status_code == 200, answer.text
        made: dict[str, Any] = answer.json()["heartbeat"]
        return made

    async def read(self, heartbeat: str) -> dict[str, Any]:
        body = await self.good("GET", "heartbeat/read", heartbeat_id=heartbeat)
        shown: dict[str, Any] = body["heartbeat"]
        return shown

    async def begin(self, heartbeat: str) -> str:
        """Trigger a run and answer its id, while it is open."""
        body = await self.good("POST", "heartbeat/trigger", 202, heartbeat_id=heartbeat, wait=0)
        assert body["result"]["status"] == "running"
        return str(body["result"]["run"])

    def triggered(self, heartbeat: str) -> asyncio.Task[httpx.Response]:
        """Trigger a run, and wait for its end aside."""
        return asyncio.create_task(self.call("POST", "heartbeat/trigger", heartbeat_id=heartbeat))

    async def log(self, **query: Any) -> list[dict[str, Any]]:
        body = await self.good("GET", "heartbeat/logs", **query)
        entries: list[dict[str, Any]] = body["logs"]
        return entries

    async def logged(self, status: str, **query: Any) -> dict[str, Any]:
        """Wait until there is an entry of a status, and answer the latest."""

        async def found() -> list[dict[str, Any]]:
            return await self.log(status=status, **query)

        return (await until_told(found))[0]

    async def presence(self) -> dict[str, Any]:
        answer = await self.http.get(f"/v1/pulse/{self.name}")
        assert answer.status_code == 200, answer.text
        shown: dict[str, Any] = answer.json()
        return shown

    async def state(self, wanted: str) -> None:
        """Wait until it is in a state."""

        async def reached() -> bool:
            return bool((await self.presence())["state"] == wanted)

        await until_told(reached)
