"""When a message is tried, and what comes of it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from lifesigns.core.circuit import (
    FAILURES,
    OPEN_MS,
    PROBE_MS,
    SILENCE_MS,
    Circuit,
    circuit_of,
    failed,
    probing,
)
from lifesigns.core.circuit import spell as spell_circuit
from lifesigns.core.delivery import (
    LONGEST_HINT_S,
    RETRIES_S,
    TRIES_KEPT,
    Delivery,
    Try,
    abandoned,
    begun_again,
    delivery_id,
    delivery_of,
    due_ms,
    hint_of,
    home_of,
    spell,
    tried,
)

NOW = 1_774_189_800_000
WEEK = 7 * 86_400_000
NEW = Delivery("msg_07ab", "w", "agent.offline", "a", "application/json", "{}", "pending", NOW)


def attempt(status: int | None, at_ms: int = NOW, hint_s: float | None = None) -> Try:
    return Try(at_ms, 100, status, None if status else "timeout", "so", hint_s)


def test_one_good_answer_is_enough() -> None:
    done = tried(NEW, attempt(204), 1.0)
    assert (done.state, done.next_ms, done.failures) == ("delivered", None, 0)
    assert due_ms(done, WEEK) == NOW + WEEK  # to be dropped


@pytest.mark.parametrize("status", [None, 301, 400, 404, 429, 500, 503])
def test_any_other_answer_or_none_is_a_failure_and_is_tried_again(status: int | None) -> None:
    again = tried(NEW, attempt(status), 0.0)
    assert (again.state, again.failures) == ("retrying", 1)
    assert due_ms(again, WEEK) == NOW + 100 + 5_000


def test_the_intervals_grow_and_after_the_last_it_has_failed() -> None:
    delivery, at_ms, waits = NEW, NOW, []
    while delivery.state != "failed":
        delivery = tried(delivery, attempt(500, at_ms), 0.0)
        if delivery.next_ms is not None:
            waits.append((delivery.next_ms - at_ms - 100) // 1000)
            at_ms = delivery.next_ms
    assert waits == [5, 30, 120, 600, 1_800, 7_200, 18_000, 36_000] == list(RETRIES_S)
    assert len(delivery.tries) == 9
    assert due_ms(delivery, WEEK) == NOW + WEEK


@pytest.mark.parametrize("chance", [0.0, 0.5, 1.0])
def test_chance_puts_a_try_off_but_never_forward(chance: float) -> None:
    next_ms = tried(NEW, attempt(500), chance).next_ms
    assert next_ms == NOW + 100 + round(5_000 * (1 + 0.2 * chance))


@pytest.mark.parametrize(("hint_s", "wait_s"), [(1.0, 1), (120.0, 120), (10**9, LONGEST_HINT_S)])
def test_a_receiver_may_say_when_to_come_back(hint_s: float, wait_s: int) -> None:
    next_ms = tried(NEW, attempt(429, hint_s=hint_s), 1.0).next_ms
    assert next_ms == NOW + 100 + wait_s * 1000


@pytest.mark.parametrize(
    ("text", "hint_s"),
    [
        ("120", 120.0),
        ("0", 1.0),
        ("Sun, 22 Mar 2026 14:31:00 GMT", 60.0),
        ("Sun, 22 Mar 2026 14:29:00 GMT", 1.0),
        ("Sun, 22 Mar 2026 14:31:00 -0000", 60.0),
        ("soon", None),
        ("-5", None),
        ("1.5", None),
        ("", None),
    ],
)
def test_it_says_so_in_seconds_or_by_a_date(text: str, hint_s: float | None) -> None:
    assert hint_of({"retry-after": text}, NOW) == hint_s
    assert hint_of({}, NOW) is None


def test_who_is_gone_is_not_tried_again() -> None:
    assert tried(NEW, attempt(410), 0.0).state == "failed"


def test_what_is_abandoned_says_why() -> None:
    over = abandoned(NEW, NOW, "the webhook is disabled")
    assert (over.state, over.next_ms) == ("failed", None)
    assert over.tries[-1].error == "the webhook is disabled"


def test_it_can_be_sent_again_with_all_its_tries() -> None:
    delivery = replace(abandoned(NEW, NOW, "so"), failures=9)
    again = begun_again(delivery, NOW + 5)
    assert (again.state, again.failures, due_ms(again, WEEK)) == ("pending", 0, NOW + 5)
    assert len(again.tries) == 1


def test_only_the_last_tries_are_kept() -> None:
    delivery = NEW
    for i in range(TRIES_KEPT + 5):
        delivery = begun_again(tried(delivery, attempt(500, NOW + i), 0.0), NOW + i)
    assert len(delivery.tries) == TRIES_KEPT
    assert delivery.tries[-1].at_ms == NOW + TRIES_KEPT + 4


def test_it_is_kept_whole_and_listed_by_its_webhook_and_its_state() -> None:
    delivery = tried(NEW, attempt(500), 0.0)
    assert delivery_of(NEW.id, delivery.body()) == delivery
    assert delivery.indexes() == {"w": NOW, "w/retrying": NOW}


def test_its_id_is_the_same_for_the_same_and_says_where_it_lies() -> None:
    id_ = delivery_id(7, "w", "1-0", "agent.offline")
    assert id_ == delivery_id(7, "w", "1-0", "agent.offline")
    assert id_ != delivery_id(7, "w", "1-1", "agent.offline")
    assert home_of(id_) == 7
    assert home_of("msg_") is home_of("other") is home_of("msg_xyz") is None


def test_people_are_shown_what_became_of_it() -> None:
    shown = spell(tried(NEW, attempt(503), 0.0))
    assert shown["state"] == "retrying"
    assert shown["next_attempt_at"] == "2026-03-22T14:30:05.100Z"
    assert shown["attempts"] == [
        {
            "at": "2026-03-22T14:30:00.000Z",
            "took_ms": 100,
            "status": 503,
            "error": None,
            "answer": "so",
        }
    ]


# The circuit.


def dead(now_ms: int = NOW) -> Circuit:
    circuit = Circuit()
    for i in range(FAILURES):
        circuit = failed(circuit, now_ms + i * SILENCE_MS // (FAILURES - 1), "timeout")
    return circuit


def test_a_receiver_is_dead_after_many_failures_over_a_while() -> None:
    circuit, now_ms = dead(), NOW + SILENCE_MS
    assert not circuit.admits(now_ms)
    assert circuit.admits(now_ms + OPEN_MS[0])
    assert spell_circuit(circuit, now_ms)["circuit"] == "open"


def test_many_failures_at_once_are_no_death() -> None:
    circuit = Circuit()
    for _ in range(1_000):
        circuit = failed(circuit, NOW, "timeout")
    assert circuit.admits(NOW)
    assert spell_circuit(circuit, NOW) == {
        "failures": 1_000,
        "failing_since": "2026-03-22T14:30:00.000Z",
        "last_error": "timeout",
        "circuit": "closed",
    }


def test_few_failures_over_a_long_time_are_no_death() -> None:
    circuit = failed(failed(Circuit(), NOW, "timeout"), NOW + 10 * SILENCE_MS, "timeout")
    assert circuit.admits(NOW + 10 * SILENCE_MS)


def test_one_message_goes_to_see_and_the_circuit_stays_open_longer_if_it_fails() -> None:
    circuit, now_ms = dead(), NOW + SILENCE_MS
    for open_ms in (*OPEN_MS[1:], OPEN_MS[-1]):
        now_ms = circuit.until_ms
        assert circuit.admits(now_ms)
        circuit = probing(circuit, now_ms)
        assert not circuit.admits(now_ms + PROBE_MS - 1)
        circuit = failed(circuit, now_ms + 15_000, "timeout")
        assert circuit.until_ms == now_ms + 15_000 + open_ms


def test_what_was_on_its_way_when_it_opened_does_not_open_it_further() -> None:
    circuit = dead()
    later = failed(circuit, NOW + SILENCE_MS + 15_000, "timeout")
    assert (later.until_ms, later.opened) == (circuit.until_ms, 1)


def test_a_receiver_of_which_nothing_is_kept_does_well() -> None:
    assert circuit_of(None).admits(0)
    assert circuit_of(dead().body()) == dead()
    assert spell_circuit(Circuit(), NOW)["failing_since"] is None
