"""A short run of the scenes: the rules hold after each.

One scene is for the long run alone, for it takes long: `the_store_hangs`.
"""

from __future__ import annotations

import pytest

from tests.chaos import scene
from tests.chaos.scene import Scene
from tests.chaos.stage import SHORT, stage

SEED = 1
# Each act has a stage of its own, and plays its scenes one after another.
ACTS: dict[str, tuple[Scene, ...]] = {
    "hubs": (
        scene.everything_is_well,
        scene.a_hub_is_killed,
        scene.a_hub_hangs,
        scene.a_hub_is_asked_to_go,
    ),
    "agents": (
        scene.agents_leave,
        scene.a_herd_comes_back,
        scene.a_hub_is_cut_off_from_its_agents,
        scene.agents_are_heard_in_tiny_pieces,
        scene.agents_are_far_away,
        scene.a_watcher_does_not_read,
    ),
    "the store": (
        scene.the_store_is_killed,
        scene.the_store_loses_its_last_second,
        scene.the_store_comes_back_empty,
        scene.the_store_is_full,
    ),
    "the clock of the store": (scene.the_clock_of_the_store_jumps,),
    "the way to the store": (
        scene.the_store_is_slow,
        scene.one_hub_hears_no_answer,
        scene.one_hub_is_cut_off_from_the_store,
        scene.the_feed_is_cut,
        scene.all_ways_to_the_store_are_reset,
    ),
}


@pytest.mark.parametrize("act", ACTS)
async def test_rules_hold_whatever_happens_to(act: str) -> None:
    async with stage(SHORT, SEED) as it:
        for play in ACTS[act]:
            await play(it)
            found = await it.judge()
            assert not found, f"after {play.__name__}:\n{found}"
