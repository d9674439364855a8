"""The packed record, read as the scripts lay it out."""

from __future__ import annotations

from typing import Any

import msgpack
import pytest

from lifesigns.core.model import Override, Words
from lifesigns.core.presence import BUSY, OFFLINE, STALLED, SUSPECT
from lifesigns.core.record import look_alike, pack_words, unpack_record, unpack_words

NOW = 1_774_189_800_000
START = NOW - 60_000
SAID = Words(
    status="thinking",
    state="busy",
    task="ü",
    progress={"note": "x", "done": 1, "total": 2.5},
    metadata={"deep": [{"a": None}, True, -(2**63)]},
    context=["any", {"thing": 1}],
    capabilities=("search", "rank"),
    slots=3,
    progress_ttl_ms=60_000,
    busy_until_ms=NOW + 1,
    did="did:web:x",
    name="Search",
    group="eu",
    host="h1",
    version="2",
)


def packed(fields: list[Any]) -> bytes:
    # As the scripts pack: text is raw bytes to them, with the headers of the old format.
    return bytes(msgpack.packb(fields, use_bin_type=False))


def inst(name: str = "w1", session: str = "00aaaa", **given: Any) -> list[Any]:
    """Lay an instance out as the scripts do; the times of its clocks count from its start."""
    fields = {
        "name": name,
        "session": session,
        "start": START,
        "n": 4,
        "rev": 1,
        "ttl": 30_000,
        "why": "",
        "pairs": [0, BUSY],
        "heard": False,
        "said": 1_000,
        "progressed": 2_000,
        "worded": 3_000,
        "blob": pack_words(SAID),
        "slots": SAID.slots,
    }
    return list((fields | given).values())


def rec(*instances: list[Any], last: Any = False, **given: Any) -> bytes:
    fields = {
        "seq": 1812,
        "at": NOW - 5,
        "rank": BUSY,
        "since": NOW - 6,
        "up": NOW - 7,
        "down": NOW - 8,
        "why": "",
        "text": "",
        "ranks": "7",
        "last": last,
        "fences": [["", NOW]],
        "instances": list(instances),
        "claims": [],
        "override": False,
        "freed": 0,
    }
    return packed(list((fields | given).values()))


class TestWords:
    def test_words_come_back_as_they_were(self) -> None:
        back = unpack_words(pack_words(SAID))
        assert back._replace(capabilities=tuple(back.capabilities)) == SAID
        assert unpack_words(pack_words(Words()))._replace(capabilities=()) == Words()

    def test_words_that_were_stored_pack_to_the_same_bytes(self) -> None:
        blob = pack_words(SAID)
        assert pack_words(unpack_words(blob)) == blob

    def test_another_word_makes_other_bytes(self) -> None:
        blobs = {pack_words(SAID)}
        for name in Words._fields:
            another: dict[str, Any] = {name: 7}
            blobs.add(pack_words(SAID._replace(**another)))
        assert len(blobs) == 1 + len(Words._fields)

    def test_words_of_a_newer_hub_are_read_without_what_is_not_known_here(self) -> None:
        newer = msgpack.packb([*Words(status="idle"), "a new word", 7])
        assert unpack_words(newer)._replace(capabilities=()) == Words(status="idle")

    def test_words_of_an_older_hub_have_defaults_for_what_it_did_not_have(self) -> None:
        assert unpack_words(msgpack.packb(["idle", None, "x"])) == Words(status="idle", task="x")

    def test_true_and_one_are_different_words(self) -> None:
        assert pack_words(Words(context=True)) != pack_words(Words(context=1))


class TestRecord:
    def test_every_field_finds_its_place(self) -> None:
        record = unpack_record(rec(inst(), why="left", text="gute Nacht, ü"))
        assert (record.seq, record.at_ms, record.rank) == (1812, NOW - 5, BUSY)
        assert (record.since_ms, record.up_ms, record.down_ms) == (NOW - 6, NOW - 7, NOW - 8)
        assert (record.why, record.text) == ("left", "gute Nacht, ü")
        assert record.last is None

    def test_every_field_of_an_instance_finds_its_place(self) -> None:
        laid_out = inst("wörk 1", why="disconnected", pairs=[0, BUSY, NOW, STALLED], heard=9_000)
        (only,) = unpack_record(rec(laid_out)).instances
        assert (only.name, only.session, only.start_ms) == ("wörk 1", "00aaaa", START)
        assert (only.n, only.rev, only.ttl_ms, only.why) == (4, 1, 30_000, "disconnected")
        assert only.pairs == ((0, BUSY), (NOW, STALLED))
        assert only.heard_ms == START + 9_000
        assert (only.said_ms, only.progressed_ms) == (START + 1_000, START + 2_000)
        assert only.worded_ms == START + 3_000
        assert only.words == SAID._replace(capabilities=["search", "rank"])

    def test_claims_and_an_operators_word_find_their_place(self) -> None:
        plain = unpack_record(rec(inst()))
        assert (plain.claims, plain.override, plain.freed_ms) == ((), None, 0)
        override = [6, "new disk, ü", NOW]
        record = unpack_record(rec(inst(), claims=[["k1", "wörk"]], override=override, freed=NOW))
        assert record.claims == (("k1", "wörk"),)
        assert record.override == Override(6, "new disk, ü", NOW)
        assert record.freed_ms == NOW
        endless = unpack_record(rec(inst(), override=[3, "", 0])).override
        assert endless == Override(3, "", None)

    def test_an_instance_heard_at_its_very_start_was_heard(self) -> None:
        (only,) = unpack_record(rec(inst(heard=0))).instances
        assert only.heard_ms == START

    def test_the_last_instance_is_kept_without_a_lease(self) -> None:
        gone = inst("gone", heard=5_000)
        record = unpack_record(rec(last=gone, rank=OFFLINE), [b"%d" % NOW], now_ms=NOW)
        assert record.instances == ()
        assert record.last is not None
        assert (record.last.name, record.last.lease_ms) == ("gone", None)
        assert record.last.last_heartbeat_ms == START + 5_000


class TestLeases:
    def leases(self, *scores: bytes | None, now_ms: int = NOW) -> list[Any]:
        laid_out = rec(inst("1"), inst("2"))
        record = unpack_record(laid_out, scores, now_ms=now_ms)
        return [i.lease_ms for i in record.instances]

    @pytest.mark.parametrize("score", [b"%d" % NOW, b"%d.0" % NOW, b"1.7741898e+12"])
    def test_a_score_is_read_in_every_spelling_of_a_number(self, score: bytes) -> None:
        assert self.leases(score, score, now_ms=0) == [NOW, NOW]

    def test_leases_stand_in_the_order_of_the_instances(self) -> None:
        assert self.leases(b"%d" % (NOW + 1), b"%d" % (NOW + 2)) == [NOW + 1, NOW + 2]

    def test_an_instance_without_a_lease_has_none(self) -> None:
        assert self.leases(None, b"%d" % (NOW + 2)) == [None, NOW + 2]
        assert self.leases() == [None, None]
        assert self.leases(b"%d" % (NOW + 1)) == [NOW + 1, None]

    def test_the_lease_tells_when_the_last_beat_came(self) -> None:
        (only,) = unpack_record(rec(inst()), [b"%d" % (NOW + 20_000)], now_ms=NOW).instances
        assert (only.heard_ms, only.last_heartbeat_ms) == (None, NOW - 10_000)

    @pytest.mark.parametrize(
        ("score_ms", "gap_ms", "held"),
        [
            (NOW, NOW - 1_000, True),
            (NOW - 20_000, NOW - 1_000, True),
            (NOW - 1, NOW - 29_999, True),
            (NOW - 1, NOW - 30_000, False),  # for one lease, and no longer
            (NOW + 1, NOW - 1_000, False),  # it runs
            (NOW, 0, False),  # there never was a gap
        ],
    )
    def test_a_lease_that_ran_out_is_held_for_its_ttl_from_the_gap(
        self, score_ms: int, gap_ms: int, held: bool
    ) -> None:
        (only,) = unpack_record(
            rec(inst()), [b"%d" % score_ms], now_ms=NOW, gap_ms=gap_ms
        ).instances
        assert only.held is held
        assert only.lease_ms == score_ms
        assert only.last_heartbeat_ms == score_ms - 30_000

    def test_a_gap_does_not_make_a_cut_lease_forget_its_last_beat(self) -> None:
        cut = inst(heard=50_000, pairs=[0, BUSY, 0, SUSPECT])
        (only,) = unpack_record(rec(cut), [b"%d" % NOW], now_ms=NOW, gap_ms=NOW - 1).instances
        assert (only.held, only.last_heartbeat_ms) == (True, START + 50_000)

    def test_a_lease_that_the_sweep_holds_on_is_shown_as_it_was(self) -> None:
        # The sweep marks it by half a millisecond, and notes the last beat.
        score = b"%d.5" % (NOW + 9_000)
        (only,) = unpack_record(rec(inst(heard=20_000)), [score], now_ms=NOW).instances
        assert only.held
        assert only.last_heartbeat_ms == START + 20_000
        assert only.lease_ms == START + 50_000

    def test_a_beat_that_was_noted_before_a_renewal_tells_nothing_any_more(self) -> None:
        score = b"%d" % (NOW + 25_000)
        (only,) = unpack_record(rec(inst(heard=20_000)), [score], now_ms=NOW).instances
        assert (only.held, only.heard_ms) == (False, None)
        assert only.last_heartbeat_ms == NOW - 5_000

    def test_an_instance_without_a_lease_is_not_held(self) -> None:
        (only,) = unpack_record(rec(inst()), [None], now_ms=NOW, gap_ms=NOW - 1).instances
        assert not only.held


@pytest.mark.parametrize(
    ("given", "alike"),
    [
        ({}, True),
        ({"progress_ttl_ms": 5}, True),
        ({"state": "degraded"}, True),
        ({"capabilities": ["search"]}, True),
        ({"state": "busy"}, False),  # it would have free slots
        ({"task": "t"}, False),
        ({"slots": 2}, False),
        ({"progress": {"done": True}}, False),
    ],
)
def test_words_look_alike_if_they_differ_in_what_is_not_shown(
    given: dict[str, Any], alike: bool
) -> None:
    before = Words(status="idle", progress={"done": 1}, capabilities=("search",))
    after = before._replace(**given)
    assert look_alike(after, before) is look_alike(before, after) is alike
