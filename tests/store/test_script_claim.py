"""Claims in the scripts, at times that the test gives."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from lifesigns.core.model import Words
from lifesigns.core.presence import AVAILABLE, BUSY, OFFLINE, SUSPECT, present
from lifesigns.core.record import pack_words
from tests.store.board import breaks, hello, leaves, says
from tests.store.desk import TTL_MS, Desk

SESSION = "01aaaa"


@pytest.fixture
def desk(fresh_url: str) -> Iterator[Desk]:
    made = Desk(fresh_url)
    for _ in range(5):  # past the gap that a new store opens
        made.serve()
        made.now_ms += 4_000
    yield made
    made.close()


def comes(desk: Desk, agent: str = "a", *, slots: int = 1, rank: int = AVAILABLE) -> None:
    words = pack_words(Words(status="idle", slots=slots))
    row = hello(agent, "i", SESSION, rank=rank, ttl_ms=TTL_MS, blob=words)
    assert desk.codes([*row, slots]) == [0]


class TestTaking:
    def test_the_first_that_is_as_it_was_judged_is_taken(self, desk: Desk) -> None:
        comes(desk, "a")
        comes(desk, "b")
        won, fence, whys = desk.claim("k1", "a", "b")
        assert (won, fence, whys) == ("a", desk.now_ms, [""])
        assert desk.read("a").rank == BUSY
        assert desk.read("b").rank == AVAILABLE
        won, fence, whys = desk.claim("k2", "a", "b", seq=desk.read("b").seq)
        assert (won, fence, whys) == ("b", desk.now_ms + 1, ["altered", ""])
        assert [noted.kind for noted in desk.log()] == ["o", "o", "u", "u"]

    def test_slots_are_taken_one_by_one_and_busy_when_all_are(self, desk: Desk) -> None:
        comes(desk, slots=3)
        for token in ("k1", "k2"):
            assert desk.claim(token, "a")[0] == "a"
            record = desk.read("a")
            shown = present("default", "a", record, epoch="", now_ms=desk.now_ms)
            assert record.rank == AVAILABLE
            assert shown.free_slots == 3 - len(shown.claims)
        assert desk.claim("k3", "a")[0] == "a"
        assert desk.read("a").rank == BUSY
        assert desk.release("k2")
        assert desk.read("a").rank == AVAILABLE

    def test_nobody_is_taken_on_an_old_judgement(self, desk: Desk) -> None:
        comes(desk)
        judged = desk.read("a").seq
        desk.beat(says("a", "i", SESSION, n=2, blob=pack_words(Words(status="busy")), rank=BUSY))
        assert desk.claim("k1", "a", seq=judged) == (None, 0, ["altered"])
        assert desk.claim("k1", "never-seen") == (None, 0, ["altered"])

    def test_nobody_is_taken_whose_time_has_run_out_before_the_sweep(self, desk: Desk) -> None:
        comes(desk)
        desk.now_ms += TTL_MS
        assert desk.claim("k1", "a") == (None, 0, ["late"])
        comes(desk, "b")
        desk.beat(says("b", "i", SESSION, n=2, blob=b"\x90", rank=BUSY, stalls_in_ms=100))
        desk.now_ms += 100
        assert desk.claim("k1", "b") == (None, 0, ["late"])

    def test_a_slot_is_not_taken_that_went_with_an_instance_before_the_sweep(
        self, desk: Desk
    ) -> None:
        """An agent that stayed as busy as it was had a slot of a stalled instance claimed."""
        comes(desk, rank=BUSY)
        words = pack_words(Words(status="working"))
        desk.beat(hello("a", "j", "01bbbb", rank=BUSY, blob=words, stalls_in_ms=100))
        desk.claim("k1", "a")
        desk.now_ms += 100
        assert desk.claim("k2", "a") == (None, 0, ["late"])
        desk.sweep()
        assert desk.held() == ["k1"]

    def test_fences_rise_though_the_store_forgets_and_the_clock_goes_back(self, desk: Desk) -> None:
        comes(desk)
        fences = []
        for _ in range(3):
            fences.append(desk.claim("k1", "a")[1])
            desk.release("k1")
        desk.now_ms -= 5_000
        fences.append(desk.claim("k1", "a")[1])
        desk.forget("a")
        comes(desk)
        fences.append(desk.claim("k1", "a")[1])
        desk.redis.flushdb()
        desk.now_ms += 6_000
        comes(desk)
        fences.append(desk.claim("k1", "a")[1])
        assert fences == sorted(set(fences))


class TestEnding:
    def test_a_claim_ends_with_its_time(self, desk: Desk) -> None:
        comes(desk)
        desk.claim("k1", "a", ttl_ms=3_000, bound=False)
        assert desk.next_due_ms() == desk.now_ms + 3_000
        desk.pass_ms(2_000)
        assert desk.held() == ["k1"]
        desk.pass_ms(1_000)
        assert desk.held() == []
        assert desk.read("a").rank == AVAILABLE
        assert desk.read("a").freed_ms == desk.now_ms
        assert desk.books() == ([], [])

    @pytest.mark.parametrize(("bound", "lasts_ms"), [(True, 10_000), (False, 60_000)])
    def test_a_claim_does_not_last_for_as_long_as_the_clock_went_back(
        self, desk: Desk, bound: bool, lasts_ms: int
    ) -> None:
        for i in range(100):
            comes(desk, f"a{i}")
            desk.claim(f"k{i}", f"a{i}", bound=bound, ttl_ms=60_000)
        desk.sweep()
        desk.now_ms -= 3_600_000
        desk.serve()
        back_ms = desk.now_ms
        for _ in range(20):
            desk.sweep(limit=8)
        ends = {score for _, score in desk.redis.zrange(desk.lane.keys[8], 0, -1, withscores=True)}
        assert ends == {back_ms + lasts_ms}
        assert desk.renew_claim("k1", "a1", ttl_ms=-1, bound=bound) == back_ms + 60_000

    def test_a_claim_whose_holder_is_not_heard_of_ends(self, desk: Desk) -> None:
        comes(desk)
        desk.claim("k1", "a")
        ends_ms = desk.now_ms + TTL_MS
        for _ in range(3):
            desk.pass_ms(8_000)
            desk.hold("k1@a", "gone@a", ends_ms=ends_ms)
            assert desk.held() == ["k1"]
        desk.pass_ms(9_000)
        assert desk.held() == ["k1"]
        desk.pass_ms(1_000)
        assert desk.held() == []

    def test_no_sign_of_its_holder_makes_a_claim_last_longer_than_its_time(
        self, desk: Desk
    ) -> None:
        comes(desk)
        desk.claim("k1", "a", ttl_ms=12_000)
        ends_ms = desk.now_ms + 12_000
        desk.pass_ms(8_000)
        desk.hold("k1@a", ends_ms=ends_ms)
        desk.pass_ms(4_000)
        assert desk.held() == []

    def test_a_holder_who_could_not_be_heard_has_its_time_anew(self, desk: Desk) -> None:
        comes(desk)
        desk.claim("k1", "a", ttl_ms=60_000)
        desk.now_ms += 30_000  # nobody served
        desk.serve()
        desk.sweep()
        assert desk.held() == ["k1"]
        desk.pass_ms(9_000)
        assert desk.held() == ["k1"]
        desk.pass_ms(1_000)
        assert desk.held() == []

    def test_a_claim_is_released_by_its_holder_or_by_an_operator(self, desk: Desk) -> None:
        comes(desk)
        desk.claim("k1", "a")
        assert not desk.release("k2")
        assert not desk.release("k1", "another")
        assert desk.release("k1")
        assert not desk.release("k1")
        desk.claim("k2", "a")
        assert desk.release("k2", "")
        assert desk.books() == ([], [])

    @pytest.mark.parametrize("away", ["leaves", "expires", "is forgotten"])
    def test_claims_end_with_the_life_of_the_agent(self, desk: Desk, away: str) -> None:
        comes(desk, slots=2)
        desk.claim("k1", "a")
        desk.claim("k2", "a")
        if away == "leaves":
            desk.beat(leaves("a", "i", SESSION))
        elif away == "expires":
            for _ in range(TTL_MS // 4_000 + 1):
                desk.now_ms += 4_000
                desk.serve()
            desk.sweep()
        else:
            desk.forget("a")
        assert desk.books() == ([], [])
        down = next(noted for noted in desk.log() if noted.kind == "f")
        assert down.record.claims == ()
        assert (desk.record("a") is None) is (away == "is forgotten")

    def test_a_claim_ends_with_its_instance_though_the_agent_lives_on(self, desk: Desk) -> None:
        comes(desk)
        desk.beat(hello("a", "j", "01bbbb"))
        desk.claim("k1", "a")
        desk.beat(leaves("a", "i", SESSION))
        record = desk.read("a")
        assert (record.rank, record.claims) == (AVAILABLE, ())
        assert record.rank != OFFLINE

    def test_a_broken_socket_keeps_its_claims_for_the_grace(self, desk: Desk) -> None:
        comes(desk)
        desk.claim("k1", "a")
        desk.beat(breaks("a", "i", SESSION))
        assert desk.read("a").rank == SUSPECT
        desk.now_ms += 10
        desk.beat(hello("a", "i", "01aaab"))
        assert desk.read("a").rank == BUSY
        assert desk.held() == ["k1"]


class TestRenewing:
    def test_a_claim_lasts_longer_by_its_ttl_or_another(self, desk: Desk) -> None:
        comes(desk)
        desk.claim("k1", "a", ttl_ms=5_000)
        desk.now_ms += 4_000
        assert desk.renew_claim("k1") == desk.now_ms + 5_000
        assert desk.renew_claim("k1", ttl_ms=20_000) == desk.now_ms + 20_000
        desk.now_ms += 1_000
        assert desk.renew_claim("k1", ttl_ms=-1) == desk.now_ms + 19_000
        assert desk.renew_claim("k1") == desk.now_ms + 20_000

    def test_only_its_holder_renews_it_and_only_in_time(self, desk: Desk) -> None:
        comes(desk)
        desk.claim("k1", "a", ttl_ms=5_000)
        assert desk.renew_claim("k1", holder="another") is None
        assert desk.renew_claim("k2") is None
        desk.now_ms += 5_000
        assert desk.renew_claim("k1") is None

    def test_who_renewed_it_last_says_what_it_is_bound_to(self, desk: Desk) -> None:
        comes(desk)
        desk.claim("k1", "a", ttl_ms=40_000)
        desk.renew_claim("k1", bound=False)
        desk.pass_ms(20_000)
        assert desk.held() == ["k1"]
        desk.renew_claim("k1", bound=True)
        desk.pass_ms(10_000)
        assert desk.held() == []

    def test_a_renewal_is_no_change(self, desk: Desk) -> None:
        comes(desk)
        desk.claim("k1", "a")
        before = desk.read("a")
        desk.renew_claim("k1")
        assert desk.read("a") == before
