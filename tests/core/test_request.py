"""What a peer may ask, field by field."""

from __future__ import annotations

from typing import Any

import pytest

from lifesigns.core.errors import BadValue
from lifesigns.core.filter import Filter
from lifesigns.core.model import Limits
from lifesigns.core.request import (
    ClaimAsked,
    Hello,
    PickAsked,
    ReleaseAsked,
    RenewAsked,
    read,
    read_check,
)

LIMITS = Limits()


def asked(type_: str, **fields: Any) -> Any:
    return read({"type": type_, **fields}, fields.get("ref"), LIMITS, 0)


def refused(type_: str, **fields: Any) -> str | None:
    with pytest.raises(BadValue) as caught:
        asked(type_, **fields)
    return caught.value.field


def test_a_claim_asks_for_an_agent_or_for_whoever_matches() -> None:
    assert asked("claim") == ClaimAsked(None, None, Filter(), 60_000, 0, "")
    named = asked("claim", ref=1, agent="a", ttl=1.5, wait=60, note="job 7")
    assert named == ClaimAsked(1, "a", Filter(), 1_500, 60, "job 7")
    by_filter = asked("claim", filter={"capability": ["x"]})
    assert by_filter.wanted == Filter(capability=("x",))
    assert refused("claim", agent="a", filter={}) == "filter"


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("ttl", 0.5),
        ("ttl", 86_401),
        ("ttl", "60"),
        ("wait", -1),
        ("wait", 61),
        ("note", "x" * 1025),
    ],
)
def test_what_a_claim_asks_has_bounds(field: str, value: Any) -> None:
    assert refused("claim", **{field: value}) == field


def test_a_pick_asks_for_a_few() -> None:
    assert asked("pick") == PickAsked(None, Filter(), 1, "full")
    assert asked("pick", n=100, detail="lite") == PickAsked(None, Filter(), 100, "lite")
    for n in (0, 101, 1.0, True, "1"):
        assert refused("pick", n=n) == "n"


def test_a_claim_is_renewed_and_released_by_its_id() -> None:
    assert asked("renew", claim="k3f9@a.b@c") == RenewAsked(None, "k3f9@a.b@c", None)
    assert asked("renew", ref="r", claim="k3f9@a", ttl=5) == RenewAsked("r", "k3f9@a", 5_000)
    assert asked("release", claim="k3f9@a") == ReleaseAsked(None, "k3f9@a")
    for bad in (None, 7):
        assert refused("release", claim=bad) == "claim"


def test_a_hello_names_the_claims_that_it_holds() -> None:
    hello = asked("hello", claims=["k1@a", "k2@b", "k1@a"])
    assert isinstance(hello, Hello)
    assert hello.claims == ("k1@a", "k2@b")
    assert asked("hello").claims == ()
    assert refused("hello", claims="k1@a") == "claims"
    assert refused("hello", claims=["k1@a", 7]) == "claims[1]"
    assert refused("hello", claims=["k1@a"] * 101) == "claims"


def test_a_check_may_want_a_probe_and_wait_a_while_for_it() -> None:
    plain = read_check({"agents": ["a"]}, None, LIMITS)
    assert (plain.probe, plain.timeout_ms) == (False, 1_000)
    probing = read_check({"agents": ["a"], "probe": True, "timeout": 10_000}, None, LIMITS)
    assert (probing.probe, probing.timeout_ms) == (True, 10_000)
    assert refused("check", agents=["a"], probe=1) == "probe"
    assert refused("check", agents=["a"], timeout=10_001) == "timeout"
