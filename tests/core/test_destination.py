"""Where a message may go."""

from __future__ import annotations

import pytest

from lifesigns.core.destination import Allowance, Destination, destination_of, literal
from lifesigns.core.errors import BadValue

STRICT = Allowance()
PUNY = "xn--bcher-kva.example"


@pytest.mark.parametrize(
    ("url", "tls", "host", "port", "target", "authority"),
    [
        ("https://hooks.example/a", True, "hooks.example", 443, "/a", "hooks.example"),
        ("http://hooks.example", False, "hooks.example", 80, "/", "hooks.example"),
        ("https://Hooks.Example:443/", True, "hooks.example", 443, "/", "hooks.example"),
        ("http://h:8080/a?b=c&d#e", False, "h", 8080, "/a?b=c&d", "h:8080"),
        ("http://[::1]:81/", False, "::1", 81, "/", "[::1]:81"),
        ("https://bücher.example/ä?ö", True, PUNY, 443, "/%C3%A4?%C3%B6", PUNY),
        ("http://h/%7Ea//b?q=%20", False, "h", 80, "/%7Ea//b?q=%20", "h"),
    ],
)
def test_a_url_is_taken_apart_as_a_request_needs_it(
    url: str, tls: bool, host: str, port: int, target: str, authority: str
) -> None:
    destination = destination_of(url)
    assert destination == Destination(tls, host, port, target)
    assert destination.authority == authority


@pytest.mark.parametrize(
    "url",
    [
        *(None, 7, "", "hooks.example", "ftp://h/", "https://", "http:///a", "https://h:0/"),
        *("https://h:x/", "https://h:70000/", "https://user@h/", "https://a:b@h/"),
        *("https://h/a b", "https://h/\r\nX: y", "https://h\x00/", "http://[::1/"),
        *("https://h/" + "a" * 2048, "https://a..b/", "https://h/\ud800", "https://%zz/"),
        *("file:///etc/passwd", "https://a_b^/"),
    ],
)
def test_what_is_no_url_to_post_to_is_refused_with_its_field(url: object) -> None:
    with pytest.raises(BadValue) as refused:
        destination_of(url, "webhookUrl")
    assert refused.value.field == "webhookUrl"


@pytest.mark.parametrize(
    ("address", "kind"),
    [
        ("127.0.0.1", "a loopback address"),
        ("127.255.255.254", "a loopback address"),
        ("::1", "a loopback address"),
        ("10.0.0.1", "a private address"),
        ("172.16.0.1", "a private address"),
        ("192.168.1.1", "a private address"),
        ("fd00::1", "a private address"),
        ("fec0::1", "a private address"),
        ("100.64.0.1", "a private address"),  # a carrier's
        ("198.18.0.1", "a private address"),
        ("192.0.2.1", "a private address"),  # of documents
        ("240.0.0.1", "a private address"),
        ("255.255.255.255", "a private address"),
        ("169.254.169.254", "a link-local address"),
        ("fe80::1%eth0", "a link-local address"),
        ("224.0.0.1", "a multicast address"),
        ("239.1.1.1", "a multicast address"),
        ("ff02::1", "a multicast address"),
        ("0.0.0.0", "no address of anybody"),
        ("::", "no address of anybody"),
        ("::ffff:127.0.0.1", "an IPv4 address within another"),
        ("::ffff:8.8.8.8", "an IPv4 address within another"),
        ("2002:7f00:1::", "an IPv4 address within another"),
        ("64:ff9b::7f00:1", "a loopback address"),
        ("64:ff9b::a00:1", "a private address"),
        ("127.1", "no address"),
        ("hooks.example", "no address"),
    ],
)
def test_addresses_that_not_everybody_can_reach_are_refused(address: str, kind: str) -> None:
    assert STRICT.refuses(address) == kind


@pytest.mark.parametrize("address", ["8.8.8.8", "2606:4700::1111", "64:ff9b::808:808"])
def test_addresses_that_everybody_can_reach_are_not(address: str) -> None:
    assert STRICT.refuses(address) is None


@pytest.mark.parametrize("address", ["127.0.0.1", "::1"])
def test_loopback_alone_can_be_allowed(address: str) -> None:
    allowance = Allowance(loopback=True)
    assert allowance.refuses(address) is None
    assert allowance.refuses("10.0.0.1")
    assert allowance.refuses("169.254.169.254")
    assert allowance.refuses("::ffff:127.0.0.1")


@pytest.mark.parametrize("address", ["127.0.0.1", "10.0.0.1", "169.254.169.254", "fd00::1"])
def test_all_can_be_allowed_but_what_is_none(address: str) -> None:
    allowance = Allowance(private=True)
    assert allowance.refuses(address) is None
    assert allowance.refuses("127.1") == "no address"


def test_a_url_may_name_an_address_itself() -> None:
    assert literal(destination_of("http://[0:0::1]/")) == "::1"
    assert literal(destination_of("http://10.0.0.1/")) == "10.0.0.1"
    assert literal(destination_of("http://127.1/")) is None  # a name, for whoever resolves it
