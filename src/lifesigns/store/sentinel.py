"""Where the primary is, as sentinels tell it: all are asked, and the most of them believed.

One that was cut off from the others goes on to name a primary that has been replaced. It must not
know what a store is for.
"""

from __future__ import annotations

import asyncio
import ssl
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from lifesigns.core.errors import Unavailable
from lifesigns.store.wire import Arg, LinkLost, ReplyError, Wire

ANSWER_S = 3.0  # for those that are there; nobody waits for the rest when the most agree

Place = tuple[str, int]


@dataclass(frozen=True, slots=True)
class Sentinels:
    """Those that look after one primary."""

    places: tuple[Place, ...]
    service: str  # what they call it
    username: str | None = field(repr=False, default=None)
    password: str | None = field(repr=False, default=None)
    tls: ssl.SSLContext | None = field(repr=False, compare=False, default=None)

    async def find(self) -> Place:
        """Answer where the primary is, or raise Unavailable that says why nobody knows."""
        asking = {asyncio.ensure_future(self._ask(place)): place for place in self.places}
        named: Counter[Place] = Counter()
        silent: list[str] = []
        try:
            for each in asyncio.as_completed(asking):
                answer = await each
                if isinstance(answer, str):
                    silent.append(answer)
                    continue
                named[answer] += 1
                if named[answer] * 2 > len(self.places):
                    break
        finally:
            for task in asking:
                task.cancel()
        if not named:
            why = "; ".join(sorted(silent))
            raise Unavailable(f"No sentinel knows where {self.service} is: {why}.")
        return named.most_common(1)[0][0]

    async def _ask(self, place: Place) -> Place | str:
        """Ask one sentinel; answer what it says, or why it says nothing."""
        said = f"{place[0]}:{place[1]}"
        wire = Wire(lambda wire, why: wire.lose(LinkLost(why)))
        try:
            async with asyncio.timeout(ANSWER_S):
                await asyncio.get_running_loop().create_connection(
                    lambda: wire, *place, ssl=self.tls
                )
                answer = _read(await self._converse(wire))
        except TimeoutError:
            answer = "does not answer"
        except (OSError, UnicodeError) as error:
            answer = f"cannot be reached: {error}"
        finally:
            wire.cut("it has answered")
        return f"{said} {answer}" if isinstance(answer, str) else answer

    async def _converse(self, wire: Wire) -> Any:
        answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()

        def answered(reply: Any) -> None:
            if not answer.done():
                answer.set_result(reply)

        def let_in(reply: Any) -> None:
            if isinstance(reply, Exception):
                answered(reply)

        if self.password is not None:
            names: Sequence[Arg] = (self.username,) if self.username else ()
            wire.send(("AUTH", *names, self.password), let_in)
        wire.send(("SENTINEL", "GET-MASTER-ADDR-BY-NAME", self.service), answered)
        return await answer


def _read(reply: Any) -> Place | str:
    if isinstance(reply, ReplyError):
        return f"refuses: {reply}"
    if isinstance(reply, LinkLost):
        return f"ended the connection: {reply}"
    if not isinstance(reply, list) or len(reply) != 2:
        return "does not know it"
    host, port = reply
    return host.decode(), int(port)
