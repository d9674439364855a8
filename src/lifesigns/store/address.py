"""Where the store is: the URL understood once, shown without its secrets, opened as a connection.

redis-py reads the URL, so the options that it knows may stand there; those of its own pool (say,
``max_connections``) mean nothing here. What it would pass over in silence is refused instead: a
database that is no number, an option that nobody knows, a "#" that cuts a password short.
It must not know what is said over the connection.
"""

from __future__ import annotations

import asyncio
import re
import ssl
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from redis.asyncio.connection import SSLConnection, parse_url
from redis.exceptions import RedisError

from lifesigns.core.errors import BadValue
from lifesigns.store.sentinel import Place, Sentinels

MASK = "***"
SCHEMES = ("redis", "rediss", "unix")
SENTINEL = "+sentinel"  # behind redis or rediss: where the primary is, they tell
SENTINEL_PORT = 26379
SENTINEL_OPTIONS = ("sentinel_username", "sentinel_password")
SECRETS = frozenset({"password", "ssl_password"})
HEEDED = frozenset({"db", "username", "password", "socket_connect_timeout"})
# Known to redis-py; a link has no use for them.
UNUSED = frozenset(
    {
        "client_name",
        "decode_responses",
        "encoding",
        "encoding_errors",
        "health_check_interval",
        "legacy_responses",
        "max_connections",
        "protocol",
        "retry_on_timeout",
        "socket_keepalive",
        "socket_read_size",
        "socket_timeout",
        "timeout",
    }
)
# On rediss:// only: elsewhere they would promise a safety that is not there.
TLS = frozenset(
    {
        "ssl_ca_certs",
        "ssl_ca_data",
        "ssl_ca_path",
        "ssl_cert_reqs",
        "ssl_certfile",
        "ssl_check_hostname",
        "ssl_ciphers",
        "ssl_exclude_verify_flags",
        "ssl_include_verify_flags",
        "ssl_keyfile",
        "ssl_min_version",
        "ssl_password",
    }
)


@dataclass(frozen=True, slots=True)
class Address:
    """One store server, and what is needed to be let in.

    ``path`` is a Unix socket; without one, ``host`` and ``port`` count, unless there are
    ``sentinels``: they are asked for each connection. ``tls`` is set for rediss://. ``connect_s``
    is the URL's ``socket_connect_timeout``, if it names one.
    """

    shown: str
    host: str
    port: int
    path: str | None
    db: int
    username: str | None = field(repr=False)
    password: str | None = field(repr=False)
    connect_s: float | None
    tls: ssl.SSLContext | None = field(repr=False, compare=False)
    sentinels: Sentinels | None = None
    around: tuple[str, str] = field(
        repr=False, default=("", "")
    )  # the place in the URL of a server

    @classmethod
    def parse(cls, url: str) -> Address:
        """Understand the URL, or raise BadValue that says what is wrong, never with a secret."""
        if url.partition("://")[0].endswith(SENTINEL):
            return cls._parse_sentinel(url)
        _refuse_doubtful(url)
        try:
            options: dict[str, Any] = dict(parse_url(url))
        except ValueError as error:
            # The only ValueErrors left are those of options; they name one, and not its value.
            name = re.search(r"'(\w+)'", str(error))
            raise _bad(url, str(error), name[1] if name else "url") from None
        db = int(options.get("db", 0))
        if db < 0:
            raise _bad(url, f"there is no database {db}", "db")
        connect_s = options.get("socket_connect_timeout")
        if connect_s is not None and not 0 < connect_s < float("inf"):
            raise _bad(url, "this is no time to wait", "socket_connect_timeout")
        return cls(
            shown=masked(url),
            host=options.get("host", "localhost"),
            port=options.get("port", 6379),
            path=options.get("path"),
            db=db,
            username=options.get("username"),
            password=options.get("password"),
            connect_s=connect_s,
            tls=_tls(url, options) if url.startswith("rediss:") else None,
        )

    @classmethod
    def _parse_sentinel(cls, url: str) -> Address:
        around, places, service, options = _split_sentinel(url)
        # It stands for the primary, of which nobody knows yet where it is.
        plain = "primary".join(around)
        try:
            address = cls.parse(plain)
        except BadValue as error:
            message = error.message.replace(masked(plain), masked(url))
            raise BadValue(message, field=error.field) from None
        username, password = (options.get(name) for name in SENTINEL_OPTIONS)
        if username and not password:
            raise _bad(url, "sentinel_username needs a sentinel_password", "sentinel_password")
        sentinels = Sentinels(places, service, username, password, address.tls)
        return replace(address, shown=masked(url), sentinels=sentinels, around=around)

    def __str__(self) -> str:
        return self.shown

    @property
    def secrets(self) -> tuple[str, ...]:
        """What must never be shown."""
        known = (self.password, self.sentinels.password if self.sentinels else None)
        return tuple(secret for secret in known if secret)

    def server_url(self, host: str, port: int) -> str:
        """Say the URL, with its secrets, of the server to which sentinels led."""
        return (f"[{host}]:{port}" if ":" in host else f"{host}:{port}").join(self.around)

    async def place(self) -> Place:
        """Find out where the server is now, for one that is reached over TCP."""
        return (self.host, self.port) if self.sentinels is None else await self.sentinels.find()

    async def open(self, protocol_factory: Callable[[], asyncio.Protocol]) -> asyncio.Transport:
        """Open one connection, or raise OSError (UnicodeError for a host that cannot be a name).

        Unavailable if no sentinel knows where to.
        """
        loop = asyncio.get_running_loop()
        if self.path is not None:
            transport, _ = await loop.create_unix_connection(protocol_factory, self.path)
        else:
            host, port = await self.place()
            transport, _ = await loop.create_connection(protocol_factory, host, port, ssl=self.tls)
        return transport


def masked(url: str) -> str:
    """Show a URL, even one that cannot be understood, without what may be a secret in it."""
    head, separator, rest = url.partition("://")
    if not separator:
        head, rest = "", url
    rest, question, query = rest.partition("?")
    user, at, place = rest.rpartition("@")
    # No user part, and after the colon no port: a password whose "@host" was forgotten.
    # And an "@" in the query: it began within a password.
    port = r"[^/#:]*|\[[^\]]*\]|([^/#:]*|\[[^\]]*\]):[0-9]{0,5}"
    if head.endswith(SENTINEL):
        each = r"([^/#:,]+|\[[^\]]*\])(:[0-9]{1,5})?"
        port = rf"{each}(,{each})*"
    if "@" in query or not (at or re.fullmatch(rf"({port})([/#].*)?", place, re.DOTALL)):
        return f"{head}{separator}{MASK}"
    if at:
        name, colon, _ = user.partition(":")
        # A name alone may be a password that lost its colon.
        user = f"{name}:{MASK}" if colon else MASK
    shown = "&".join(_masked_option(option) for option in query.split("&"))
    return f"{head}{separator}{user}{at}{place}{question}{shown}"


def _masked_option(option: str) -> str:
    name, equals, _ = option.partition("=")
    public = unquote(name) in (HEEDED | UNUSED | TLS) - SECRETS
    return option if public or not equals else f"{name}={MASK}"


def _split_sentinel(
    url: str,
) -> tuple[tuple[str, str], tuple[Place, ...], str, dict[str, str]]:
    """Take the URL of a store behind sentinels apart; first the URL of a server, but its place."""
    head, _, rest = url.partition(f"{SENTINEL}://")
    rest, question, query = rest.partition("?")
    user, at, rest = rest.rpartition("@")
    hosts, *path = rest.split("/")
    if head not in ("redis", "rediss") or "#" in rest or not 1 <= len(path) <= 2 or not path[0]:
        why = "it must be like redis+sentinel://host:26379,host:26379/service or .../service/db"
        raise _bad(url, why, "url")
    places = []
    for each in hosts.split(","):
        found = re.fullmatch(r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(?::([0-9]{1,5}))?", each)
        if found is None or int(found[2] or 1) not in range(1, 65_536):
            raise _bad(url, "its hosts are those of sentinels, parted by commas", "url")
        places.append((found[1].strip("[]"), int(found[2] or SENTINEL_PORT)))
    given = parse_qsl(query, keep_blank_values=True)
    options = {name: value for name, value in given if name in SENTINEL_OPTIONS}
    for name, value in options.items():
        if not value:
            raise _bad(url, f"its option {name} is empty", name)
    kept = "&".join(o for o in query.split("&") if unquote(o.partition("=")[0]) not in options)
    service, *db = path
    around = f"{head}://{user}{at}", f"{'/'.join(['', *db])}{question if kept else ''}{kept}"
    return around, tuple(places), unquote(service), options


def _refuse_doubtful(url: str) -> None:
    """Refuse what redis-py would read as something else than was meant, or not at all."""
    try:
        parts = urlsplit(url)
    except ValueError:
        raise _bad(url, "it is no URL", "url") from None
    if parts.scheme not in SCHEMES or not url.startswith(f"{parts.scheme}://"):
        known = ", ".join(f"{scheme}://" for scheme in SCHEMES)
        raise _bad(url, f"it must begin with one of {known}", "scheme")
    if parts.fragment:
        raise _bad(url, 'a "#" in a name or a password is written %23', "url")
    if parts.scheme == "unix":
        if parts.netloc.rpartition("@")[2] or len(parts.path) < 2:
            raise _bad(url, "it needs an absolute path, as in unix:///run/store.sock", "path")
    else:
        try:
            # Looked at only for its ValueError, the text of which may hold a password.
            _ = parts.port
        except ValueError:
            why = 'its port is no number up to 65535 (":/?#@" in a password: %3A %2F %3F %23 %40)'
            raise _bad(url, why, "port") from None
        if not re.fullmatch(r"/?[0-9]*", parts.path):
            raise _bad(url, "its path is not the number of a database", "db")
    known_options = HEEDED | UNUSED | (TLS if parts.scheme == "rediss" else frozenset())
    for name, value in parse_qsl(parts.query, keep_blank_values=True):
        named = name if re.fullmatch(r"\w{1,40}", name) else "(not shown)"
        if name not in known_options:
            raise _bad(url, f"{parts.scheme}:// has no option {named}", named)
        if not value:
            raise _bad(url, f"its option {named} is empty", named)


def _bad(url: str, why: str, field: str) -> BadValue:
    return BadValue(f"{masked(url)} is no address of a store: {why}", field=field)


def _tls(url: str, options: dict[str, Any]) -> ssl.SSLContext:
    given = {name: value for name, value in options.items() if name in TLS}
    try:
        # redis-py's defaults come only with a connection object; it opens nothing by itself.
        return SSLConnection(**given).ssl_context.get()
    except (RedisError, OSError, ValueError) as error:
        names = sorted(given.keys() - SECRETS)
        why = f"TLS cannot be set up with its options ({', '.join(names)}): {error}"
        raise _bad(url, why, names[0] if names else "tls") from None
