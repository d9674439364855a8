"""Delegation on one hub: who is tried, who waits, what the holder is told, whoever leaves when."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import replace

import pytest

from lifesigns.core.change import unpack_change
from lifesigns.core.claim import Candidate, Claim, Order, Tried, Won, claim_id
from lifesigns.core.errors import ClaimLost, Internal, NoMatch, Unavailable
from lifesigns.core.filter import Filter
from lifesigns.core.model import Presence
from lifesigns.core.presence import AVAILABLE, BUSY, SUSPECT, present
from lifesigns.hub import market
from lifesigns.hub.delegation import Delegation
from lifesigns.hub.market import BEST
from tests.fanout.border import BEGAN_MS, EPOCH, Lanes
from tests.fanout.test_scene import House
from tests.patience import until

EVERYBODY = Filter()


class Safe:
    """Where claims are kept: it gives what the latest records allow, or what the test says."""

    def __init__(self, lanes: Lanes) -> None:
        self.lanes = lanes
        self.tried: list[list[str]] = []
        self.released: list[str] = []
        self.gate = asyncio.Event()
        self.gate.set()
        self.late: set[str] = set()
        self.feed_is_late = True  # what is claimed is not heard of
        self.fault: Exception | None = None

    def lane_of(self, project: str, agent: str) -> int:
        return int(agent > "m")

    def now(self, agent: str) -> Presence | None:
        lane = self.lane_of("", agent)
        packed = self.lanes.latest[lane].get(agent)
        if packed is None:
            return None
        _, record = unpack_change(packed)
        epoch = self.lanes.places[lane].epoch
        return present("default", agent, record, epoch=epoch, now_ms=BEGAN_MS)

    async def read(self, project: str, agent: str) -> Presence | None:
        return self.now(agent)

    async def take(
        self, project: str, order: Order, candidates: Sequence[Candidate]
    ) -> tuple[Won | None, list[Tried]]:
        self.tried.append([each.agent for each in candidates])
        await self.gate.wait()
        if self.fault is not None:
            raise self.fault
        tried = []
        for agent, _, seq, instance in candidates:
            presence = self.now(agent)
            late = agent in self.late
            tried.append(Tried(agent, presence, late))
            if presence is not None and presence.seq == seq and not late:
                name = claim_id(order.token, agent)
                claim = Claim(name, instance, "h", "b", "", 1, 60_000, 0, 60_000, True)
                lane = self.lane_of("", agent)
                self.lanes.happen(agent, BUSY, lane=lane, heard=not self.feed_is_late)
                now = self.now(agent)
                assert now is not None
                tried[-1] = Tried(agent, now, late=False)
                return Won(claim, EPOCH, now.seq), tried
        return None, tried

    async def renew(
        self, project: str, claim: str, holder: str, ttl_ms: int | None, *, bound: bool
    ) -> Won:
        raise ClaimLost("No test renews.")

    async def release(self, project: str, claim: str, holder: str | None, why: str) -> None:
        self.released.append(claim)

    async def hold(self, project: str, claims: Iterable[Claim]) -> None:
        raise AssertionError("no test holds on")


class Town:
    """A hub's delegation over lanes that the test writes."""

    def __init__(self) -> None:
        self.house = House()
        self.lanes = self.house.lanes
        self.safe = Safe(self.lanes)
        self.delegation = Delegation(self.safe, self.house.fanout, self)
        self.told: list[tuple[str, str, bool]] = []
        self._made = 0

    def at_ms(self, moment: float) -> int:
        return 0

    async def open(self) -> None:
        asyncio.get_running_loop().call_soon(self.lanes.load)
        await self.delegation.pick("default", EVERYBODY, 1)

    def claiming(
        self, wanted: Filter = EVERYBODY, *, agent: str | None = None, wait_s: float = 0
    ) -> asyncio.Task[tuple[Won, Presence]]:
        self._made += 1
        order = Order(f"k{self._made}", "h", "b", "", 60_000, bound=True)
        claiming = self.delegation.claim("default", order, agent, wanted, wait_s)
        return asyncio.create_task(claiming)

    async def keep(self, won: Won) -> None:
        await self.delegation.keep("default", won, self.hear)

    def hear(self, claim: Claim, why: str, final: bool) -> None:
        self.told.append((claim.agent, why, final))


@pytest.fixture
async def town() -> Town:
    made = Town()
    for name in "abcdefghijkl":
        made.lanes.happen(name, heard=False)
    await made.open()
    return made


async def test_one_of_the_best_is_drawn_and_no_two_try_the_same(town: Town) -> None:
    town.safe.gate.clear()
    tasks = [town.claiming() for _ in range(BEST)]
    await until(lambda: len(town.safe.tried) == BEST)
    firsts = [tried[0] for tried in town.safe.tried]
    assert len(set(firsts)) == BEST
    assert firsts[0] in "abcdefgh"  # those who have been idle the longest
    town.safe.gate.set()
    agents = {won.claim.agent for won, _ in await asyncio.gather(*tasks)}
    assert len(agents) == BEST


async def test_what_the_store_answers_counts_before_what_the_feed_has_told(town: Town) -> None:
    taken = {(await town.claiming())[0].claim.agent for _ in range(12)}
    assert taken == set("abcdefghijkl")  # though the feed has told of none of these claims
    with pytest.raises(NoMatch):
        await town.claiming()


async def test_another_hubs_claim_is_learned_of_by_trying(town: Town) -> None:
    only = Filter(ids=("a", "b"))
    town.lanes.happen("a", BUSY, heard=False)
    won, _ = await town.claiming(only)
    assert won.claim.agent == "b"
    with pytest.raises(NoMatch):
        await town.claiming(only)


async def test_those_who_wait_are_served_in_their_order(town: Town) -> None:
    only = Filter(ids=("z",))
    town.safe.feed_is_late = False
    tasks = [town.claiming(only, wait_s=30) for _ in range(3)]
    for i, task in enumerate(tasks):
        town.lanes.happen("z", AVAILABLE, lane=1, task=str(i))
        won, _ = await task
        assert won.claim.token == f"k{i + 1}"
        assert not any(later.done() for later in tasks[i + 1 :])
    town.lanes.happen("z", AVAILABLE, lane=1, task="free")
    assert town.delegation.waiters == 0


async def test_whose_lease_had_run_out_is_tried_again_later(town: Town) -> None:
    only = Filter(ids=("a",))
    town.safe.late.add("a")
    waiting = town.claiming(only, wait_s=30)
    await until(lambda: len(town.safe.tried) == 1)
    town.safe.late.clear()  # it beat, which is no change
    won, _ = await waiting
    assert won.claim.agent == "a"


@pytest.mark.parametrize("named", [False, True])
async def test_a_claim_whose_asker_has_gone_is_let_go(town: Town, named: bool) -> None:
    town.safe.gate.clear()
    asking = town.claiming(agent="a") if named else town.claiming(Filter(ids=("a",)))
    await until(lambda: town.safe.tried)
    asking.cancel()
    await asyncio.wait([asking])
    town.safe.gate.set()
    await until(lambda: town.safe.released)
    assert town.safe.released == ["k1@a"]


async def test_a_store_that_is_away_is_told_to_whoever_asks(town: Town) -> None:
    town.safe.fault = Unavailable("It is away.")
    for agent in (None, "a"):
        with pytest.raises(Unavailable):
            await town.claiming(agent=agent)
    town.safe.fault = None
    assert (await town.claiming(agent="a"))[0].claim.agent == "a"


async def test_a_fault_is_told_and_harms_no_other(town: Town) -> None:
    town.safe.fault = ValueError("a bug")
    with pytest.raises(Internal):
        await town.claiming()
    town.safe.fault = None
    assert (await town.claiming())[0].claim.agent in "abcdefgh"


async def test_many_filters_at_once_lose_nobody(
    town: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(market, "POOLS", 2)
    names = "abcdefghijkl"
    tasks = [town.claiming(Filter(ids=(name,)), wait_s=30) for name in names]
    won = await asyncio.gather(*tasks)
    assert [each.claim.agent for each, _ in won] == list(names)


async def test_a_holder_is_told_of_what_comes_after_its_claim_alone(town: Town) -> None:
    won, _ = await town.claiming(agent="a")
    before = town.lanes.places[0]
    assert won.seq == before.seq
    await town.keep(won)  # the feed is behind: it shows the agent without the claim
    assert town.told == []


async def test_a_claim_that_is_gone_is_told_once(town: Town) -> None:
    won, _ = await town.claiming(agent="a")
    await town.keep(won)
    town.lanes.followers[0].changed(0, town.lanes.places[0], [town.lanes.latest[0]["a"]])
    town.lanes.happen("a", SUSPECT)
    town.lanes.forget("a")
    assert town.told == [("a", "released", True)]  # these records have no claims
    assert town.delegation.holds == 0


async def test_a_lane_that_is_read_anew_is_judged_anew(town: Town) -> None:
    won, _ = await town.claiming(agent="a")
    await town.keep(won)
    town.lanes.turn_epoch("e2")
    del town.lanes.latest[0]["a"]
    town.lanes.load("epoch", 0)
    assert town.told == [("a", "forgotten", True)]
    await town.keep(replace(won, epoch="e0"))  # of an epoch that is not known here
    assert len(town.told) == 1
