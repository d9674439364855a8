"""Whether a browser may have been sent here by a stranger's page.

A page of another origin can make a browser connect or post to a hub that only the browser can
reach. Browsers say in ``Origin`` whose page it is, programs send none. Without keys a name that
a stranger points at loopback would pass as his own origin, so that ``Host`` is looked at too.
"""

from __future__ import annotations

from collections.abc import Collection
from ipaddress import ip_address
from urllib.parse import urlsplit

from lifesigns.core.errors import Forbidden

_PORTS = {"http": 80, "https": 443}
_SCHEMES = {"ws": "http", "wss": "https"}


def check_source(
    origin: str | None,
    host: str | None,
    scheme: str,
    origins: Collection[str] = (),
    *,
    loopback_only: bool = False,
) -> None:
    """Raise ``Forbidden`` for what a stranger's page sends; ``loopback_only`` with auth off."""
    if loopback_only and not is_loopback(host):
        raise Forbidden("Without keys this hub answers to loopback names only, like localhost.")
    if not origin_allowed(origin, host, scheme, origins):
        raise Forbidden("Pages of this origin may not speak to the hub; see LIFESIGNS_ORIGINS.")


def origin_allowed(
    origin: str | None, host: str | None, scheme: str, origins: Collection[str] = ()
) -> bool:
    """Tell whether a page of this origin may speak to the hub that was called by ``host``.

    ``scheme`` is that of the request (http, https, ws, wss), ``origins`` what is configured.
    """
    if origin is None:
        return True
    asked = _parts(origin)
    if asked is None:
        return False  # "null" too: a sandboxed page or a file, and those are anybody's
    if named(origin, origins):
        return True
    own = None if host is None else _parts(f"{asked[0]}://{host}")
    here = _SCHEMES.get(scheme, scheme)
    # TLS may end at a proxy in front of us; a page without it is never the own one of a hub with.
    return asked == own and (asked[0] == here or asked[0] == "https")


def named(origin: str, origins: Collection[str]) -> bool:
    """Tell whether an origin is one of those that are configured."""
    asked = _parts(origin)
    return asked is not None and any(_parts(each) == asked for each in origins)


def is_loopback(host: str | None) -> bool:
    """Tell whether a ``Host`` header names this machine to itself."""
    parts = None if host is None else _parts(f"http://{host}")
    if parts is None:
        return False
    name = parts[1].removesuffix(".")
    if name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        return ip_address(name).is_loopback
    except ValueError:
        return False


def _parts(origin: str) -> tuple[str, str, int] | None:
    """Split into scheme, host and port; None if it is anything but these three."""
    try:
        url = urlsplit(origin)
        port = url.port
    except ValueError:
        return None
    default = _PORTS.get(url.scheme)
    if default is None or not url.hostname or url.username is not None:
        return None
    if url.path or url.query or url.fragment or origin != origin.strip():
        return None
    return url.scheme, url.hostname, default if port is None else port
