"""Where it all happens: a store, hubs as processes, agents, watchers, and proxies in between.

```
 members ══╗                  ╔══ proxy ══ hub a (process) ══ proxy ══╗
 posters ──╫── door a, door b ╣                                       ╠══ Valkey (process)
 witnesses ╝                  ╚══ proxy ══ hub b (process) ══ proxy ══╝
```

A scene does something to one of these parts, and undoes it. Then ``calm`` waits until everybody is
where they mean to be, and ``judge`` holds what was told to what was true.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import signal
import time
from collections.abc import AsyncIterator, Callable, Collection, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass

from lifesigns.core.access import DEFAULT_PROJECT
from lifesigns.core.change import head_of, rank_of
from lifesigns.core.presence import KIND_NAMES, NONE, STATES
from lifesigns.store import keys
from lifesigns.store.link import Link
from tests.chaos.clock import Clock, Setting
from tests.chaos.invariant import Account, Evidence, judge
from tests.chaos.member import Door, Member, Posters
from tests.chaos.proxy import Proxy, Streams
from tests.chaos.truth import Truth, now_ms
from tests.chaos.vault import Vault
from tests.chaos.witness import Told, Witness
from tests.hub import ROOT_KEY, HubProcess, hub_process
from tests.keyring import linked
from tests.patience import SOON_S
from tests.watcher import Shown, mirrored, truth

POSTER_GROUPS = 5  # each posts at its own moments; a post takes a thousand at most
GLANCE_S = 0.2  # between two looks at everything, which the agents' own loop has to do
SHORTEST_S = 1.0  # the ttl of every tenth member, whatever the scale
CALM_S = 30.0  # for everybody to be back, after whatever happened; seconds if nothing is wrong


@dataclass(frozen=True)
class Scale:
    """How large, and how long."""

    members: int
    posters: int
    ttl_s: float
    outage_s: float  # longer than a lease
    pause_s: float  # longer than a hub's own lease of 2.5 s


SHORT = Scale(members=60, posters=40, ttl_s=2.0, outage_s=4.0, pause_s=4.0)
LONG = Scale(members=1_600, posters=400, ttl_s=10.0, outage_s=20.0, pause_s=20.0)


class Post:
    """One hub's place: a door for the agents, a way to the store, and the process in between."""

    def __init__(self, name: str, server: Vault, clock: Clock) -> None:
        self.name = name
        self.hub: HubProcess | None = None
        self.front = Proxy(self._to_hub)
        self.back = Proxy(
            lambda: asyncio.open_unix_connection(server.socket_path), lambda: Setting(clock).feed
        )
        self._stack = AsyncExitStack()
        self._house = AsyncExitStack()

    async def __aenter__(self) -> Post:
        await self._house.enter_async_context(self.front)
        await self._house.enter_async_context(self.back)
        self.door = Door(self.name, f"http://127.0.0.1:{self.front.port}", ROOT_KEY)
        await self.start()
        return self

    async def __aexit__(self, *exc: object) -> None:
        self.back.resume()
        self.resume()
        await self._stack.aclose()
        await self._house.aclose()

    async def start(self) -> None:
        """Start a hub here."""
        self.hub = await self._stack.enter_async_context(
            hub_process(f"redis://127.0.0.1:{self.back.port}")
        )

    async def kill(self) -> None:
        """End the hub as a crash would."""
        assert self.hub is not None
        await self.hub.kill()
        self.hub = None
        await self._stack.aclose()

    async def terminate(self) -> None:
        """Ask the hub to go."""
        assert self.hub is not None
        assert await self.hub.terminate() == 0, self.hub.log
        self.hub = None
        await self._stack.aclose()

    def pause(self) -> None:
        """Let the hub hang: its sockets stay open, and it does nothing."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        self._signal(signal.SIGCONT)

    def _signal(self, number: int) -> None:
        if self.hub is not None and self.hub.process.returncode is None:
            self.hub.process.send_signal(number)

    async def _to_hub(self) -> Streams:
        if self.hub is None:
            raise ConnectionRefusedError
        host, _, port = self.hub.url.removeprefix("http://").rpartition(":")
        return await asyncio.open_connection(host, int(port))


class Stage:
    """All of it."""

    def __init__(self, scale: Scale, dice: random.Random, server: Vault) -> None:
        self.scale = scale
        self.dice = dice
        self.server = server
        self.clock = Clock()
        self.truth = Truth()
        self.posts = [Post(name, server, self.clock) for name in "ab"]
        self.members: list[Member] = []
        self.posters: list[Posters] = []
        self.witnesses: list[Witness] = []
        self.crowd: set[asyncio.Task[None]] = set()
        self._judged_ms = 0

    # Who is there.

    def populate(self) -> None:
        """Let agents and watchers come."""
        doors = [post.door for post in self.posts]
        for i in range(self.scale.members):
            ttl_s = SHORTEST_S if i % 10 == 0 else self.scale.ttl_s
            life = self.truth.born(f"member-{i}", ttl_s)
            self.members.append(Member(life, doors, random.Random(self.dice.random())))
        for group in range(POSTER_GROUPS):
            names = [f"poster-{i}" for i in range(group, self.scale.posters, POSTER_GROUPS)]
            dice = random.Random(self.dice.random())
            self.posters.append(Posters(self.truth, names, self.scale.ttl_s, doors, dice))
        for door in doors:
            others = [other for other in doors if other is not door]
            self.witnesses.append(Witness(f"the watcher at {door.name}", door, others))
        for actor in (*self.members, *self.posters, *self.witnesses):
            self.crowd.add(asyncio.create_task(actor.run()))

    def some(self, share: float) -> list[Member]:
        """Choose members who mean to be there."""
        there = [member for member in self.members if member.life.wanted]
        return self.dice.sample(there, max(1, round(share * len(there))))

    def at(self, post: Post) -> list[Member]:
        return [m for m in self.members if m.life.hub == post.name and m.life.wanted]

    def chat(self, on: bool) -> None:
        """Let members have news, so that there is something to lose."""
        for member in self.members:
            member.chatty = on

    def everybody_back(self) -> bool:
        """Tell whether a hub has answered everybody who means to be there."""
        return all(member.here for member in self.members if member.life.wanted)

    async def until(self, condition: Callable[[], object], within_s: float, what: str) -> None:
        deadline = time.monotonic() + within_s
        while not condition():
            for task in self.crowd:
                if task.done():
                    task.result()  # one of ours has failed: nothing else would be told of it
            assert time.monotonic() < deadline, f"not within {within_s} s: {what}"
            await asyncio.sleep(0.02)

    # What became of it.

    async def judge(self) -> str:
        """Wait until all is as it should be, or should have been; answer what is wrong then."""
        self.chat(False)
        for member in self.members:
            assert member.expelled is None, f"{member.life.agent}: {member.life.notes}"
        await self.until(self.everybody_back, CALM_S, "every agent back")
        await self.until(self._watchers_home, CALM_S, "watchers at home")
        for post in self.posts:
            await self._answers(post)
        deadline = time.monotonic() + CALM_S
        while True:
            found = await self.verdict()
            if not found or time.monotonic() > deadline:
                return found
            await asyncio.sleep(GLANCE_S)

    async def verdict(self) -> str:
        """Hold all that was told since the last acquittal to the truth; answer what is wrong."""
        evidence = await self.evidence()
        found = judge(evidence)
        if not found:
            self.forget(evidence.until_ms)
        return found

    def forget(self, until_ms: int) -> None:
        """What was told so far, and what happened until then, counts as judged."""
        self._judged_ms = until_ms
        for witness in self.witnesses:
            witness.forget()

    async def all_are_dead(self, agents: Collection[str]) -> None:
        """Wait until every hub says so."""
        deadline = time.monotonic() + CALM_S
        while time.monotonic() < deadline:
            hubs = [await self._shown(post, detail="lite") for post in self.posts]
            if not any(shown[agent]["alive"] for shown in hubs for agent in agents):
                return
            await asyncio.sleep(GLANCE_S)
        raise AssertionError(f"some live on, long after: {await self.verdict()}")

    async def evidence(self) -> Evidence:
        until_ms = now_ms()
        shown = {post.name: await self._shown(post) for post in self.posts}
        async with linked(self.server.url) as link:
            written = await read_log(link)
        accounts = [
            Account(w.name, list(w.account), mirrored(w), list(w.wrong), w.coalesced > 0)
            for w in self.witnesses
        ]
        return Evidence(self.truth, accounts, written, shown, self._judged_ms, until_ms)

    def _watchers_home(self) -> bool:
        for witness in self.witnesses:
            witness.go_home()
        return all(witness.settled for witness in self.witnesses)

    async def _answers(self, post: Post) -> None:
        """Wait until a hub reads the store again."""
        deadline = time.monotonic() + CALM_S
        async with post.door.client() as http:
            while (await http.get("/readyz")).status_code != 200:
                assert time.monotonic() < deadline, f"{post.name} is not ready"
                await asyncio.sleep(0.1)

    async def _shown(self, post: Post, detail: str = "full") -> Mapping[str, Shown]:
        async with post.door.client() as http:
            return await truth(http, detail=detail)


async def read_log(link: Link) -> dict[int, list[Told]]:
    """Read all changes that the store has written down, by partition."""
    found = {}
    for number in range(keys.PARTITIONS):
        names = keys.lane(DEFAULT_PROJECT, number)
        epoch = (await link.ask("HGET", names[0], "epoch", timeout_s=SOON_S) or b"").decode()
        entries = await link.ask("XRANGE", names[3], "-", "+", timeout_s=SOON_S)
        found[number] = [written(epoch, change) for _, (_, change) in entries]
    return found


def written(epoch: str, packed: bytes) -> Told:
    """Read a change as the store has it."""
    head, rank = head_of(packed), rank_of(packed)
    return Told(
        head.agent,
        epoch,
        head.seq,
        KIND_NAMES[head.kind],
        None if head.was == NONE else STATES[head.was],
        STATES[rank],
        head.at_ms,
    )


@contextlib.asynccontextmanager
async def stage(scale: Scale, seed: int) -> AsyncIterator[Stage]:
    """Raise the curtain when everybody is there."""
    server = Vault()
    async with AsyncExitStack() as stack:
        stack.callback(server.discard)
        server.start()
        it = Stage(scale, random.Random(seed), server)
        await asyncio.gather(*(stack.enter_async_context(post) for post in it.posts))
        stack.push_async_callback(dismiss, it.crowd)
        it.populate()
        assert not (found := await it.judge()), found
        yield it


async def dismiss(crowd: set[asyncio.Task[None]]) -> None:
    for task in crowd:
        task.cancel()
    if crowd:
        await asyncio.wait(crowd)
