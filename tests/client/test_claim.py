"""Holding a peer: who has it, who waits for it, and what is told when it is in doubt or lost."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
import pytest

from lifesigns import Agent, Busy, Hub, NoMatch, NotAlive, sync
from lifesigns.core.instant import from_text
from tests.agent import becomes, living
from tests.hub import RunningHub, running_hub
from tests.patience import SOON_S, until


async def happens(signal: asyncio.Event) -> None:
    async with asyncio.timeout(SOON_S):
        await signal.wait()


@pytest.mark.every_loop
async def test_a_peer_is_held_by_one_at_a_time_and_knows_it(
    hub: RunningHub, http: httpx.AsyncClient
) -> None:
    told: list[dict[str, Any]] = []

    async def later(message: dict[str, Any]) -> None:
        told.append(message)

    async with (
        Agent(
            "worker",
            hub.url,
            hub.key,
            capabilities=["dig"],
            on_assigned=told.append,
            on_unassigned=later,
        ),
        Agent("planner", hub.url, hub.key, slots=0) as planner,
        Hub(hub.url, hub.key) as rival,
    ):
        (picked,) = await rival.pick(capability="dig", n=5)
        assert picked["id"] == "worker"
        async with planner.hub.claim(capability="dig", state="available", note="a hole") as peer:
            assert (peer.id, peer.note) == ("worker", "a hole")
            assert peer.presence["capabilities"] == ["dig"]
            assert not peer.lost
            assert not peer.doubtful
            await until(lambda: told)
            assert (told[0]["type"], told[0]["claim"]) == ("assigned", peer.claim)
            assert (told[0]["by"], told[0]["fence"]) == ("planner", peer.fence)

            assert await rival.pick(capability="dig") == []
            with pytest.raises(NoMatch):
                await rival.claim(capability="dig")
            with pytest.raises(Busy) as busy:
                await rival.claim("worker")
            assert busy.value.state == "busy"
            with pytest.raises(NotAlive):
                await rival.claim("nobody")
            waiting = asyncio.ensure_future(_claimed(rival, wait=SOON_S, capability="dig"))
            await asyncio.sleep(0.05)
            assert not waiting.done()
        second = await waiting
        assert second > peer.fence
        assert not peer.lost, "it was given back"
        await until(lambda: [each["type"] for each in told].count("unassigned") == 2)
        await becomes(http, "worker", state="available", claims=0)


async def _claimed(hub: Hub, **options: Any) -> int:
    async with hub.claim(**options) as peer:
        return peer.fence


async def test_a_peer_that_breaks_off_is_in_doubt_and_then_lost(hub: RunningHub) -> None:
    async with Hub(hub.url, hub.key) as planner:
        async with living(hub, "worker", instance="w"):
            claim = planner.claim("worker")
            peer = await claim
        await happens(peer.doubtful)
        assert peer.doubtful.why
        assert not peer.lost
        async with living(hub, "worker", instance="w"):
            await until(lambda: not peer.doubtful)
        await happens(peer.lost)
        assert peer.lost.why
        await claim.release()


async def test_a_claim_renews_itself_and_is_lost_when_it_cannot(fresh_url: str) -> None:
    async with running_hub(fresh_url) as two, living(two, "worker"):
        async with running_hub(fresh_url) as one:
            planner = Hub(one.url, one.key)
            claim = planner.claim("worker", ttl=1)
            peer = await claim
            first = from_text(peer.expires_at)
            await until(lambda: from_text(peer.expires_at) > first + 1_000)
            assert not peer.lost
        await happens(peer.lost)
        assert peer.doubtful
        await claim.release()
        await planner.close()


async def test_a_claim_goes_along_to_another_hub(fresh_url: str) -> None:
    """Both its sides lose their hub, and neither is told what it knows."""
    told: list[dict[str, Any]] = []
    async with running_hub(fresh_url) as two:
        async with running_hub(fresh_url) as one:
            urls = [one.url, two.url]
            planner = Agent("planner", urls, one.key)
            worker = Agent("worker", urls, one.key, on_assigned=told.append)
            await planner.__aenter__()
            await worker.__aenter__()
            claim = planner.hub.claim("worker", ttl=30)
            peer = await claim
            first = peer.expires_at
        await until(lambda: planner.connected and worker.connected)
        await until(lambda: peer.expires_at > first and not peer.doubtful)
        assert not peer.lost
        with pytest.raises(Busy):
            await planner.hub.claim("worker")
        assert [each["claim"] for each in told] == [peer.claim]
        await claim.release()
        await planner.leave()
        await worker.leave()


async def test_who_waits_no_more_holds_nothing(hub: RunningHub) -> None:
    async with Hub(hub.url, hub.key) as planner, Hub(hub.url, hub.key) as rival:
        first = asyncio.ensure_future(_claimed(planner, wait=SOON_S, capability="dig"))
        await asyncio.sleep(0.05)
        second = asyncio.ensure_future(_claimed(rival, wait=SOON_S, capability="dig"))
        first.cancel()
        with pytest.raises(asyncio.CancelledError):
            await first
        async with living(hub, "worker", capabilities=["dig"]):
            assert await second > 0


async def test_a_program_that_blocks_holds_a_peer_too(hub: RunningHub) -> None:
    def work() -> None:
        with sync.Hub(hub.url, hub.key) as planner, planner.claim(capability="dig") as peer:
            assert peer.id == "worker"
            assert not peer.lost.wait(0.01)
            assert not peer.doubtful
            assert peer.expires_at

    async with living(hub, "worker", capabilities=["dig"]):
        await asyncio.to_thread(work)


@pytest.mark.parametrize("thread", [False, True])
async def test_whoever_is_told_to_stop_leaves_no_claim_behind(
    hub: RunningHub, http: httpx.AsyncClient, thread: bool
) -> None:
    """A release over the rate was refused, and an answer that met a cancelled asker forgotten."""
    names = [f"w{n}" for n in range(8)]
    for name in names:
        assert (await http.put(f"/v1/pulse/{name}", json={"capabilities": ["dig"]})).is_success
    async with Hub(hub.url, hub.key, thread=thread) as planner:
        for step in range(12):
            some = [asyncio.ensure_future(_claimed(planner, capability="dig")) for _ in range(16)]
            await asyncio.sleep(step / 1_000)
            for each in some:
                each.cancel()
            await asyncio.gather(*some, return_exceptions=True)
        for name in names:
            await becomes(http, name, claims=0, state="available")
