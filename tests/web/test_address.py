"""Where a hub is, as its callers see it."""

from __future__ import annotations

import pytest
from starlette.requests import Request

from lifesigns.web.address import address_of


def called(host: str | None, *, scheme: str = "http", at: str = "127.0.0.1") -> str:
    headers = [] if host is None else [(b"host", host.encode())]
    scope = {"type": "http", "scheme": scheme, "server": (at, 8700), "path": "/"}
    return address_of(Request({**scope, "headers": headers}))


@pytest.mark.parametrize(
    "host", ["hub.example", "hub.example:8443", "10.0.0.7:80", "[::1]:8700", "a_b-c.d"]
)
def test_it_is_where_it_was_called(host: str) -> None:
    assert called(host) == f"http://{host}"
    assert called(host, scheme="https") == f"https://{host}"


@pytest.mark.parametrize(
    "host", ["a`id`", "a b", "a;b", "$(id)", "a/b", "a:b", "u@a", "", "a\nb", None]
)
def test_a_name_that_makes_no_sense_is_not_taken_over(host: str | None) -> None:
    assert called(host) == "http://127.0.0.1:8700"
    assert called(host, at="::1") == "http://[::1]:8700"
