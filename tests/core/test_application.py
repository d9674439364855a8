"""Applications: one for each agent and job."""

from __future__ import annotations

import pytest

from lifesigns.core.application import (
    KEPT_MS,
    Application,
    application_id,
    apply,
    granted,
    pack,
    spell,
    unpack,
    withdraw,
)
from lifesigns.core.errors import Conflict

T0 = 1_774_189_800_000
WANTED = Application(application_id("default", "a", "j"), "a", "uuid-of-a", "j", T0, T0)


def test_an_agent_applies_once_for_a_job_and_again_when_it_has_withdrawn() -> None:
    assert apply(None, WANTED) == WANTED
    for former in (WANTED, granted(WANTED, T0 + 1)):
        with pytest.raises(Conflict, match="'j' already"):
            apply(former, WANTED)
    withdrawn = withdraw(WANTED, T0 + 1)
    assert (withdrawn.status, withdrawn.updated_ms) == ("WITHDRAWN", T0 + 1)
    assert apply(withdrawn, WANTED) == WANTED


def test_it_is_withdrawn_once_and_not_when_it_was_granted() -> None:
    withdrawn = withdraw(WANTED, T0 + 1)
    assert withdraw(withdrawn, T0 + 2) == withdrawn
    with pytest.raises(Conflict, match="the slot"):
        withdraw(granted(WANTED, T0 + 1), T0 + 2)


def test_its_name_is_that_of_the_agent_and_the_job_in_their_project() -> None:
    places = [
        ("default", "a", "j"),
        ("other", "a", "j"),
        ("default", "b", "j"),
        ("default", "a", "k"),
    ]
    assert len({application_id(*place) for place in places}) == len(places)
    assert application_id("default", "a", "j") == WANTED.id


def test_it_is_kept_whole_and_shown() -> None:
    assert unpack(pack(WANTED) | {"more": 1}) == WANTED
    assert WANTED.due_ms == T0 + KEPT_MS
    assert spell(WANTED) == {
        "id": WANTED.id,
        "agentId": "uuid-of-a",
        "agent": "a",
        "jobId": "j",
        "bountyId": "j",
        "status": "PENDING",
        "message": "",
        "createdAt": "2026-03-22T14:30:00.000Z",
        "updatedAt": "2026-03-22T14:30:00.000Z",
    }
