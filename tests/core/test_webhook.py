"""Who is told of what, and how people set that up."""

from __future__ import annotations

from typing import Any

import pytest

from lifesigns.core.destination import Allowance
from lifesigns.core.errors import BadValue
from lifesigns.core.signature import make_secret
from lifesigns.core.webhook import (
    AGENT_EVENTS,
    EVENTS,
    ROTATION_MS,
    Webhook,
    alter,
    bound,
    bound_id,
    disable,
    make,
    rotate,
    spell,
    webhook_of,
)

NOW = 1_774_189_800_000
SECRET, OTHER = make_secret(bytes(32)), make_secret(bytes(range(32)))
STRICT = Allowance()
URL = "https://hooks.example/a"


def made(**message: Any) -> Webhook:
    return make({"url": URL, **message}, "wh1", SECRET, NOW, STRICT)


def test_a_url_is_enough_to_be_told_of_everything() -> None:
    webhook = made()
    assert all(webhook.wants(type_) for type_ in EVENTS)
    assert not webhook.wants("")  # that something is not so any more
    assert (webhook.enabled, webhook.format, webhook.hold_ms) == (True, "standard", 0)
    assert webhook.wanted.everything
    assert webhook.secrets(NOW) == [SECRET]


@pytest.mark.parametrize(
    ("events", "wanted"),
    [
        (["agent.offline"], {"agent.offline"}),
        ("agent.offline", {"agent.offline"}),
        (["agent.*"], set(AGENT_EVENTS)),
        (["agent.o*", "claim.lost"], {"agent.online", "agent.offline", "claim.lost"}),
        (["*"], set(EVENTS)),
    ],
)
def test_it_is_told_of_the_types_that_it_names(events: Any, wanted: set[str]) -> None:
    assert {type_ for type_ in EVENTS if made(events=events).wants(type_)} == wanted


@pytest.mark.parametrize(
    ("message", "field"),
    [
        ({"url": None}, "url"),
        ({"url": "ftp://h/"}, "url"),
        ({"url": "http://10.0.0.1/"}, "url"),
        ({"url": "http://169.254.169.254/latest"}, "url"),
        ({"url": "http://[::1]/"}, "url"),
        ({"events": []}, "events"),
        ({"events": 7}, "events"),
        ({"events": ["agent.ofline"]}, "events[0]"),
        ({"events": ["agent.online", "agents.*"]}, "events[1]"),
        ({"events": ["*agent"]}, "events[0]"),
        ({"events": ["*"] * 101}, "events"),
        ({"filter": {"colour": "red"}}, "filter.colour"),
        ({"filter": []}, "filter"),
        ({"name": ""}, "name"),
        ({"hold_s": -1}, "hold_s"),
        ({"hold_s": "1"}, "hold_s"),
        ({"hold_s": 86_401}, "hold_s"),
        ({"format": "teams"}, "format"),
        ({"enabled": "yes"}, "enabled"),
        ({"secret": "hunter2"}, "secret"),
    ],
)
def test_what_cannot_be_is_refused_with_its_field(message: dict[str, Any], field: str) -> None:
    with pytest.raises(BadValue) as refused:
        made(**message)
    assert refused.value.field == field


def test_it_is_kept_whole() -> None:
    webhook = made(
        events=["agent.*"], filter={"capability": ["search"]}, name="ops", hold_s=1.5, secret=OTHER
    )
    assert webhook_of("wh1", webhook.body()) == webhook
    assert webhook.hold_ms == 1500
    assert webhook.secret == OTHER
    assert webhook.wanted.capability == ("search",)


def test_what_a_newer_hub_has_kept_is_read_by_an_older_one() -> None:
    assert webhook_of("wh1", {**made().body(), "colour": "red"}) == made()


def test_what_is_not_named_stays_as_it_is() -> None:
    webhook = made(events=["agent.*"], filter={"alive": True}, name="ops", hold_s=5)
    changed = alter(webhook, {"url": "https://other.example/"}, NOW + 1, STRICT)
    assert changed.url == "https://other.example/"
    assert (changed.events, changed.filter, changed.name) == (("agent.*",), {"alive": True}, "ops")
    assert (changed.hold_ms, changed.updated_ms) == (5000, NOW + 1)
    cleared = alter(changed, {"filter": None, "name": None, "hold_s": None}, NOW + 2, STRICT)
    assert (cleared.filter, cleared.name, cleared.hold_ms) == (None, None, 0)


def test_it_can_be_disabled_and_enabled_again() -> None:
    webhook = alter(made(), {"enabled": False}, NOW, STRICT)
    assert (webhook.enabled, webhook.disabled_why) == (False, "by hand")
    assert spell(alter(webhook, {"enabled": True}, NOW, STRICT), NOW)["disabled_reason"] is None
    gone = disable(made(), "gone", NOW)
    assert alter(gone, {"enabled": False}, NOW, STRICT).disabled_why == "gone"


def test_the_secret_before_counts_for_a_day_after_a_rotation() -> None:
    webhook = rotate(made(), OTHER, NOW)
    assert webhook.secrets(NOW) == [OTHER, SECRET]
    assert webhook.secrets(NOW + ROTATION_MS - 1) == [OTHER, SECRET]
    assert webhook.secrets(NOW + ROTATION_MS) == [OTHER]
    assert spell(webhook, NOW)["former_secret_until"] == "2026-03-23T14:30:00.000Z"
    assert spell(webhook, NOW + ROTATION_MS)["former_secret_until"] is None


def test_no_secret_is_ever_spelled_out() -> None:
    shown = repr(spell(rotate(made(), OTHER, NOW), NOW))
    assert SECRET not in shown
    assert OTHER not in shown


def test_that_of_a_job_is_told_of_this_job_alone() -> None:
    webhook = bound("job_1", URL, SECRET, NOW)
    assert (webhook.id, webhook.job) == (bound_id("job_1"), "job_1")
    assert webhook.wants("job.heartbeat_missed")
    assert webhook.wants("slot.missed")
    assert not webhook.wants("agent.offline")
    assert webhook_of(webhook.id, webhook.body()) == webhook
    with pytest.raises(BadValue) as refused:
        bound("job_1", "nowhere", SECRET, NOW)
    assert refused.value.field == "webhookUrl"
