"""Claims in the scripts, at times that the test gives."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgpack
import pytest

from lifesigns.core.claim import HELD_MS
from lifesigns.core.model import Words
from lifesigns.core.presence import AVAILABLE, BUSY, OFFLINE, SUSPECT, present
from lifesigns.core.record import pack_words
from lifesigns.store import script
from tests.store.board import Board, breaks, hello, leaves, says

TTL_MS = 60_000
SESSION = "01aaaa"


class Desk(Board):
    """A lane on which agents are claimed."""

    def run(self, what: script.Script, batch: list[Any]) -> Any:
        return self._run(what, batch)

    def claim(
        self, token: str, *agents: str, ttl_ms: int = TTL_MS, bound: bool = True, seq: int = 0
    ) -> tuple[str | None, int, list[str]]:
        """Claim the first of some; answer whom, the fence, and what was said of each."""
        meta = self.redis.hget(self.lane.keys[0], "epoch")
        flat: list[Any] = []
        for agent in agents:
            known = self.record(agent)
            flat += [agent, meta, seq or (known.seq if known else 0), "i"]
        reply = self.run(script.CLAIM, [token, "h", "boss", "note", ttl_ms, bound, flat])
        whys = [why.decode() for why in reply[5::4]]
        won = reply[-4].decode() if reply[3] else None
        return won, reply[3], whys

    def renew(  # type: ignore[override]
        self, token: str, *, holder: str = "h", ttl_ms: int = 0, bound: bool = True
    ) -> int | None:
        """Renew a claim on ``a``; answer when it ends now."""
        reply = self.run(script.CLAIM_RENEW, ["a", token, holder, ttl_ms, bound])
        return msgpack.unpackb(reply[3], raw=True)[7] if len(reply) > 3 else None

    def release(self, token: str, holder: str = "h") -> bool:
        return bool(self.run(script.CLAIM_RELEASE, ["a", token, holder, "released"])[2])

    def hold(self, *claims: str, ends_ms: int) -> None:
        flat = [part for claim in claims for part in (claim, ends_ms)]
        self._eval(script.CLAIM_HOLD, self.lane.keys[8:9], [self.now_ms, HELD_MS, *flat])

    def pass_ms(self, ms: int) -> None:
        """Let time go by while everybody beats and the sweep looks."""
        for _ in range(ms // 1_000):
            self.now_ms += 1_000
            self.serve()
            Board.renew(self, TTL_MS, *[member.encode() for member in self.live()])
            self.sweep()

    def held(self, agent: str = "a") -> list[str]:
        return [token for token, _ in self.read(agent).claims]

    def books(self) -> tuple[list[bytes], list[bytes]]:
        """Tell which claims stand in the two books beside the records."""
        claims = self.redis.zrange(self.lane.keys[8], 0, -1)
        return claims, sorted(self.redis.hkeys(self.lane.keys[9]))


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
        assert desk.renew("k1") == desk.now_ms + 5_000
        assert desk.renew("k1", ttl_ms=20_000) == desk.now_ms + 20_000
        desk.now_ms += 1_000
        assert desk.renew("k1", ttl_ms=-1) == desk.now_ms + 19_000
        assert desk.renew("k1") == desk.now_ms + 20_000

    def test_only_its_holder_renews_it_and_only_in_time(self, desk: Desk) -> None:
        comes(desk)
        desk.claim("k1", "a", ttl_ms=5_000)
        assert desk.renew("k1", holder="another") is None
        assert desk.renew("k2") is None
        desk.now_ms += 5_000
        assert desk.renew("k1") is None

    def test_who_renewed_it_last_says_what_it_is_bound_to(self, desk: Desk) -> None:
        comes(desk)
        desk.claim("k1", "a", ttl_ms=40_000)
        desk.renew("k1", bound=False)
        desk.pass_ms(20_000)
        assert desk.held() == ["k1"]
        desk.renew("k1", bound=True)
        desk.pass_ms(10_000)
        assert desk.held() == []

    def test_a_renewal_is_no_change(self, desk: Desk) -> None:
        comes(desk)
        desk.claim("k1", "a")
        before = desk.read("a")
        desk.renew("k1")
        assert desk.read("a") == before
