"""Which hubs a client may go to, and what it shows them.

What is not given is read from the environment, as the commands do it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

from lifesigns.core.errors import BadValue

LOOPBACK = re.compile(r"localhost|127(\.\d+){3}|::1")
SCHEMES = {"http": "ws", "https": "wss", "ws": "ws", "wss": "wss"}


@dataclass(frozen=True, slots=True)
class Target:
    """Hubs that know the same agents, and the key for them."""

    urls: tuple[str, ...]  # of the sockets, to be tried in turn
    key: str | None

    @classmethod
    def of(cls, url: str | Sequence[str] | None, key: str | None) -> Target:
        """Take what a program gives, and look in the environment for the rest."""
        if url is None or key is None:
            # Loaded only here: a program that gives both need not wait for it.
            from lifesigns.config import ClientConfig

            config = ClientConfig.load({})
            url = config.url if url is None else url
            key = config.key if key is None else key
        urls = [url] if isinstance(url, str) else url
        return cls(tuple(_socket_url(each) for each in urls), key)

    @property
    def headers(self) -> dict[str, str]:
        return {} if self.key is None else {"Authorization": f"Bearer {self.key}"}


def is_loopback(url: str) -> bool:
    """Tell whether no proxy can be meant to stand in between."""
    return LOOPBACK.fullmatch(urlsplit(url).hostname or "") is not None


def _socket_url(url: str) -> str:
    parts = urlsplit(url)
    if parts.scheme not in SCHEMES or not parts.hostname or parts.query or parts.fragment:
        raise BadValue(f"A hub's url looks like http://127.0.0.1:8700, not {url!r}.", field="url")
    return f"{SCHEMES[parts.scheme]}://{parts.netloc}{parts.path.rstrip('/')}/v1/connect"
