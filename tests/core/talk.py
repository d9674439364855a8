"""One side of a conversation with the hub's session, without sockets or clocks."""

from __future__ import annotations

from typing import Any

import pytest

from lifesigns.core.codec import JSON, MSGPACK, Codec
from lifesigns.core.model import Limits
from lifesigns.core.request import Event, Hello
from lifesigns.core.session import BINARY, TEXT, ServerSession

BOTH = pytest.mark.parametrize("codec", [JSON, MSGPACK], ids=lambda codec: codec.name)

# The session's clock starts anywhere; the store's is this much ahead of it.
T0 = 1_000.0
CLOCK_MS = 1_774_189_800_000.0


class Talk:
    """A peer that says whole messages and hears what the session answers."""

    def __init__(self, codec: Codec = JSON, limits: Limits | None = None) -> None:
        self.codec = codec
        self.session = ServerSession(codec, limits or Limits(), T0)

    def greet(self, now: float = T0, **hello: Any) -> Hello:
        """Say hello, and be let in as the shell does it."""
        event = self.say({"type": "hello", "agent": "a1", **hello}, now)
        assert isinstance(event, Hello)
        self.session.open(event.ttl_ms if event.agent is not None else None, now)
        return event

    def say(self, message: dict[str, Any], now: float = T0) -> Event | None:
        return self.send(self.codec.encode(message), now)

    def send(self, payload: bytes, now: float = T0, opcode: int | None = None) -> Event | None:
        if opcode is None:
            opcode = BINARY if self.codec.binary else TEXT
        return self.session.receive(opcode, payload, now, CLOCK_MS)

    def heard(self) -> list[dict[str, Any]]:
        """Hear what was answered since."""
        return [self.codec.decode(payload) for payload in self.session.messages_to_send()]

    def refusal(self) -> dict[str, Any]:
        """Hear the one answer, which is an error in words."""
        (answer,) = self.heard()
        assert answer.pop("type") == "error"
        assert answer.pop("message")
        return answer


def talk(codec: Codec = JSON, limits: Limits | None = None, **hello: Any) -> Talk:
    """Begin a conversation that is past its greeting."""
    begun = Talk(codec, limits)
    begun.greet(**hello)
    return begun
