"""Origin and Host, as browsers send them."""

from __future__ import annotations

import pytest

from lifesigns.core.errors import Forbidden
from lifesigns.web.origin import check_source, is_loopback, origin_allowed

OWN = [
    ("http://hub.example", "hub.example", "http"),
    ("http://hub.example", "hub.example:80", "ws"),
    ("http://hub.example:8700", "hub.example:8700", "ws"),
    ("https://hub.example", "hub.example", "wss"),
    ("https://hub.example", "hub.example", "http"),  # behind a proxy that ends TLS
    ("http://HUB.example", "hub.EXAMPLE", "http"),
    ("http://[::1]:8700", "[::1]:8700", "http"),
]
FOREIGN = [
    ("http://evil.example", "hub.example", "http"),
    ("http://hub.example.evil.example", "hub.example", "http"),
    ("http://hub.example:8701", "hub.example:8700", "http"),
    ("http://hub.example", "hub.example:8700", "http"),
    ("http://hub.example", "hub.example", "https"),
    ("null", "hub.example", "http"),
    ("", "hub.example", "http"),
    ("file://", "hub.example", "http"),
    ("http://", "hub.example", "http"),
    ("http://hub.example/", "hub.example", "http"),
    ("http://user@hub.example", "hub.example", "http"),
    ("http://hub.example:port", "hub.example", "http"),
    ("http://hub.example:99999", "hub.example", "http"),
    ("http://[hub", "hub.example", "http"),
    ("chrome-extension://abcdef", "hub.example", "http"),
    ("http://hub.example", None, "http"),
    ("http://hub.example", "hub.example@evil.example", "http"),
]


@pytest.mark.parametrize(("origin", "host", "scheme"), OWN)
def test_a_page_of_the_hubs_own_may_speak_to_it(origin: str, host: str, scheme: str) -> None:
    assert origin_allowed(origin, host, scheme)
    check_source(origin, host, scheme)


@pytest.mark.parametrize(("origin", "host", "scheme"), FOREIGN)
def test_a_strangers_page_may_not(origin: str, host: str | None, scheme: str) -> None:
    assert not origin_allowed(origin, host, scheme)
    with pytest.raises(Forbidden, match="LIFESIGNS_ORIGINS"):
        check_source(origin, host, scheme)


def test_a_program_sends_no_origin_and_is_allowed() -> None:
    check_source(None, "hub.example", "http")
    check_source(None, None, "http")


def test_a_configured_origin_is_allowed_exactly() -> None:
    origins = ("https://board.example", "http://localhost:3000")
    assert origin_allowed("https://board.example:443", "hub.example", "http", origins)
    assert origin_allowed("http://localhost:3000", "hub.example", "http", origins)
    assert not origin_allowed("http://board.example", "hub.example", "http", origins)
    assert not origin_allowed("https://other.board.example", "hub.example", "http", origins)


LOOPBACK = ["localhost", "localhost:8700", "LocalHost.", "hub.localhost:1", "127.0.0.1:8700"]
LOOPBACK += ["127.255.0.3", "[::1]", "[::1]:8700"]
NOT_LOOPBACK = ["hub.example", "localhost.evil.example", "notlocalhost", "128.0.0.1", "0.0.0.0"]
NOT_LOOPBACK += ["127.0.0.1.evil.example", "[::2]", "::1", "", "localhost@evil.example", "10.0.0.1"]


@pytest.mark.parametrize("host", LOOPBACK)
def test_with_auth_off_a_loopback_name_is_answered(host: str) -> None:
    assert is_loopback(host)
    check_source(None, host, "http", loopback_only=True)


@pytest.mark.parametrize("host", [*NOT_LOOPBACK, None])
def test_with_auth_off_a_name_that_points_at_loopback_is_refused(host: str | None) -> None:
    assert not is_loopback(host)
    with pytest.raises(Forbidden, match="loopback"):
        check_source(None, host, "http", loopback_only=True)


def test_a_page_that_rebinds_its_own_name_is_refused_with_auth_off() -> None:
    host = "evil.example:8700"
    check_source(f"http://{host}", host, "http")
    with pytest.raises(Forbidden):
        check_source(f"http://{host}", host, "http", loopback_only=True)
