"""What the world is shown of an agent: of which instance, in which spelling, how surely."""

from __future__ import annotations

import json
from itertools import permutations
from typing import Any

import pytest

from lifesigns.core.codec import JSON, MSGPACK
from lifesigns.core.instant import from_text
from lifesigns.core.model import Words
from lifesigns.core.presence import (
    AVAILABLE,
    BUSY,
    DEGRADED,
    DETAILS,
    DRAINING,
    ERROR,
    OFFLINE,
    SLEEPING,
    STALLED,
    STATES,
    SUSPECT,
    agent_uuid,
    counts,
    full,
    lite,
)
from tests.core.fleet import NOW, STARTED, gone, instance, record, seen, shown

ALIVE = range(SUSPECT, AVAILABLE + 1)


class TestTheBestInstance:
    @pytest.mark.parametrize("better", range(SUSPECT + 1, AVAILABLE + 1))
    def test_the_words_are_those_of_the_best_instance(self, better: int) -> None:
        words = Words(status="b", task="t", did="d", name="n", group="g", host="h", version="v")
        best = instance("best", better, words, said_ms=STARTED)
        worse = instance("worse", better - 1, Words(status="w"), said_ms=NOW)
        for both in permutations([best, worse]):
            assert shown(*both).words == words
            assert shown(*both).state == STATES[better]

    def test_on_a_tie_the_newest_news_speak(self) -> None:
        older = instance("old", BUSY, Words(status="older", task="x"), said_ms=STARTED)
        newer = instance("new", BUSY, Words(status="newer"), said_ms=STARTED + 1)
        for both in permutations([older, newer]):
            assert (shown(*both).words.status, shown(*both).words.task) == ("newer", None)

    def test_with_none_left_the_last_one_still_speaks(self) -> None:
        last = instance(words=Words(status="idle", task="x", capabilities=("a",), slots=3))
        known = seen(gone(last))
        assert known.words == last.words
        assert known.capabilities == ("a",)
        assert (known.slots, known.free_slots, known.instances) == (0, 0, ())

    def test_capabilities_are_the_union_each_once(self) -> None:
        known = shown(
            instance("1", SUSPECT, Words(capabilities=("a", "b"))),
            instance("2", AVAILABLE, Words(capabilities=("b", "c"))),
            instance("3", ERROR, Words(capabilities=["d"])),
        )
        assert known.capabilities == ("a", "b", "c", "d")

    def test_the_clocks_are_the_latest_whoever_speaks(self) -> None:
        known = shown(
            instance(
                "1",
                SUSPECT,
                Words(busy_until_ms=NOW + 5),
                progressed_ms=NOW - 1,
                heard_ms=NOW - 2,
                lease_ms=NOW + 3,
            ),
            instance("2", AVAILABLE, Words(busy_until_ms=NOW + 4), lease_ms=NOW + 1),
        )
        assert known.last_progress_ms == NOW - 1
        assert known.last_heartbeat_ms == NOW - 2
        assert known.expires_at_ms == NOW + 3
        assert known.busy_until_ms == NOW + 5

    def test_the_last_beat_is_told_by_the_lease(self) -> None:
        assert shown(instance(lease_ms=NOW + 20_000, ttl_ms=30_000)).last_heartbeat_ms == (
            NOW - 10_000
        )

    def test_a_lease_that_was_cut_does_not_hide_when_the_last_beat_came(self) -> None:
        cut = instance("1", SUSPECT, heard_ms=NOW - 3_000, lease_ms=NOW + 2_000)
        assert shown(cut).last_heartbeat_ms == NOW - 3_000

    def test_where_nothing_else_is_known_the_last_news_were_the_last_beat(self) -> None:
        unread = instance(lease_ms=None, heard_ms=None, said_ms=NOW - 7_000)
        assert shown(unread).last_heartbeat_ms == NOW - 7_000
        assert shown(unread).expires_at_ms is None


class TestSlots:
    @pytest.mark.parametrize("rank", ALIVE)
    def test_slots_count_where_work_can_be_done(self, rank: int) -> None:
        counted = {DEGRADED, BUSY, AVAILABLE}
        known = shown(instance("1", rank, Words(slots=3)), instance("2", BUSY, Words(slots=4)))
        assert known.slots == (7 if rank in counted else 4)

    @pytest.mark.parametrize("rank", [SUSPECT, ERROR, STALLED, DRAINING])
    def test_an_agent_of_such_instances_only_has_no_slots(self, rank: int) -> None:
        known = shown(instance(rank=rank, words=Words(slots=3)))
        assert (known.slots, known.free_slots) == (0, 0)

    @pytest.mark.parametrize(
        ("rank", "slots", "hint", "free"),
        [
            (AVAILABLE, 1, None, 1),
            (AVAILABLE, 5, None, 5),
            (AVAILABLE, 0, None, 0),
            (AVAILABLE, 5, "available", 5),
            (BUSY, 1, None, 0),
            (BUSY, 2, None, 2),
            (BUSY, 1_000, None, 1_000),
            (BUSY, 5, "busy", 0),
            (DEGRADED, 5, None, 0),
        ],
    )
    def test_slots_are_free_where_a_claim_would_be_granted(
        self, rank: int, slots: int, hint: str | None, free: int
    ) -> None:
        assert shown(instance(rank=rank, words=Words(slots=slots, state=hint))).free_slots == free

    def test_one_instance_that_calls_itself_busy_closes_a_busy_agent(self) -> None:
        open_one = instance("1", BUSY, Words(status="working", slots=3))
        closed = instance("2", SUSPECT, Words(state="busy"))
        assert shown(open_one).free_slots == 3
        assert shown(open_one, closed).free_slots == 0

    def test_an_available_instance_makes_up_for_a_busy_one(self) -> None:
        known = shown(instance("1", AVAILABLE), instance("2", BUSY, Words(state="busy", slots=2)))
        assert (known.state, known.slots, known.free_slots) == ("available", 3, 3)


class TestLifeAndDeath:
    @pytest.mark.parametrize("rank", range(9))
    def test_an_agent_is_alive_in_every_state_but_two(self, rank: int) -> None:
        known = shown(instance(rank=rank)) if rank in ALIVE else seen(gone(rank=rank))
        assert known.state == STATES[rank]
        assert known.alive is (STATES[rank] not in ("offline", "sleeping"))

    def test_while_alive_it_has_no_end_and_no_reason(self) -> None:
        known = shown(instance(), up_ms=NOW - 60_000, down_ms=NOW - 70_000, why="left", text="x")
        assert (known.online_since_ms, known.offline_since_ms) == (NOW - 60_000, None)
        assert (known.reason, known.reason_text) == (None, None)

    @pytest.mark.parametrize("rank", [OFFLINE, SLEEPING])
    def test_while_down_it_has_an_end_and_a_reason(self, rank: int) -> None:
        known = seen(gone(rank=rank, why="expired", text="bye"))
        assert (known.online_since_ms, known.offline_since_ms) == (None, NOW - 10_000)
        assert (known.reason, known.reason_text) == ("expired", "bye")
        assert (known.expires_at_ms, known.last_heartbeat_ms) == (None, NOW - 12_000)

    def test_without_words_there_is_no_reason_text(self) -> None:
        known = seen(gone(why="", text=""))
        assert (known.reason, known.reason_text) == (None, None)

    def test_it_is_held_while_the_last_of_its_leases_has_run_out_and_may_not_end(self) -> None:
        held = instance("1", lease_ms=NOW - 5, held=True)
        assert shown(held).held
        assert shown(held, instance("2", lease_ms=NOW)).held
        assert not shown(held, instance("2", lease_ms=NOW + 1)).held

    def test_one_that_the_sweep_has_not_reached_yet_is_not_held(self) -> None:
        assert not shown(instance(lease_ms=NOW - 5)).held

    @pytest.mark.parametrize("lease_ms", [NOW, None])
    def test_what_is_down_is_not_held(self, lease_ms: int | None) -> None:
        assert not seen(gone()).held
        assert not seen(record(instance(lease_ms=lease_ms, held=True), rank=OFFLINE)).held

    def test_a_condition_whose_time_has_come_shows_on_the_instance(self) -> None:
        stalled = instance("1", pairs=((0, BUSY), (NOW, STALLED)))
        busy = instance("2", pairs=((0, BUSY), (NOW + 1, STALLED)))
        states = [(i.name, state) for i, state in shown(stalled, busy).instances]
        assert states == [("1", "stalled"), ("2", "busy")]


# The contract's example, word for word but for the uuid.
EXAMPLE = """
{"id": "search-agent", "agent_id": "search-agent", "uuid": "...", "name": null, "alive": true,
 "state": "busy", "status": "thinking",
 "task": "processing user query",
 "progress": {"note": "23 of 50 records", "done": 23, "total": 50}, "context": null,
 "metadata": {"model": "some-model", "queue_depth": 3}, "capabilities": ["search"], "slots": 1,
 "claims": 0, "free_slots": 0,
 "did": null, "group": null, "host": null, "version": null, "dialect": "pulse", "override": null,
 "last_heartbeat": "2026-03-22T14:30:00.000Z", "expires_at": "2026-03-22T14:31:00.000Z",
 "held": false,
 "last_progress": "2026-03-22T14:29:58.000Z", "busy_until": null, "next_active_at": null,
 "online_since": "2026-03-22T14:00:00.000Z", "offline_since": null, "reason": null,
 "reason_text": null,
 "instances": 2, "instance_states": {"busy": 1, "error": 1}, "epoch": "k3f9", "seq": 1812}
"""
SEARCHING = Words(
    status="thinking",
    task="processing user query",
    progress={"note": "23 of 50 records", "done": 23, "total": 50},
    metadata={"model": "some-model", "queue_depth": 3},
    capabilities=("search",),
)
SEARCHER = shown(
    instance(
        "w1",
        BUSY,
        SEARCHING,
        ttl_ms=60_000,
        lease_ms=NOW + 60_000,
        progressed_ms=NOW - 2_000,
        start_ms=STARTED,
    ),
    instance("w2", ERROR, Words(status="error", capabilities=("search",), host="h", version="2")),
    agent="search-agent",
    seq=1812,
)


class TestSpelling:
    def test_a_presence_is_spelled_as_in_the_contract(self) -> None:
        example: dict[str, Any] = json.loads(EXAMPLE)
        example["uuid"] = agent_uuid("default", "search-agent")
        assert full(SEARCHER) == example
        assert list(full(SEARCHER)) == list(example)

    def test_lite_is_ten_fields(self) -> None:
        assert lite(SEARCHER) == {
            "id": "search-agent",
            "name": None,
            "state": "busy",
            "status": "thinking",
            "dialect": "pulse",
            "group": None,
            "capabilities": ["search"],
            "alive": True,
            "epoch": "k3f9",
            "seq": 1812,
        }
        assert list(lite(SEARCHER)) == (
            [
                "id",
                "name",
                "state",
                "status",
                "dialect",
                "group",
                "capabilities",
                "alive",
                "epoch",
                "seq",
            ]
        )

    def test_counts_name_states_and_no_agents(self) -> None:
        fleet = [SEARCHER, shown(instance()), shown(instance()), seen(gone())]
        assert counts(fleet) == {"counts": {"busy": 1, "available": 2, "offline": 1}, "total": 4}
        assert counts([]) == {"counts": {}, "total": 0}

    def test_every_word_of_an_instance_is_shown(self) -> None:
        words = Words(
            status="s",
            task="t",
            progress={"done": 1},
            metadata={"m": 1},
            context=["c"],
            capabilities=("k",),
            did="did:x:1",
            name="n",
            group="g",
            host="h",
            version="v",
            dialect="other",
            busy_until_ms=NOW,
        )
        spelled = full(shown(instance(rank=BUSY, words=words)))
        said = {name: spelled[name] for name in words._fields if name in spelled}
        assert said == {
            name: list(value) if name == "capabilities" else value
            for name, value in words._asdict().items()
            if name not in ("progress_ttl_ms", "busy_until_ms")
        } | {"state": "busy"}
        assert spelled["busy_until"] == "2026-03-22T14:30:00.000Z"

    def test_instances_can_be_expanded(self) -> None:
        spelled = full(SEARCHER, expand=True)
        first, second = spelled["instances"]
        assert first == {
            "instance": "w1",
            "state": "busy",
            "status": "thinking",
            "task": "processing user query",
            "progress": {"note": "23 of 50 records", "done": 23, "total": 50},
            "metadata": {"model": "some-model", "queue_depth": 3},
            "capabilities": ["search"],
            "slots": 1,
            "host": None,
            "version": None,
            "ttl": 60,
            "last_heartbeat": "2026-03-22T14:30:00.000Z",
            "expires_at": "2026-03-22T14:31:00.000Z",
            "last_progress": "2026-03-22T14:29:58.000Z",
            "progress_ttl": None,
            "stalls_at": None,
            "started_at": "2026-03-22T14:00:00.000Z",
        }
        assert (second["instance"], second["state"], second["host"]) == ("w2", "error", "h")
        assert spelled["instance_states"] == {"busy": 1, "error": 1}
        assert {**spelled, "instances": 2} == full(SEARCHER)

    def test_an_expanded_instance_whose_lease_is_not_known_has_no_end(self) -> None:
        (only,) = full(shown(instance(lease_ms=None)), expand=True)["instances"]
        assert only["expires_at"] is None

    def test_an_agent_that_is_gone_has_no_instances(self) -> None:
        spelled = full(seen(gone()), expand=True)
        assert (spelled["instances"], spelled["instance_states"]) == ([], {})
        assert full(seen(gone()))["instances"] == 0
        assert spelled["offline_since"] == "2026-03-22T14:29:50.000Z"

    @pytest.mark.parametrize("codec", [JSON, MSGPACK], ids=lambda codec: codec.name)
    def test_every_spelling_can_be_sent_in_both_codecs(self, codec: Any) -> None:
        for known in (SEARCHER, seen(gone())):
            for spelled in (full(known, expand=True), lite(known), counts([known])):
                assert codec.decode(codec.encode(spelled)) == spelled

    def test_details_are_full_and_lite(self) -> None:
        assert {"full": full, "lite": lite} == DETAILS


def test_the_clock_of_these_tests_is_that_of_the_example() -> None:
    assert from_text("2026-03-22T14:00:00.000Z") == STARTED
