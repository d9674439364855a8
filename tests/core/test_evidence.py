"""How sure it is that an agent is alive, and what a sign of life adds to what was read."""

from __future__ import annotations

import pytest

from lifesigns.core.evidence import Check, Heard, checked, hear, judge, sessions_of
from lifesigns.core.presence import AVAILABLE, DETAILS, SUSPECT
from tests.core.fleet import NOW, STARTED, gone, instance, seen, shown


class TestCheck:
    known = shown(instance(lease_ms=NOW + 20_000))  # its last beat came 10 s ago

    def judged(self, within_ms: float | None = None, now_ms: int = NOW) -> Check:
        return judge("a1", self.known, now_ms=now_ms, within_ms=within_ms)

    def test_evidence_is_as_old_as_the_last_beat_and_holds_until_the_lease_ends(self) -> None:
        check = self.judged()
        assert (check.evidence_age_ms, check.valid_for_ms) == (10_000, 20_000)
        assert self.judged(now_ms=NOW + 5_000).evidence_age_ms == 15_000
        assert self.judged(now_ms=NOW + 5_000).valid_for_ms == 15_000

    @pytest.mark.parametrize(
        ("within_ms", "fresh"), [(None, True), (10_000, True), (9_999, False), (0, False)]
    )
    def test_evidence_older_than_asked_for_is_not_fresh(
        self, within_ms: float | None, fresh: bool
    ) -> None:
        assert self.judged(within_ms).fresh is fresh

    def test_a_clock_that_is_behind_makes_no_negative_age(self) -> None:
        assert self.judged(0, now_ms=NOW - 60_000).evidence_age_ms == 0
        assert self.judged(0, now_ms=NOW - 60_000).fresh

    def test_a_lease_that_has_run_out_vouches_for_nothing_more(self) -> None:
        assert self.judged(now_ms=NOW + 20_001).valid_for_ms == 0

    def test_what_is_down_is_valid_for_no_time(self) -> None:
        check = judge("a1", seen(gone()), now_ms=NOW, within_ms=None)
        assert (check.evidence_age_ms, check.valid_for_ms, check.fresh) == (12_000, 0, True)

    def test_a_lease_that_is_not_known_vouches_for_nothing(self) -> None:
        unread = shown(instance(lease_ms=None))
        assert judge("a1", unread, now_ms=NOW, within_ms=None).valid_for_ms == 0

    @pytest.mark.parametrize(("within_ms", "fresh"), [(None, True), (1e12, False)])
    def test_of_one_never_seen_there_is_no_evidence(
        self, within_ms: float | None, fresh: bool
    ) -> None:
        check = judge("ghost", None, now_ms=NOW, within_ms=within_ms)
        assert check == Check("ghost", None, None, 0, fresh)

    @pytest.mark.parametrize("detail", DETAILS)
    def test_an_entry_is_the_presence_and_how_sure_it_is(self, detail: str) -> None:
        assert checked(self.judged(), detail) == DETAILS[detail](self.known) | {
            "known": True,
            "evidence_age_ms": 10_000,
            "valid_for_ms": 20_000,
            "fresh": True,
            "probed": None,
        }

    def test_an_entry_is_full_unless_asked_otherwise(self) -> None:
        assert checked(self.judged()) == checked(self.judged(), "full")

    @pytest.mark.parametrize("detail", DETAILS)
    def test_one_never_seen_is_offline_and_not_known(self, detail: str) -> None:
        entry = checked(judge("ghost", None, now_ms=NOW, within_ms=5), detail)
        assert entry == {
            "id": "ghost",
            "alive": False,
            "state": "offline",
            "known": False,
            "evidence_age_ms": None,
            "valid_for_ms": 0,
            "fresh": False,
            "probed": None,
        }

    def test_a_probe_is_told(self) -> None:
        probed = self.judged()._replace(probed="no_socket")
        assert checked(probed)["probed"] == "no_socket"


class TestASignOfLife:
    heard = Heard("01aaab", NOW - 100)

    def test_it_is_the_newest_evidence_and_lengthens_the_lease(self) -> None:
        read = shown(instance("1"), instance("2", session="01aaab", ttl_ms=60_000))
        known = hear(read, self.heard, NOW)
        check = judge("a1", known, now_ms=NOW, within_ms=100)
        assert (check.evidence_age_ms, check.valid_for_ms, check.fresh) == (100, 59_900, True)

    def test_what_the_store_has_since_is_newer(self) -> None:
        read = shown(instance(session="01aaab", lease_ms=NOW + 30_000))
        assert hear(read, self.heard, NOW) == read

    def test_a_lease_that_was_held_goes_on(self) -> None:
        read = shown(instance(session="01aaab", lease_ms=NOW - 10))._replace(held=True)
        assert (hear(read, self.heard, NOW).held, read.held) == (False, True)
        assert hear(read, Heard("01aaab", NOW - 60_000), NOW).held

    def test_what_broke_or_ended_since_is_not_made_whole(self) -> None:
        broken = shown(instance(rank=SUSPECT, session="01aaab", lease_ms=NOW + 5_000))
        assert hear(broken, self.heard, NOW).expires_at_ms == NOW + 5_000
        other = shown(instance(session="01aaac"))
        assert hear(other, self.heard, NOW).expires_at_ms == NOW + 20_000
        left = hear(seen(gone()), self.heard, NOW)
        assert judge("a1", left, now_ms=NOW, within_ms=None).valid_for_ms == 0

    def test_only_sockets_can_be_asked(self) -> None:
        both = shown(instance("1"), instance("-", AVAILABLE, session="", said_ms=STARTED))
        assert sessions_of(both) == ["00aaaa"]
        assert sessions_of(seen(gone())) == sessions_of(None) == []
