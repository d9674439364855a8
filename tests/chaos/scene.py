"""The scenes: each does one thing to the stage, undoes it, and returns when the worst is over.

A scene asserts only what is peculiar to it; what has to hold after any of them is judged by the
rules of ``invariant``.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from tests.chaos.stage import Post, Stage
from tests.chaos.truth import now_ms
from tests.watcher import mirrored, watching

HOUR_MS = 3_600_000
HANG_S = 6.0  # the service counts as away after 5
BACK_S = 10.0  # agents of a hub that was killed are at another one within

Scene = Callable[[Stage], Awaitable[None]]


async def everything_is_well(stage: Stage) -> None:
    """Agents chat for a while."""
    stage.chat(True)
    await asyncio.sleep(stage.scale.ttl_s)


# What hubs do to themselves.


async def a_hub_is_killed(stage: Stage) -> None:
    """Its agents go on at the other one."""
    victim = stage.dice.choice(stage.posts)
    stage.chat(True)
    with stage.truth.outage("killed", victim.name):
        await victim.kill()
        await stage.until(stage.everybody_back, BACK_S, "the agents at the other hub")
        await victim.start()


async def a_hub_dies_with_some_of_its_agents(stage: Stage) -> None:
    """Whoever comes back was never away; whoever does not is dead, for nobody else saw it go."""
    victim = stage.dice.choice(stage.posts)
    lost = stage.at(victim)[:5]
    with stage.truth.outage("killed", victim.name):
        await victim.kill()
        for member in lost:
            member.leave("crash")
        await victim.start()
    await stage.all_are_dead({member.life.agent for member in lost})
    for member in lost:
        member.come_back()


async def a_hub_hangs(stage: Stage) -> None:
    """It stops for longer than its own lease, and goes on as if nothing had happened."""
    victim = stage.dice.choice(stage.posts)
    stage.chat(True)
    with stage.truth.outage("stopped", victim.name):
        victim.pause()
        try:
            await asyncio.sleep(stage.scale.pause_s)
        finally:
            victim.resume()


async def a_hub_is_asked_to_go(stage: Stage) -> None:
    """It sends its agents to the other one."""
    leaver = stage.dice.choice(stage.posts)
    stage.chat(True)
    with stage.truth.outage("drained", leaver.name):
        await leaver.terminate()
        await stage.until(stage.everybody_back, BACK_S, "the agents at the other hub")
        await leaver.start()


# What agents do.


async def agents_leave(stage: Stage) -> None:
    """Some say goodbye, some crash, some fall silent with their sockets open; then they return."""
    leaving = stage.some(0.3)
    for i, member in enumerate(leaving):
        member.leave(("bye", "crash", "hush")[i % 3])
    for posters in stage.posters:
        posters.stop()
    gone = [member.life for member in leaving]
    gone += [life for posters in stage.posters for life in posters.lives]
    await stage.all_are_dead({life.agent for life in gone})
    for each in (*leaving, *stage.posters):
        each.come_back()


async def a_herd_comes_back(stage: Stage) -> None:
    """All sockets break at the same moment."""
    for member in stage.members:
        member.stumble()
    await stage.until(stage.everybody_back, BACK_S, "the herd")


# What the network does between agents and hubs.


async def a_hub_is_cut_off_from_its_agents(stage: Stage) -> None:
    """Nothing reaches it, nothing comes from it, and no socket ends."""
    victim = stage.dice.choice(stage.posts)
    way = stage.dice.choice([(True, True), (True, False), (False, True)])
    victim.front.lose(up=way[0], down=way[1])
    await asyncio.sleep(stage.scale.outage_s)
    victim.front.resume()


async def agents_are_heard_in_tiny_pieces(stage: Stage) -> None:
    for post in stage.posts:
        post.front.chop(stage.dice.randint(1, 7))
    for member in stage.some(0.2):
        member.stumble()
    stage.chat(True)
    await asyncio.sleep(stage.scale.ttl_s / 2)
    for post in stage.posts:
        post.front.resume()


async def agents_are_far_away(stage: Stage) -> None:
    for post in stage.posts:
        post.front.delay(stage.scale.ttl_s / 20)
    stage.chat(True)
    await asyncio.sleep(stage.scale.ttl_s)
    for post in stage.posts:
        post.front.resume()


# What happens to the store.


async def the_store_is_killed(stage: Stage) -> None:
    """It is away for twice as long as a lease, and comes back with what it had."""
    with stage.truth.outage("the store is away"):
        stage.server.kill()
        stage.chat(True)
        await asyncio.sleep(stage.scale.outage_s)
        stage.server.start()


async def the_store_comes_back_empty(stage: Stage) -> None:
    with stage.truth.outage("the store has lost everything"):
        stage.server.kill()
        stage.server.lose_all()
        stage.server.start()


async def the_store_loses_its_last_second(stage: Stage) -> None:
    stage.chat(True)
    before = stage.server.mark()
    await asyncio.sleep(1.0)
    with stage.truth.outage("the store has lost a second"):
        stage.server.kill()
        stage.server.lose_since(before)
        stage.server.start()


async def the_store_hangs(stage: Stage) -> None:
    """It stops for longer than the service may be silent, and goes on."""
    with stage.truth.outage("the store hangs"):
        stage.server.pause()
        try:
            await asyncio.sleep(max(stage.scale.outage_s, HANG_S))
        finally:
            stage.server.resume()


async def the_clock_of_the_store_jumps(stage: Stage) -> None:
    """An hour forth, an hour back: nobody dies of it, and whoever dies then is not immortal.

    In the end the store is emptied: its log never goes back, and is an hour ahead of the truth.
    """
    stage.chat(True)
    for ahead_ms in (HOUR_MS, 0):
        stage.clock.ahead_ms = ahead_ms
        await asyncio.sleep(1.5 * stage.scale.ttl_s)
        for witness in stage.witnesses:
            assert "offline" not in witness.kinds(), f"{witness.name}: {witness.kinds()}"
    gone = stage.some(0.1)
    for member in gone:
        member.leave("hush")
    await stage.all_are_dead({member.life.agent for member in gone})
    stage.forget(now_ms())
    for member in gone:
        member.come_back()
    await the_store_comes_back_empty(stage)


async def the_store_is_full(stage: Stage) -> None:
    """News are refused; whoever beats stays alive."""
    stage.server.ask("CONFIG SET maxmemory 1")
    stage.chat(True)
    await asyncio.sleep(stage.scale.outage_s)
    stage.server.ask("CONFIG SET maxmemory 0")


# What the network does between hubs and the store.


async def the_store_is_slow(stage: Stage) -> None:
    for post in stage.posts:
        post.back.delay(stage.scale.ttl_s / 5)
    stage.chat(True)
    await asyncio.sleep(stage.scale.outage_s)
    for post in stage.posts:
        post.back.resume()


async def one_hub_hears_no_answer(stage: Stage) -> None:
    """Its way to the store is half-open, while its agents are as well as ever."""
    await _alone(stage, lambda post: post.back.hold(up=stage.dice.random() < 0.5))


async def one_hub_is_cut_off_from_the_store(stage: Stage) -> None:
    await _alone(stage, lambda post: post.back.cut())


async def _alone(stage: Stage, fault: Callable[[Post], None]) -> None:
    victim = stage.dice.choice(stage.posts)
    stage.chat(True)
    with stage.truth.outage("no way to the store", victim.name):
        fault(victim)
        await asyncio.sleep(stage.scale.pause_s)
        victim.back.resume()


async def a_watcher_does_not_read(stage: Stage) -> None:
    """It is told less meanwhile, and knows all in the end."""
    hub = stage.dice.choice(stage.posts).hub
    assert hub is not None
    async with watching(hub, narrow=True) as slow:
        slow.pause()
        stage.chat(True)
        await asyncio.sleep(stage.scale.ttl_s)
        stage.chat(False)
        slow.resume()
        witness = stage.witnesses[0]
        await slow.sees(lambda: mirrored(slow) == mirrored(witness))


async def the_feed_is_cut(stage: Stage) -> None:
    """Again and again, while there is much to tell."""
    stage.chat(True)
    for _ in range(5):
        stage.server.ask("CLIENT KILL TYPE pubsub")
        await asyncio.sleep(stage.scale.ttl_s / 8)


async def all_ways_to_the_store_are_reset(stage: Stage) -> None:
    stage.chat(True)
    for _ in range(5):
        for post in stage.posts:
            post.back.reset()
        await asyncio.sleep(stage.scale.ttl_s / 8)


SCENES: tuple[Scene, ...] = (
    everything_is_well,
    a_hub_is_killed,
    a_hub_dies_with_some_of_its_agents,
    a_hub_hangs,
    a_hub_is_asked_to_go,
    agents_leave,
    a_herd_comes_back,
    a_hub_is_cut_off_from_its_agents,
    agents_are_heard_in_tiny_pieces,
    agents_are_far_away,
    the_store_is_killed,
    the_store_comes_back_empty,
    the_store_loses_its_last_second,
    the_store_hangs,
    the_clock_of_the_store_jumps,
    the_store_is_full,
    the_store_is_slow,
    one_hub_hears_no_answer,
    one_hub_is_cut_off_from_the_store,
    a_watcher_does_not_read,
    the_feed_is_cut,
    all_ways_to_the_store_are_reset,
)
