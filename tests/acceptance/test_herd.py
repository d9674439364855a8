"""A herd of delegators on two hubs, some of whom die, on too few agents, some of whom die too."""

from __future__ import annotations

import asyncio
import contextlib
import math
import time
from collections import Counter, defaultdict
from typing import Any

from lifesigns.core.codec import MSGPACK
from tests.agent import Agent, becomes, living
from tests.hub import RunningHub, running_hub
from tests.patience import SOON_S, until

AGENTS, MORTAL = 50, 5  # who stay, and who do not
DELEGATORS, DOOMED = 200, 10  # who let go what they held, and who break off with it
ROUNDS = 3
WORK_S = 0.01
FORSAKEN_S = 1  # the ttl of what is held by those who break off
IDLE_S = 1.0  # nobody is free for longer while somebody waits,
TURNS = 10  # but for what this program, both hubs in it, takes for so many turns of its loop


class Ledger:
    """Who holds which agent, as the delegators see it."""

    def __init__(self) -> None:
        self.holders: dict[str, int] = {}
        self.fences: dict[str, list[int]] = defaultdict(list)
        self.lost: Counter[str] = Counter()
        self.idle_s: dict[str, float] = defaultdict(float)  # at the longest, while others waited
        self._waiting, self._wait_since = 0, 0.0
        self._free_since: dict[str, float] = {}

    def wait(self) -> None:
        """Somebody asks for an agent."""
        if self._waiting == 0:
            self._wait_since = time.monotonic()
        self._waiting += 1

    def take(self, claim: dict[str, Any], who: int) -> None:
        agent = claim["agent"]
        assert agent not in self.holders, f"{agent} has two holders"
        self.holders[agent] = who
        self.fences[agent].append(claim["fence"])
        self._count(agent, self._free_since.pop(agent, math.inf))
        self._waiting -= 1
        if self._waiting == 0:
            for each, since in self._free_since.items():
                self._count(each, since)

    def give_back(self, agent: str) -> None:
        del self.holders[agent]

    def let_go(self, agent: str) -> None:
        """The hub has it that it is free again."""
        if agent not in self.holders:  # else somebody was told sooner than who let it go
            self._free_since.setdefault(agent, time.monotonic())

    def _count(self, agent: str, since: float) -> None:
        idle_s = time.monotonic() - max(since, self._wait_since)
        self.idle_s[agent] = max(self.idle_s[agent], idle_s)


class Stalls:
    """How long this program's loop stood still, at the longest."""

    def __init__(self) -> None:
        self.longest_s = 0.0

    async def watch(self) -> None:
        while True:
            began = time.monotonic()
            await asyncio.sleep(0.005)
            self.longest_s = max(self.longest_s, time.monotonic() - began)


async def ask(boss: Agent, ledger: Ledger, type_: str, **fields: Any) -> dict[str, Any]:
    """Ask, and take the answer; what is told meanwhile of a claim is noted."""
    await boss.say(type_, ref="now", **fields)
    while True:
        heard = await boss.hear()
        if heard.get("ref") == "now":
            return heard
        ledger.lost[heard["why"]] += heard.get("final", False)


async def delegate(hub: RunningHub, ledger: Ledger, who: int, *, doomed: bool) -> None:
    wanted = {"filter": {"capability": ["work"]}, "wait": 60, "ttl": FORSAKEN_S if doomed else 60}
    async with living(hub, f"boss-{who}", codec=MSGPACK) as boss:
        for _ in range(1 if doomed else ROUNDS):
            ledger.wait()
            claim = await ask(boss, ledger, "claim", **wanted)
            assert claim["type"] == "claimed", claim
            ledger.take(claim, who)
            await asyncio.sleep(0 if doomed else WORK_S)
            ledger.give_back(claim["agent"])
            if not doomed:
                answer = await ask(boss, ledger, "release", claim=claim["claim"])
                assert answer.get("code", "claim_lost") == "claim_lost", answer
                if answer["type"] == "ok":
                    ledger.let_go(claim["agent"])


async def test_every_slot_has_one_holder_and_is_free_again_whoever_dies(fresh_url: str) -> None:
    ledger, stalls = Ledger(), Stalls()
    async with (
        running_hub(fresh_url, grace_s=0.2) as one,
        running_hub(fresh_url, grace_s=0.2) as two,
        one.client() as http,
        contextlib.AsyncExitStack() as stack,
    ):
        hubs = (one, two)
        workers = [
            await stack.enter_async_context(
                living(hubs[i % 2], f"w{i}", capabilities=["work"], codec=MSGPACK)
            )
            for i in range(AGENTS + MORTAL)
        ]
        for i in range(AGENTS):
            ledger.let_go(f"w{i}")
        stack.callback(asyncio.create_task(stalls.watch()).cancel)
        herd = asyncio.gather(
            *[
                delegate(hubs[i % 2], ledger, i, doomed=i < DOOMED)
                for i in range(DELEGATORS + DOOMED)
            ]
        )
        await until(lambda: len(ledger.fences) >= AGENTS)
        for worker in workers[AGENTS:]:
            worker.abort()
        async with asyncio.timeout(SOON_S):
            await herd
        for i in range(AGENTS):
            await becomes(http, f"w{i}", state="available", claims=0)
        assert (await http.get("/v1/claims")).json() == {"claims": []}
        free = (await http.get("/v1/pulse?capability=work&state=available")).json()["agents"]
        assert {each["id"] for each in free} == {f"w{i}" for i in range(AGENTS)}
    for agent, fences in ledger.fences.items():
        assert fences == sorted(set(fences)), agent
    assert sum(map(len, ledger.fences.values())) == DELEGATORS * ROUNDS + DOOMED
    # None of those who were free throughout lay idle while somebody waited.
    idle_s = max(ledger.idle_s[f"w{i}"] for i in range(AGENTS))
    assert idle_s < IDLE_S + TURNS * stalls.longest_s, (idle_s, stalls.longest_s)
    shares = sorted(map(len, ledger.fences.values()))[DOOMED + MORTAL :]
    assert shares[0] * 2 >= shares[-1], shares
