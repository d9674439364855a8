"""The words of Callboard, without a hub: heartbeats, rows, accounts, refusals, the guide."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from typing import Any

import pytest

from lifesigns.core.errors import BadValue, Conflict, LifesignsError, NotFound
from lifesigns.core.instant import to_text
from lifesigns.core.model import Limits, Words
from lifesigns.core.presence import AVAILABLE, BUSY, DEGRADED, merge, own_rank
from lifesigns.dialects.callboard import account, guide, heartbeat
from lifesigns.dialects.callboard.account import Account
from lifesigns.dialects.callboard.heartbeat import Row
from lifesigns.dialects.callboard.refusal import Invalid, refusal

T0 = 1_774_189_800_000
DAY_MS = 86_400_000
LIMITS = Limits()
WHERE = {"project": "default", "agent": "a"}


def beaten(former: Row | None = None, at_ms: int = T0, /, **said: Any) -> Row:
    told = heartbeat.heartbeat({"runtimeId": "r"} | said, LIMITS)
    return heartbeat.beaten(former, told, at_ms, 900_000, **WHERE)


@pytest.mark.parametrize(
    ("said", "rank", "task"),
    [
        ({}, AVAILABLE, None),
        ({"status": "ONLINE"}, AVAILABLE, None),
        ({"currentAction": None}, AVAILABLE, None),
        ({"currentAction": ""}, AVAILABLE, None),
        ({"currentAction": "idle"}, AVAILABLE, None),
        ({"currentAction": " IDLE "}, AVAILABLE, None),
        ({"currentAction": "idle hands"}, BUSY, "idle hands"),
        ({"currentAction": "digging"}, BUSY, "digging"),
        ({"status": "DEGRADED"}, DEGRADED, None),
        ({"status": "DEGRADED", "currentAction": "digging"}, DEGRADED, "digging"),
    ],
)
def test_what_a_runtime_says_is_one_of_our_states(
    said: dict[str, Any], rank: int, task: str | None
) -> None:
    # Whatever was said before: another dialect may have left a hint.
    for before in (Words(), Words(state="draining", task="old", status="x")):
        words = merge(before, heartbeat.words(beaten(**said), LIMITS))
        assert (own_rank(words), words.task, words.dialect) == (rank, task, "callboard")


def test_what_is_said_of_the_moment_is_over_and_what_is_said_of_the_runtime_stays() -> None:
    moment = {"currentAction": "x", "currentJobId": "j", "lastError": "e", "roleMode": "WORKER"}
    runtime = {"runtime": "codex", "version": "1", "capabilitiesJson": ["a"], "metadataJson": {}}
    first = beaten(**moment, **runtime, extra=1)
    second = beaten(first, T0 + 5)
    assert second.said == runtime
    assert (second.role, second.more, second.status) == ("BOTH", {}, "ONLINE")
    assert (second.id, second.created_ms, second.updated_ms) == (first.id, T0, T0 + 5)
    assert beaten(second, T0 + 9, version=None).said == {
        name: value for name, value in runtime.items() if name != "version"
    }


def test_offline_that_is_repeated_changes_nothing() -> None:
    gone = beaten(beaten(), T0 + 1, status="OFFLINE")
    assert beaten(gone, T0 + 2, status="OFFLINE", currentAction="x", version="2") == gone
    assert beaten(gone, T0 + 3).updated_ms == T0 + 3


@pytest.mark.parametrize(
    ("value", "found"),
    [
        (["a", "b", "a"], ("a", "b")),
        ({"a": True, "b": False, "c": 1, "d": True}, ("a", "d")),
        ({}, None),
        ([], None),
        ([1], None),
        ([""], None),
        (["x" * 129], None),
        ([{"name": "a"}], None),
        ("a", None),
        (None, None),
        (["a"] * 1 + [f"c{n}" for n in range(64)], None),
    ],
)
def test_capabilities_are_names_and_whatever_else_is_kept_as_it_is(
    value: Any, found: tuple[str, ...] | None
) -> None:
    assert heartbeat.capabilities_of(value, LIMITS) == found
    told = heartbeat.words(beaten(capabilitiesJson=value), LIMITS)
    assert told.get("capabilities") == found
    kept = told["metadata"].get("capabilitiesJson")
    assert kept == (value if found is None else None)


def test_the_senders_own_metadata_wins_and_nothing_is_dropped() -> None:
    own = {"model": "m", "roleMode": "mine", "lastError": None}
    row = beaten(lastError="e", runtime="codex", metadataJson=own, other=[1], model="theirs")
    assert heartbeat.words(row, LIMITS)["metadata"] == {
        "roleMode": "mine",
        "lastError": None,
        "runtime": "codex",
        "other": [1],
        "model": "m",
    }
    row = beaten(metadataJson=[1, 2])
    assert heartbeat.words(row, LIMITS)["metadata"]["metadataJson"] == [1, 2]


def test_what_fits_alone_and_not_together_is_refused_before_anything_is_stored() -> None:
    half = "x" * 9_000
    row = beaten(metadataJson={"a": half}, other=half)
    with pytest.raises(BadValue) as refused:
        heartbeat.words(row, LIMITS)
    assert refused.value.field == "metadataJson"


def test_every_wrong_field_is_named_at_once() -> None:
    body = {"runtimeId": "", "roleMode": 1, "status": "off", "version": [], "lastError": {}}
    with pytest.raises(Invalid) as refused:
        heartbeat.heartbeat(body, LIMITS)
    assert set(refused.value.wrong) == {"runtimeId", "roleMode", "status", "version", "lastError"}
    spelled = refusal(refused.value)["error"]
    assert spelled["code"] == "VALIDATION_ERROR"
    assert spelled["details"]["status"] == "status is one of ONLINE, DEGRADED, OFFLINE."


def test_a_row_is_kept_whole_and_read_whatever_a_newer_hub_has_added() -> None:
    row = beaten(currentAction="x", metadataJson={"a": 1}, extra=2)
    assert heartbeat.unpack(heartbeat.pack(row) | {"colour": 1}) == row
    own = replace(account.mint(Account("a", T0), "CARD", "l", T0)[0], claimed=True)
    kept = json.loads(json.dumps(account.pack(own))) | {"colour": 1}
    assert account.unpack(kept) == own


@pytest.mark.parametrize(
    ("kind", "good_ms"), [("CLAIM", 7 * DAY_MS), ("CARD", DAY_MS), ("PAYOUT", DAY_MS)]
)
def test_a_link_is_the_same_until_it_is_dead_and_then_another(kind: Any, good_ms: int) -> None:
    own, link = account.mint(Account("a", T0), kind, "one", T0)
    assert (link.id, link.expires_ms) == ("one", T0 + good_ms)
    last_ms = T0 + good_ms - 1
    assert account.mint(own, kind, "two", last_ms) == (own, link)
    assert link.status(last_ms) == "PENDING"
    assert link.status(last_ms + 1) == "EXPIRED"
    later, link = account.mint(own, kind, "two", last_ms + 1)
    assert [each.id for each in later.links] == ["one", "two"]
    flag = {"CLAIM": "claimed", "CARD": "cardReady", "PAYOUT": "payoutReady"}[kind]
    done = account.settled(later, {flag: True}, last_ms + 2)
    assert [each.status(last_ms + 2) for each in done.links] == ["EXPIRED", "COMPLETED"]
    with pytest.raises(Conflict):
        account.mint(done, kind, "three", last_ms + 3)


def test_only_so_many_links_are_remembered() -> None:
    own = Account("a", T0)
    for n in range(account.LINKS + 5):
        own, _ = account.mint(own, "CARD", str(n), T0 + n * DAY_MS)
    assert len(own.links) == account.LINKS
    assert own.link(str(account.LINKS + 4)).kind == "CARD"
    with pytest.raises(NotFound):
        own.link("0")


def test_a_link_says_when_it_ends_and_leads_to_this_hub() -> None:
    own, link = account.mint(Account("codex", T0), "PAYOUT", "id", T0)
    assert account.spell_link(own, link, "https://hub.example", T0) == {
        "id": "id",
        "kind": "PAYOUT",
        "status": "PENDING",
        "url": "https://hub.example/setup/codex/payout/id",
        "createdAt": to_text(T0),
        "expiresAt": to_text(T0 + DAY_MS),
        "completedAt": None,
    }


def _errors(kind: type[LifesignsError] = LifesignsError) -> list[type[LifesignsError]]:
    below = [each for child in kind.__subclasses__() for each in _errors(child)]
    return [kind, *below]


def test_every_error_has_a_word_here() -> None:
    for kind in _errors():
        if kind.__module__ == "lifesigns.core.errors":
            error = kind.__new__(kind)
            LifesignsError.__init__(error, "words")
            said = refusal(error)["error"]
            assert re.fullmatch("[A-Z_]+", said["code"])
            assert said["message"] == "words"


def test_the_guide_has_the_hubs_address_in_each_command_and_nothing_of_another_place() -> None:
    address = "https://hub.example:8700"
    pages = [
        page(address, "9.9.9") for page in (guide.heartbeat_md, guide.skill_md, guide.rules_md)
    ]
    for page in pages:
        assert page.startswith("---\nname: callboard-")
        assert "\nversion: 9.9.9\n" in page
        assert set(re.findall(r"https?://[^\s\"'/)]+", page)) == {address}
    for needed in ("lastCallboardCheck", "*/5 * * * *", "scheduled task", "skillVersion", "rand()"):
        assert needed in pages[0]
    assert guide.skill_json("9.9.9") == {"name": "callboard", "version": "9.9.9"}


def test_the_guide_tells_the_intervals_that_are_reckoned() -> None:
    page = guide.heartbeat_md("http://h", "1")
    for line in (
        "| Nothing to do | 5 to 10 minutes |",
        "| An application waits for its answer | 3 to 5 minutes |",
        "| A slot was granted and is not acknowledged | 30 to 60 seconds |",
        "| A slot is being worked on | 1 to 2 minutes |",
        "| A deadline is near | 30 to 60 seconds |",
        "| Nothing to do | 10 to 15 minutes |",
        "| A bounty of yours is open | 5 minutes |",
        "| Something was handed in | 1 to 2 minutes |",
        "| The time to decide is nearly over | 30 to 60 seconds |",
        "| A payment's link was sent | 2 to 3 minutes |",
    ):
        assert line in page
