"""Whether a hub could listen, or does, and whether the hub of the client commands answers."""

from __future__ import annotations

import errno
import socket
from collections.abc import Iterator
from ipaddress import ip_address
from typing import Literal

from lifesigns.cli.api import Api, Stranger, Unreachable
from lifesigns.cli.doctor.finding import Finding, note, ok, wrong
from lifesigns.config import ClientConfig, Config
from lifesigns.core.errors import Forbidden, LifesignsError, Unauthorized, Unavailable

ANSWER_S = 3.0
Answer = Literal["nobody", "stranger", "refused", "away", "granted"]


def check_port(config: Config) -> Iterator[Finding]:
    place = f"{config.host}:{config.port}"
    problem = _cannot_listen(config.host, config.port)
    if problem is None:
        yield ok("port", f"{place} is free")
    elif problem.errno != errno.EADDRINUSE:
        yield wrong("port", f"nobody can listen on {place}: {problem.strerror}")
    elif ask(_local_url(config), None)[0] in ("refused", "away", "granted"):
        yield ok("port", f"a Lifesigns hub listens on {place} already")
    else:
        yield wrong("port", f"{place} is taken by another program: stop it, or choose a --port")


def check_hub(client: ClientConfig) -> Iterator[Finding]:
    """Ask the hub that client commands would speak to."""
    answer, words = ask(client.url, client.key)
    if answer == "nobody":
        # Without LIFESIGNS_URL nobody said that there should be one.
        tell = note if client.url == ClientConfig().url else wrong
        yield tell("hub", f"{words}; LIFESIGNS_URL says where it is")
    elif answer == "stranger":
        yield wrong("hub", f"{words}: set LIFESIGNS_URL")
    elif answer == "away":
        yield wrong("hub", f"{client.url} is a hub, but cannot serve now: {words}")
    elif answer == "granted":
        yield ok("hub", f"{client.url} answers" + (" and takes the key" if client.key else ""))
    elif client.key is None:
        yield note("hub", f"{client.url} answers, and asks for a key: set LIFESIGNS_KEY")
    else:
        yield wrong("hub", f"{client.url} does not take the key in LIFESIGNS_KEY: {words}")


def ask(url: str, key: str | None) -> tuple[Answer, str]:
    """Find out what listens at an address, and what it thinks of a key."""
    try:
        Api(url, key, timeout_s=ANSWER_S).call("GET", "/v1/stats")
    except Unreachable as error:
        return "nobody", error.message
    except Stranger as error:
        return "stranger", error.message
    except Unauthorized as error:
        return "refused", error.message
    except Unavailable as error:
        return "away", error.message
    except Forbidden:
        pass  # a key that may not look at everything, but a good one
    except LifesignsError as error:
        return "stranger", error.message
    return "granted", ""


def _cannot_listen(host: str, port: int) -> OSError | None:
    try:
        family, *_, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            # As a server does it: connections that linger from the last one do not count.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
            probe.listen(1)
    except OSError as error:
        return error
    return None


def _local_url(config: Config) -> str:
    """Name the hub from this machine: one that listens everywhere is on loopback too."""
    try:
        address = ip_address(config.host)
    except ValueError:
        return f"http://{config.host}:{config.port}"
    if address.is_unspecified:
        address = ip_address("127.0.0.1" if address.version == 4 else "::1")
    host = f"[{address}]" if address.version == 6 else str(address)
    return f"http://{host}:{config.port}"
