"""What a slow watcher is owed."""

from __future__ import annotations

from itertools import pairwise

from lifesigns.core.presence import BUSY
from lifesigns.hub.outbox import Outbox
from tests.fanout.border import shown, turned


def test_the_latest_of_each_agent_is_kept_with_what_was_shown_first() -> None:
    outbox = Outbox()
    versions = [shown("a", seq, status=f"s{seq}") for seq in range(4)]
    for before, after in pairwise(versions):
        outbox.note(turned(before, after), seen=True)
    (owed,) = outbox.take(10)
    assert owed.before == versions[0].packed
    assert owed.after == versions[3].packed
    assert owed.changes == 3
    assert owed.place.seq == 3
    assert len(outbox) == 0


def test_whether_it_was_shown_is_known_from_the_first_change() -> None:
    outbox = Outbox()
    outbox.note(turned(None, shown("a", 1)), seen=False)
    outbox.note(turned(shown("a", 1), shown("a", 2)), seen=True)
    (owed,) = outbox.take(1)
    assert not owed.seen
    assert owed.before is None


def test_it_is_taken_in_the_order_of_the_latest_changes() -> None:
    outbox = Outbox()
    for seq, agent in enumerate("abcab", 1):
        outbox.note(turned(None, shown(agent, seq)), seen=False)
    assert [owed.agent for owed in outbox.take(2)] == ["c", "a"]
    outbox.note(turned(None, shown("b", 6)), seen=False)
    outbox.note(turned(None, shown("d", 7)), seen=False)
    assert [owed.place.seq for owed in outbox.take(2)] == [6, 7]


def test_what_is_settled_is_owed_no_more() -> None:
    outbox = Outbox()
    outbox.note(turned(None, shown("a", 1)), seen=False)
    outbox.settle("a")
    outbox.settle("never there")
    assert not outbox.take(1)


def test_it_keeps_bytes_and_unpacks_them_when_they_are_told() -> None:
    outbox = Outbox()
    outbox.note(turned(shown("a", 1), shown("a", 2, rank=BUSY), lane=3), seen=True)
    turn = outbox.take(1)[0].turn("default")
    assert turn.lane == 3
    assert turn.before is not None
    assert (turn.before.presence.state, turn.after.presence.state) == ("available", "busy")
