"""The table of states: whose word counts, what it ranks, and what a change from it is called."""

from __future__ import annotations

import itertools
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lifesigns.core.model import Words
from lifesigns.core.presence import (
    AVAILABLE,
    BUSY,
    DEGRADED,
    DRAINING,
    ERROR,
    HINTS,
    KIND_NAMES,
    KINDS,
    NONE,
    OFFLINE,
    SLEEPING,
    STALLED,
    STATES,
    STATUS_RANKS,
    SUSPECT,
    agent_uuid,
    instance_rank,
    is_progress,
    kind,
    merge,
    own_rank,
    stalls_at_ms,
)

# The contract's own sentence, read by the tests.
STATUS_TABLE = (
    "idle ready available online healthy waiting → available; "
    "thinking learning working busy running active processing → busy; "
    "degraded → degraded; draining stopping → draining; error failed → error"
)
STATE_OF_STATUS = {
    status: state
    for row in STATUS_TABLE.split("; ")
    for statuses, state in [row.split(" → ")]
    for status in statuses.split()
}
# From the worst to the best; the ranks are the places in it.
ROWS = [
    "offline",
    "sleeping",
    "suspect",
    "error",
    "stalled",
    "degraded",
    "draining",
    "busy",
    "available",
]


class TestTheAgentsOwnWord:
    @pytest.mark.parametrize(("status", "state"), STATE_OF_STATUS.items())
    def test_a_status_means_what_the_table_says(self, status: str, state: str) -> None:
        for spelled in (status, status.upper(), status.title(), status.swapcase()):
            assert STATES[own_rank(Words(status=spelled))] == state

    def test_the_table_knows_no_other_status(self) -> None:
        assert STATUS_RANKS.keys() == STATE_OF_STATUS.keys()

    @pytest.mark.parametrize("status", [None, "", "pondering", "idle ", "sleeping", "offline"])
    def test_any_other_status_is_busy_with_a_task_and_available_without(
        self, status: str | None
    ) -> None:
        assert own_rank(Words(status=status, task="index the docs")) == BUSY
        assert own_rank(Words(status=status)) == AVAILABLE

    def test_an_empty_text_is_no_task(self) -> None:
        assert own_rank(Words(task="")) == AVAILABLE

    @pytest.mark.parametrize("status", ["idle", "error", "draining"])
    def test_a_status_of_the_table_counts_whatever_the_task(self, status: str) -> None:
        assert own_rank(Words(status=status, task="x")) == own_rank(Words(status=status))

    @pytest.mark.parametrize("hint", ["available", "busy", "draining", "degraded", "error"])
    def test_a_hint_counts_before_status_and_task(self, hint: str) -> None:
        for status in (None, "idle", "busy", "error", "pondering"):
            for task in (None, "x"):
                assert STATES[own_rank(Words(status=status, state=hint, task=task))] == hint

    def test_only_five_states_can_be_hinted(self) -> None:
        assert set(HINTS) == {"available", "busy", "draining", "degraded", "error"}


class TestWhatABeatChanges:
    before = Words(status="working", state="draining", task="x", metadata={"a": 1, "b": 2})

    def test_what_is_absent_stays(self) -> None:
        assert merge(self.before, {}) == self.before
        assert merge(self.before, {"group": "g"}) == self.before._replace(group="g")

    def test_a_status_without_a_state_drops_the_hint(self) -> None:
        assert merge(self.before, {"status": "idle"}).state is None
        assert merge(self.before, {"status": "working"}).state is None
        assert merge(self.before, {"status": None}).state is None

    def test_a_state_that_is_null_drops_the_hint(self) -> None:
        after = merge(self.before, {"state": None})
        assert (after.state, STATES[own_rank(after)]) == (None, "busy")
        assert merge(self.before, {"status": "idle", "state": None}).state is None

    def test_a_status_with_a_state_sets_both(self) -> None:
        after = merge(self.before, {"status": "idle", "state": "error"})
        assert (after.status, STATES[own_rank(after)]) == ("idle", "error")

    def test_a_beat_that_says_neither_keeps_the_hint(self) -> None:
        assert merge(self.before, {"task": "y", "metadata": {}}).state == "draining"

    def test_metadata_is_replaced_whole(self) -> None:
        assert merge(self.before, {"metadata": {"c": 3}}).metadata == {"c": 3}

    @pytest.mark.parametrize(
        ("said", "progress"),
        [
            ({}, False),
            ({"status": "idle"}, False),
            ({"progress": {"done": 1}}, True),
            ({"progress": {}}, True),
            ({"progress": None}, False),
            ({"task": "x"}, False),
            ({"task": "y"}, True),
            ({"task": None}, True),
            ({"task": "x", "progress": {"done": 1}}, True),
            ({"task": "y", "progress": None}, True),
            ({"metadata": {"done": 2}}, False),
        ],
    )
    def test_progress_is_a_progress_or_another_task(
        self, said: dict[str, object], progress: bool
    ) -> None:
        assert is_progress(self.before, said) is progress


class TestStalling:
    ttl = Words(status="working", progress_ttl_ms=10_000)

    @pytest.mark.parametrize("own", [BUSY, DEGRADED])
    @pytest.mark.parametrize("clocks", list(itertools.permutations([1_000, 2_000, 3_000])))
    def test_it_counts_from_the_latest_of_progress_word_and_quiet_phase(
        self, own: int, clocks: tuple[int, int, int]
    ) -> None:
        progressed, worded, busy_until = clocks
        words = self.ttl._replace(busy_until_ms=busy_until)
        assert stalls_at_ms(words, own, progressed, worded) == 13_000

    def test_without_a_quiet_phase_only_progress_and_word_count(self) -> None:
        assert stalls_at_ms(self.ttl, BUSY, 1_000, 2_000) == 12_000
        assert stalls_at_ms(self.ttl, BUSY, 2_000, 1_000) == 12_000

    @pytest.mark.parametrize("own", [AVAILABLE, DRAINING, ERROR])
    def test_who_promises_no_work_never_stalls(self, own: int) -> None:
        assert stalls_at_ms(self.ttl, own, 0, 0) is None

    @pytest.mark.parametrize("own", [BUSY, DEGRADED])
    def test_who_gave_no_progress_ttl_never_stalls(self, own: int) -> None:
        assert stalls_at_ms(Words(status="working"), own, 0, 0) is None

    @pytest.mark.parametrize("own", [BUSY, DEGRADED])
    def test_an_instance_is_stalled_from_the_moment_that_is_due(self, own: int) -> None:
        pairs = ((0, own), (13_000, STALLED))
        assert instance_rank(pairs, 12_999) == own
        assert instance_rank(pairs, 13_000) == STALLED


class TestRanks:
    def test_a_state_ranks_by_its_row_in_the_table(self) -> None:
        assert list(STATES) == ROWS
        named = (OFFLINE, SLEEPING, SUSPECT, ERROR, STALLED, DEGRADED, DRAINING, BUSY, AVAILABLE)
        assert named == tuple(range(9))
        assert NONE == 9

    def test_an_instance_is_as_bad_as_its_worst_condition(self) -> None:
        assert instance_rank([(0, BUSY), (0, SUSPECT), (0, ERROR)], 5) == SUSPECT

    def test_a_condition_counts_from_its_time(self) -> None:
        assert instance_rank([(0, BUSY), (6, SUSPECT)], 5) == BUSY
        assert instance_rank([(0, BUSY), (5, SUSPECT)], 5) == SUSPECT

    def test_an_instance_of_which_nothing_bad_is_known_is_available(self) -> None:
        assert instance_rank([], 5) == AVAILABLE
        assert instance_rank([(6, SUSPECT)], 5) == AVAILABLE

    @given(
        pairs=st.lists(st.tuples(st.integers(0, 20), st.sampled_from(range(2, 9)))),
        now=st.integers(0, 20),
    )
    def test_an_instance_only_gets_worse_by_itself(
        self, pairs: list[tuple[int, int]], now: int
    ) -> None:
        assert instance_rank(pairs, now + 1) <= instance_rank(pairs, now)


def kind_by_the_prose(old: str | None, new: str | None) -> str:
    """Read the contract's sentence: (old state → new), None is no record, first match wins."""
    down, doubted = ("offline", "sleeping"), ("suspect", "stalled")
    if old == new:
        return "none at all"
    if new is None:
        return "forgotten"
    was_alive, is_alive = old is not None and old not in down, new not in down
    for matches, name in (
        (not was_alive and is_alive, "online"),
        (was_alive and not is_alive, "offline"),
        (old in down and new in down, "updated"),
        (was_alive and new == "suspect", "suspect"),
        (new == "stalled", "stalled"),
        (old in doubted and is_alive, "recovered"),
    ):
        if matches:
            return name
    return "updated"


class TestKindsOfChange:
    @pytest.mark.parametrize("old", [*STATES, None])
    @pytest.mark.parametrize("new", [*STATES, None])
    def test_a_change_is_called_as_the_contract_says(
        self, old: str | None, new: str | None
    ) -> None:
        before = NONE if old is None else STATES.index(old)
        after = NONE if new is None else STATES.index(new)
        letter = kind(before, after)
        assert KIND_NAMES.get(letter, "none at all") == kind_by_the_prose(old, new)
        # As the script looks it up.
        assert KINDS[before * 10 + after] == letter

    def test_the_table_has_a_letter_for_every_pair(self) -> None:
        assert re.fullmatch(r"[=ofsturg]{100}", KINDS)

    def test_the_names_are_those_of_the_contract(self) -> None:
        assert sorted(KIND_NAMES.values()) == sorted(
            ["online", "offline", "suspect", "stalled", "recovered", "updated", "forgotten"]
        )


class TestUuid:
    def test_an_agent_has_the_same_uuid_on_every_hub_for_ever(self) -> None:
        assert agent_uuid("default", "search-agent") == "8e4a391f-1fa1-59ec-9bf4-a450dd93265b"

    def test_it_depends_on_project_and_id(self) -> None:
        pairs = [("a", "b"), ("a", "c"), ("b", "b"), ("a-b", "c"), ("a", "b-c")]
        assert len({agent_uuid(project, agent) for project, agent in pairs}) == len(pairs)

    @pytest.mark.parametrize("project", ["default", "other"])
    def test_an_id_that_is_a_uuid_is_its_own(self, project: str) -> None:
        own = "0b54a1a5-6e1c-4b7a-9a0e-3f2e6d1c9b77"
        assert agent_uuid(project, own) == own
        assert agent_uuid(project, own.upper()) == own

    @pytest.mark.parametrize(
        "like_one",
        [
            "0b54a1a56e1c4b7a9a0e3f2e6d1c9b77",
            "----0b54a1a56e1c4b7a9a0e3f2e6d1c9b77",
            "urn:0b54a1a56e1c4b7a9a0e3f2e6d1c9b77",
            "0b54a1a5-6e1c-4b7a-9a0e-3f2e6d1c_b77",
            "0b54a1a5-6e1c-4b7a-9a0e-3f2e6d1c9b7g",
            "0b54a1a5-6e1c-4b7a-9a0e-3f2e6d1c9b777",
        ],
    )
    def test_an_id_that_only_looks_like_one_gets_another(self, like_one: str) -> None:
        uuid = agent_uuid("default", like_one)
        assert re.fullmatch(r"[0-9a-f]{8}-[0-9a-f]{4}-5[0-9a-f]{3}-[89ab][0-9a-f]{3}-\w{12}", uuid)
        assert uuid.replace("-", "") not in like_one
