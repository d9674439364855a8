"""What a claim is judged by, without a store."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from lifesigns.core.claim import (
    Candidate,
    Claim,
    assigned,
    candidate_of,
    claim_id,
    claimed,
    holder_of,
    listed,
    refusal,
    standing,
)
from lifesigns.core.model import Instance, Override, Presence, Words
from lifesigns.core.presence import (
    AVAILABLE,
    BUSY,
    DRAINING,
    ERROR,
    OFFLINE,
    STALLED,
    SUSPECT,
    full,
)
from tests.core.fleet import NOW, STARTED, gone, instance, seen, shown

STARTED_LATER = STARTED + 1_000


def inst(name: str = "i", rank: int = AVAILABLE, **given: Any) -> Instance:
    words = Words(slots=given.pop("slots", 1), state=given.pop("hint", None))
    return instance(name, rank, words, **given)


def agent(*instances: Instance, **given: Any) -> Presence:
    return shown(*(instances or (inst(),)), agent="a", **given)


def gone_away(why: str = "left") -> Presence:
    return seen(gone(inst(), why=why), "a")


CLAIM = Claim("k1@a", "i", "h", "boss", "", 9, 60_000, NOW, NOW + 60_000, True)


class TestWhoCanBeClaimed:
    def test_who_is_available_and_has_a_slot_free(self) -> None:
        assert candidate_of(agent()) == Candidate("a", "k3f9", 7, "i")
        assert candidate_of(agent(inst(slots=2), claims=(("k", "i"),))) is not None
        assert candidate_of(agent(inst(slots=0))) is None

    @pytest.mark.parametrize("rank", [OFFLINE, SUSPECT, ERROR, STALLED, DRAINING])
    def test_nobody_who_takes_no_work(self, rank: int) -> None:
        assert candidate_of(agent(inst(rank=rank), rank=rank)) is None

    def test_who_is_busy_only_with_slots_to_spare_and_without_saying_so_itself(self) -> None:
        assert candidate_of(agent(inst(rank=BUSY), rank=BUSY)) is None
        assert candidate_of(agent(inst(rank=BUSY, slots=2), rank=BUSY)) is not None
        assert candidate_of(agent(inst(rank=BUSY, slots=2, hint="busy"), rank=BUSY)) is None
        full_house = agent(inst(slots=2), rank=BUSY, claims=(("k1", "i"), ("k2", "i")))
        assert candidate_of(full_house) is None

    def test_the_best_instance_then_the_freest_then_the_newest(self) -> None:
        older, newer = inst("older"), inst("newer", start_ms=STARTED_LATER)
        assert candidate_of(agent(older, newer)) == Candidate("a", "k3f9", 7, "newer")
        taken = agent(older, newer, claims=(("k", "newer"),))
        assert candidate_of(taken) == Candidate("a", "k3f9", 7, "older")
        busy = inst("busy", rank=BUSY, slots=9)
        assert candidate_of(agent(busy, older)) == Candidate("a", "k3f9", 7, "older")

    def test_a_refusal_tells_the_state(self) -> None:
        for presence, code, state in (
            (None, "not_alive", "offline"),
            (gone_away(), "not_alive", "offline"),
            (agent(inst(rank=BUSY), rank=BUSY), "busy", "busy"),
            (agent(inst(slots=0)), "busy", "available"),
        ):
            error = refusal("a", presence)
            assert (error.code, error.more) == (code, {"state": state})


class TestHowAClaimStands:
    def judged(self, presence: Presence | None, *, claim: Claim = CLAIM) -> tuple[str, bool]:
        return standing(claim, presence, NOW)

    def test_it_is_well_while_its_instance_is(self) -> None:
        held = (("k1", "i"),)
        assert self.judged(agent(claims=held)) == ("", False)
        drained = Override(DRAINING, "", None)
        assert self.judged(agent(rank=DRAINING, override=drained, claims=held)) == ("", False)

    def test_it_is_in_doubt_with_its_instance_whatever_the_others_are(self) -> None:
        held = (("k1", "i"),)
        doubtful = inst(pairs=((0, AVAILABLE), (0, SUSPECT)), why="disconnected")
        assert self.judged(agent(doubtful, inst("j"), claims=held)) == ("suspect", False)
        lost = doubtful._replace(why="node_lost")
        assert self.judged(agent(lost, claims=held, rank=SUSPECT)) == ("node_lost", False)
        hung = inst(rank=STALLED)
        assert self.judged(agent(hung, claims=held, rank=STALLED)) == ("stalled", False)

    def test_it_is_lost_for_good_and_says_why(self) -> None:
        assert self.judged(None) == ("forgotten", True)
        assert self.judged(gone_away()) == ("offline", True)
        assert self.judged(gone_away("revoked")) == ("revoked", True)
        assert self.judged(agent(inst("j"))) == ("offline", True)
        assert self.judged(agent()) == ("released", True)
        over = replace(CLAIM, ends_ms=NOW)
        assert self.judged(agent(), claim=over) == ("expired", True)


def test_a_claim_is_spelled_for_each_side_as_it_sees_it() -> None:
    assert (CLAIM.agent, CLAIM.token) == ("a", "k1")
    assert claim_id("k1", "a") == CLAIM.id
    seen = {
        "claim": "k1@a",
        "by": "boss",
        "note": None,
        "fence": 9,
        "expires_at": "2026-03-22T14:31:00.000Z",
    }
    assert assigned(CLAIM) == seen
    assert listed(CLAIM) == seen | {
        "agent": "a",
        "instance": "i",
        "ttl": 60.0,
        "claimed_at": "2026-03-22T14:30:00.000Z",
    }
    mine = claimed(CLAIM, agent())
    assert mine["presence"] == full(agent())
    assert "by" not in mine


def test_holders_are_told_apart() -> None:
    assert len({holder_of("a", None), holder_of("a", "i"), holder_of("a", "j")}) == 3
