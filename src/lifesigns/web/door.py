"""Before the first frame: the upgrade, and whose it is.

A WebSocket is refused over HTTP only for a bad request, a foreign origin or a hub that takes no
more; a wrong key is told after a completed handshake, so that a browser can tell it apart. A
listener to one agent, as published clients know it, is told before: its upgrade waits for that.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from urllib.parse import parse_qs, unquote, urlsplit

from websockets.datastructures import Headers
from websockets.http11 import Request, Response
from websockets.server import ServerProtocol
from websockets.typing import Subprotocol

from lifesigns.core.access import Grant
from lifesigns.core.codec import CODECS, JSON, Codec
from lifesigns.core.errors import LifesignsError
from lifesigns.web.auth import PROJECT, Gate, token_of
from lifesigns.web.origin import check_source

PATH = "/v1/connect"
LISTENING = re.compile(r"/v1/pulse/([^/]+)/ws")

# websockets writes a line at INFO for every handshake.
_log = logging.getLogger("lifesigns.web.door")
_log.setLevel(logging.WARNING)

_SUBPROTOCOLS = [Subprotocol(name) for name in CODECS]


class Knock:
    """An upgrade that is answered when it is known whose it is."""

    def __init__(self, agent: str, welcome: Response) -> None:
        self.agent = agent  # who is to be listened to
        self._welcome = welcome
        welcome.headers.pop("Sec-WebSocket-Protocol", None)  # whatever was offered

    def accept(self) -> bytes:
        """Let them in."""
        return self._welcome.serialize()

    def refuse(self, status: int, headers: Mapping[str, str], body: bytes) -> bytes:
        """Answer as to any other request."""
        fields = Headers(headers, Connection="close")
        return Response(status, HTTPStatus(status).phrase, fields, body).serialize()


@dataclass(frozen=True, slots=True)
class Asked:
    """What an upgrade asks for: it is accepted, unless it still waits with its ``knock``."""

    codec: Codec
    token: str | None
    ticket: str | None
    project: str | None
    knock: Knock | None


@dataclass(frozen=True, slots=True)
class Rules:
    """Which upgrades are taken."""

    origins: tuple[str, ...]
    loopback_only: bool


def open_door(data: bytes, rules: Rules, *, scheme: str, full: bool) -> tuple[bytes, Asked | None]:
    """Answer an upgrade: the bytes to write, and what was asked; None if it was refused."""
    server = ServerProtocol(
        logger=_log, extensions=None, subprotocols=_SUBPROTOCOLS, select_subprotocol=_select
    )
    server.receive_data(data)
    events = server.events_received()
    if not events or not isinstance(events[0], Request):
        why = server.handshake_exc or "it has a body"
        return server.reject(HTTPStatus.BAD_REQUEST, f"No upgrade: {why}.\n").serialize(), None
    request = events[0]
    headers = _plain(request.headers)
    response = _judge(server, request, headers, rules, scheme, full) or server.accept(request)
    accepted = response.status_code == HTTPStatus.SWITCHING_PROTOCOLS
    listening = LISTENING.fullmatch(urlsplit(request.path).path) if accepted else None
    knock = None if listening is None else Knock(unquote(listening[1]), response)
    written = b""
    if knock is None:
        server.send_response(response)
        written = b"".join(server.data_to_send())
    if not accepted:
        return written, None
    url = urlsplit(request.path)
    tickets = parse_qs(url.query).get("ticket")
    return written, Asked(
        codec=CODECS.get(server.subprotocol or "", JSON),
        token=token_of(url.path, headers),
        ticket=tickets[0] if tickets else None,
        project=headers.get(PROJECT),
        knock=knock,
    )


async def identify(gate: Gate, asked: Asked) -> Grant:
    """Find out who asks."""
    if asked.token is None and asked.ticket is not None:
        return await gate.enter(await gate.redeem(asked.ticket, "connect"), asked.project)
    return await gate.admit(asked.token, asked.project)


def _judge(
    server: ServerProtocol,
    request: Request,
    headers: Mapping[str, str],
    rules: Rules,
    scheme: str,
    full: bool,
) -> Response | None:
    try:
        path = urlsplit(request.path).path
    except ValueError as error:
        return server.reject(HTTPStatus.BAD_REQUEST, f"No address: {error}.\n")
    if path != PATH and not LISTENING.fullmatch(path):
        return server.reject(HTTPStatus.NOT_FOUND, f"WebSockets are at {PATH}.\n")
    if request.method != "GET":
        return server.reject(HTTPStatus.BAD_REQUEST, "No upgrade: it is asked for with GET.\n")
    try:
        check_source(
            headers.get("origin"),
            headers.get("host"),
            scheme,
            rules.origins,
            loopback_only=rules.loopback_only,
        )
    except LifesignsError as error:
        return server.reject(HTTPStatus.FORBIDDEN, f"{error.message}\n")
    if full:
        response = server.reject(HTTPStatus.SERVICE_UNAVAILABLE, "This hub takes no more now.\n")
        response.headers["Retry-After"] = "1"
        return response
    return None


def _select(server: ServerProtocol, offered: Sequence[Subprotocol]) -> Subprotocol | None:
    """The first that both know; none is JSON, so that any tool can talk to the hub by hand."""
    return next((each for each in offered if each in CODECS), None)


def _plain(headers: Headers) -> Mapping[str, str]:
    return {name.lower(): value for name, value in headers.raw_items()}
