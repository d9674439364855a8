"""A lane on which agents are claimed, by hand."""

from __future__ import annotations

from typing import Any

import msgpack

from lifesigns.core.claim import HELD_MS
from lifesigns.store import script
from tests.store.board import Board

TTL_MS = 60_000


class Desk(Board):
    """A lane on which agents are claimed."""

    def run(self, what: script.Script, batch: list[Any]) -> Any:
        return self._run(what, batch)

    def claim(
        self,
        token: str,
        *agents: str,
        instance: str = "i",
        ttl_ms: int = TTL_MS,
        bound: bool = True,
        seq: int = 0,
    ) -> tuple[str | None, int, list[str]]:
        """Claim the first of some; answer whom, the fence, and what was said of each."""
        meta = self.redis.hget(self.lane.keys[0], "epoch")
        flat: list[Any] = []
        for agent in agents:
            known = self.record(agent)
            flat += [agent, meta, seq or (known.seq if known else 0), instance]
        reply = self.run(script.CLAIM, [token, "h", "boss", "note", ttl_ms, bound, flat])
        whys = [why.decode() for why in reply[5::4]]
        won = reply[-4].decode() if reply[3] else None
        return won, reply[3], whys

    def renew_claim(
        self,
        token: str,
        agent: str = "a",
        *,
        holder: str = "h",
        ttl_ms: int = 0,
        bound: bool = True,
    ) -> int | None:
        """Renew a claim; answer when it ends now."""
        reply = self.run(script.CLAIM_RENEW, [agent, token, holder, ttl_ms, bound])
        return msgpack.unpackb(reply[3], raw=True)[7] if len(reply) > 3 else None

    def release(self, token: str, holder: str = "h", agent: str = "a") -> bool:
        return bool(self.run(script.CLAIM_RELEASE, [agent, token, holder, "released"])[2])

    def hold(self, *claims: str, ends_ms: int) -> None:
        flat = [part for claim in claims for part in (claim, ends_ms)]
        self._eval(script.CLAIM_HOLD, self.lane.keys[8:9], [self.now_ms, HELD_MS, *flat])

    def pass_ms(self, ms: int) -> None:
        """Let time go by while everybody beats and the sweep looks."""
        for _ in range(ms // 1_000):
            self.now_ms += 1_000
            self.serve()
            self.renew(TTL_MS, *[member.encode() for member in self.live()])
            self.sweep()

    def held(self, agent: str = "a") -> list[str]:
        return [token for token, _ in self.read(agent).claims]

    def books(self) -> tuple[list[bytes], list[bytes]]:
        """Tell which claims stand in the two books beside the records."""
        claims = self.redis.zrange(self.lane.keys[8], 0, -1)
        return claims, sorted(self.redis.hkeys(self.lane.keys[9]))
