"""The agents: they want to be there, come back to any hub by themselves, and keep no secrets.

A ``Member`` holds a socket, as the client would: it asks for an answer to every sign of life, and
goes to another hub when none comes. ``Posters`` beat over HTTP, many in one request. What happens
to them they write down in the ground truth, before anybody else can know it.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import Sequence
from typing import Any

import httpx

from tests.chaos.line import Ended, Line, line_to
from tests.chaos.truth import Life, Truth, now_ms
from tests.hub import Reachable

BEATS_A_TTL = 4
NEWS_SHARE = 0.3  # of the signs of those who chat
PATIENCE_S = 1.0  # with a hub, at least: this program may be what is slow
COME_BACK_S = 0.3  # a first try, at random within it; each further one takes twice as long
COME_BACK_AT_MOST_S = 2.0
NO_RETURN = frozenset({4000, 4001, 4003, 4009, 4010})
STATUSES = ("idle", "thinking", "learning", "available")


class Door(Reachable):
    """A way to a hub, under the name that the truth knows it by."""

    def __init__(self, name: str, url: str, key: str) -> None:
        super().__init__(url, key)
        self.name = name


class Member:
    """An agent with a socket."""

    def __init__(self, life: Life, doors: Sequence[Door], dice: random.Random) -> None:
        self.life = life
        self.expelled: int | None = None
        self.chatty = False  # it has news to tell, now and then
        self._doors = doors
        self._dice = dice
        self._ttl_s = life.ttl_ms / 1000
        self._patience_s = max(self._ttl_s / BEATS_A_TTL, PATIENCE_S)
        self._line: Line | None = None
        self._farewell: str | None = None  # how it leaves
        self._wake = asyncio.Event()

    @property
    def here(self) -> bool:
        """Whether a hub has answered its latest sign of life."""
        return self.life.gap is None and self.life.heard_ms is not None

    # What a scene does to it.

    def leave(self, how: str) -> None:
        """Be gone, until ``come_back``: by a `bye`, by a `crash`, or by a `hush`."""
        self.life.wanted = False
        self.life.note(f"leaves with a {how}")
        self._farewell = how
        if how == "crash":
            self.stumble()
        self._wake.set()

    def stumble(self) -> None:
        """Break off."""
        if self._line is not None and self._line.open:
            self.life.broke()
            self._line.abort()

    def come_back(self) -> None:
        self.life.wanted = True
        self._farewell = None
        self._wake.set()

    # Its life.

    async def run(self) -> None:
        tries = 0
        door = self._dice.choice(self._doors)
        while self.expelled is None:
            heard_ms = self.life.heard_ms
            try:
                await self._live_at(door)
            except (Ended, TimeoutError) as ended:
                self._lost(door, ended)
            tries = 0 if self.life.heard_ms != heard_ms else tries + 1
            await asyncio.sleep(
                self._dice.uniform(0, min(COME_BACK_S * 2**tries, COME_BACK_AT_MOST_S))
            )
            while not self.life.wanted:
                self._wake.clear()
                await self._wake.wait()
            door = self._dice.choice([each for each in self._doors if each is not door])

    async def _live_at(self, door: Door) -> None:
        async with line_to(door, 2 * self._patience_s) as line:
            self._line = line
            line.on_end = self._broke
            await self._greet(line, door)
            while self._farewell is None:
                await self._pause()
                if self._farewell is None:
                    await self._sign(line, door)
            await self._part(line)

    async def _pause(self) -> None:
        """Wait until the next sign is due, or something happens."""
        self._wake.clear()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._ttl_s / BEATS_A_TTL * self._dice.uniform(0.8, 1.0)):
                await self._wake.wait()

    async def _greet(self, line: Line, door: Door) -> None:
        """Say hello, and begin to be there."""
        said = {"agent": self.life.agent, "instance": "one", "ttl": self._ttl_s, **self._news()}
        at_ms = now_ms()
        answer = await line.ask("hello", 4 * self._patience_s, **said)
        if answer["type"] != "welcome":
            raise Ended(1006)
        self.life.sign(at_ms, door.name)
        self.life.note(f"is at {door.name}")

    async def _sign(self, line: Line, door: Door) -> None:
        """Give a sign of life, and have it answered; news are not, while the store is away."""
        at_ms = now_ms()
        if self.chatty and self._dice.random() < NEWS_SHARE:
            line.say("beat", **self._news())
        await line.ask("ping", self._patience_s)
        self.life.sign(at_ms, door.name)

    def _news(self) -> dict[str, Any]:
        return {"status": self._dice.choice(STATUSES)}

    async def _part(self, line: Line) -> None:
        if self._farewell == "bye":
            self.life.bye()
            line.say("bye")
            while True:
                await line.hear(self._patience_s)
        if self._farewell == "hush":
            self.life.silent()
            line.hush()
            while self._farewell == "hush" and not line.ended:
                self._wake.clear()
                await self._wake.wait()

    def _broke(self) -> None:
        if self.life.gap is None and self.life.wanted:
            self.life.broke()
        self._wake.set()

    def _lost(self, door: Door, ended: Ended | TimeoutError) -> None:
        code = ended.code if isinstance(ended, Ended) else None
        if self.life.wanted:
            self.life.broke()
            self.life.note(f"lost {door.name}: {code or 'no answer'}")
            if code in NO_RETURN:
                self.expelled = code


class Posters:
    """Agents without a socket."""

    def __init__(
        self,
        truth: Truth,
        names: Sequence[str],
        ttl_s: float,
        doors: Sequence[Door],
        dice: random.Random,
    ) -> None:
        self._dice = dice
        self.lives = [truth.born(name, ttl_s) for name in names]
        self._doors = doors
        self._every_s = ttl_s / BEATS_A_TTL
        self._ttl_s = ttl_s

    def stop(self) -> None:
        """Post nothing more, all at once."""
        for life in self.lives:
            life.wanted = False
            life.silent()
            life.note("posts nothing more")

    def come_back(self) -> None:
        for life in self.lives:
            life.wanted = True

    async def run(self) -> None:
        clients = [door.client(timeout=self._every_s) for door in self._doors]
        at = 0
        try:
            await asyncio.sleep(self._dice.uniform(0, self._every_s))
            while True:
                wanted = [life for life in self.lives if life.wanted]
                if wanted and not await self._post(clients[at], wanted):
                    at = (at + 1) % len(clients)
                await asyncio.sleep(self._every_s)
        finally:
            for client in clients:
                await client.aclose()

    async def _post(self, client: httpx.AsyncClient, lives: list[Life]) -> bool:
        """Beat for all of them; answer whether that went well for each."""
        beats = [{"id": life.agent, "ttl": self._ttl_s} for life in lives]
        at_ms = now_ms()
        try:
            answer = await client.post("/v1/pulse", json={"beats": beats})
        except httpx.HTTPError:
            return False
        if answer.status_code != 200:
            return False
        results = answer.json()["results"]
        for life, result in zip(lives, results, strict=True):
            if "error" not in result and life.wanted:
                life.sign(at_ms)
        return not any("error" in result for result in results)
