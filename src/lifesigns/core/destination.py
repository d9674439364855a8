"""Where a message may go: what a URL says, and which addresses the hub does not speak to.

A hub stands where its operator's other machines can be reached, and whoever may make a webhook
could have it knock at them. So it is the address that is judged, after the name was resolved, and
the one that was judged is the one to connect to. This module resolves and connects nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address
from urllib.parse import quote, urlsplit

from lifesigns.core.errors import BadValue

LONGEST = 2_048
PORTS = {"http": 80, "https": 443}
# What may stand in a request's target as it is; anything else is percent-encoded.
_PLAIN = "/:@!$&'()*+,;=-._~%?[]"
_NAT64 = IPv6Network("64:ff9b::/96")  # an IPv4 address as networks without IPv4 write it
_TUNNELS = (IPv6Network("2002::/16"), IPv6Network("2001::/32"))  # with an IPv4 address in them

Address = IPv4Address | IPv6Address


@dataclass(frozen=True, slots=True)
class Destination:
    """A URL, taken apart as a request needs it."""

    tls: bool
    host: str  # as it is resolved, and as a certificate names it
    port: int
    target: str  # path and query

    @property
    def authority(self) -> str:
        """Spell host and port as the Host header has them."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        default = PORTS["https" if self.tls else "http"]
        return host if self.port == default else f"{host}:{self.port}"


def destination_of(url: object, field: str = "url") -> Destination:
    """Take a URL that something shall be sent to."""
    if not isinstance(url, str) or not 1 <= len(url) <= LONGEST:
        raise BadValue(f"{field} is a URL of at most {LONGEST} characters.", field=field)
    if any(c <= " " or c == "\x7f" or "\ud800" <= c <= "\udfff" for c in url):
        raise BadValue(f"{field} has no blanks and no control characters.", field=field)
    try:
        parts = urlsplit(url)
        port = parts.port
        host = _host(parts.hostname or "")
    except ValueError:
        raise BadValue(f"{field} is no URL that can be reached.", field=field) from None
    if parts.scheme not in PORTS or not host or port == 0:
        raise BadValue(f"{field} begins with https:// or http:// and names a host.", field=field)
    if parts.username is not None or parts.password is not None:
        raise BadValue(f"{field} carries no name and no password: it is shown.", field=field)
    target = quote(parts.path or "/", safe=_PLAIN)
    if parts.query:
        target += "?" + quote(parts.query, safe=_PLAIN)
    return Destination(parts.scheme == "https", host, port or PORTS[parts.scheme], target)


def _host(host: str) -> str:
    try:
        return str(ip_address(host))
    except ValueError:
        name = host.encode("idna").decode()
        if not all(c.isalnum() or c in "-._" for c in name):
            raise ValueError from None
        return name


@dataclass(frozen=True, slots=True)
class Allowance:
    """Which addresses may be spoken to, beside those that anybody can reach."""

    loopback: bool = False
    private: bool = False  # all of them

    def refuses(self, address: str) -> str | None:
        """Say what is wrong with an address, as the end of "it is ..."; None: nothing."""
        try:
            parsed = ip_address(address)
        except ValueError:
            return "no address"
        if self.private:
            return None
        kind = _kind(parsed)
        return None if kind == "a loopback address" and self.loopback else kind


def literal(destination: Destination) -> str | None:
    """Answer the address that a URL names itself, without any name."""
    try:
        return str(ip_address(destination.host))
    except ValueError:
        return None


def _kind(address: Address) -> str | None:
    if isinstance(address, IPv6Address):
        if address in _NAT64:
            return _kind(IPv4Address(int(address) & 0xFFFFFFFF))
        if address.ipv4_mapped is not None or any(address in each for each in _TUNNELS):
            return "an IPv4 address within another"
        if address.is_site_local:
            return "a private address"
    for refused, kind in (
        (address.is_loopback, "a loopback address"),
        (address.is_link_local, "a link-local address"),
        (address.is_multicast, "a multicast address"),
        (address.is_unspecified, "no address of anybody"),
        (not address.is_global, "a private address"),
    ):
        if refused:
            return kind
    return None
