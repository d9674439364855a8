"""One lane of a real store with a clock of the test's own: the scripts by hand."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil
from typing import Any

import msgpack
import redis

from lifesigns.core.model import Record, Words
from lifesigns.core.record import pack_words, unpack_record
from lifesigns.store import script
from lifesigns.store.lease import Lane

PROJECT = "default"
KEEP_MS = 3_600_000
HISTORY_LEN = 1_000_000
WORDS = pack_words(Words(status="idle"))


@dataclass(frozen=True)
class Noted:
    """One change, as the log has it."""

    seq: int
    at_ms: int
    kind: str
    was: int
    agent: str
    lasted_ms: int
    record: Record


class Board:
    """Runs the scripts on one lane, at a time that the test gives."""

    def __init__(self, url: str, *, number: int = 0, now_ms: int = 1_760_000_000_000) -> None:
        self.redis = redis.Redis.from_url(url, protocol=2)
        self.lane = Lane(PROJECT, number, 0, history_ms=600_000, retention_ms=KEEP_MS)
        self.now_ms = now_ms

    def close(self) -> None:
        self.redis.close()

    def beat(self, *rows: list[Any], sent_ms: int | None = None) -> list[tuple[int, int, bytes]]:
        """Apply acts in one batch, which left just now; answer (code, seq, record) of each."""
        sent_ms = self.now_ms if sent_ms is None else sent_ms
        packed = msgpack.packb(list(rows), use_bin_type=False)
        arguments = [self.now_ms, *self.lane.tail, packed, sent_ms]
        reply = self._eval(script.BEAT, self.lane.keys, arguments)
        assert reply[0] == self.now_ms
        return [tuple(reply[2 + 3 * i : 5 + 3 * i]) for i in range(len(rows))]

    def codes(self, *rows: list[Any]) -> list[int]:
        return [code for code, _, _ in self.beat(*rows)]

    def renew(self, ttl_ms: int, *members: bytes, age_ms: int = 0) -> list[int]:
        """Lengthen leases; answer the indexes of those that are not there."""
        ages = b"".join((age_ms // 4).to_bytes(2, "big") for _ in members)
        args = [self.now_ms, ages, ttl_ms, PROJECT, *members]
        reply = self._eval(script.RENEW, self.lane.keys[2:5:2], args)
        assert reply[0] == self.now_ms
        return reply[1:]

    def sweep(
        self, *, safe_ms: int | None = None, limit: int = 128, history_len: int = HISTORY_LEN
    ) -> tuple[int, int, int]:
        """Sweep once; answer how many leases ended, states turned, agents were forgotten."""
        safe_ms = self.now_ms if safe_ms is None else safe_ms
        reply = self._run(script.SWEEP, [limit, safe_ms, history_len])
        return reply[1], reply[2], reply[3]

    def lose(
        self,
        node: str,
        *,
        lapsed_ms: int | None = None,
        cursor: str = "0",
        count: int = 500,
        limit: int = 128,
    ) -> tuple[str | None, int]:
        """Mark a page of a lost hub's instances; answer the next cursor, if any, and how many."""
        lapsed_ms = self.now_ms if lapsed_ms is None else lapsed_ms
        batch = [node, lapsed_ms, cursor, count, limit, 2, "node_lost", 10_000, 60_000]
        reply = self._run(script.LOSE, batch)
        over = reply[2] == b"0" and not reply[4]
        return None if over else reply[2].decode(), reply[3]

    def forget(self, agent: str) -> bool:
        """Drop a record; answer whether there was one."""
        return bool(self._run(script.FORGET, [agent])[2])

    def next_due_ms(self) -> int | None:
        score = self.redis.zscore(self.lane.keys[4], PROJECT)
        return None if score is None else int(score)

    def serve(self, *, longest_silence_ms: int = 5_000) -> int:
        """Note that the service is there; answer when the last gap was."""
        part, due = self.lane.keys[7], self.lane.keys[4]
        return self._eval(script.SERVICE, (part, due), [self.now_ms, longest_silence_ms, 64])[1]

    def read(self, agent: str) -> Record:
        """Read an agent that is there, with its leases, as all who ask read it."""
        meta, agents, live, *_ = self.lane.keys
        part = self.lane.keys[7]
        args = [self.now_ms, agent]
        reply = self._eval(script.READ, (meta, agents, live, part), args)
        return unpack_record(reply[3], reply[4], now_ms=reply[0], gap_ms=int(reply[2]))

    def record(self, agent: str) -> Record | None:
        packed = self.redis.hget(self.lane.keys[1], agent)
        return None if packed is None else unpack_record(packed)

    def live(self) -> dict[str, int]:
        """Tell all leases and when they end."""
        ends = self.redis.zrange(self.lane.keys[2], 0, -1, withscores=True)
        return {member.decode(): ceil(score) for member, score in ends}

    def log(self, since: str = "-") -> list[Noted]:
        """Tell all changes, or those from a place on."""
        noted = []
        for _, fields in self.redis.xrange(self.lane.keys[3], since):
            unpacker = msgpack.Unpacker(raw=True, strict_map_key=False)
            unpacker.feed(fields[b"c"])
            seq, at, kind, was, agent, lasted, _ = unpacker.unpack()
            record = unpack_record(fields[b"c"][unpacker.tell() :])
            noted.append(Noted(seq, at, kind.decode(), was, agent.decode(), lasted, record))
        return noted

    def counts(self) -> dict[int, int]:
        """Tell how many agents have each rank, as the store counts them."""
        meta = self.redis.hgetall(self.lane.keys[0])
        ranks = {rank: int(meta.get(b"r%d" % rank, 0)) for rank in range(9)}
        return {rank: n for rank, n in ranks.items() if n}

    def _run(self, what: script.Script, batch: Any) -> Any:
        packed = msgpack.packb(batch, use_bin_type=False)
        return self._eval(what, self.lane.keys, [self.now_ms, *self.lane.tail, packed])

    def _eval(self, what: script.Script, keys: Any, args: list[Any]) -> Any:
        return self.redis.eval(what.source, len(keys), *keys, *args)


def says(
    agent: str,
    instance: str,
    session: str,
    *,
    n: int = 1,
    rank: int = 8,
    blob: bytes,
    ttl_ms: int = 10_000,
    age_ms: int = 0,
    started_ms: int | None = None,
    rev: int = 0,
    expect: int = -1,
    stalls_in_ms: int | None = None,
    want: bool = False,
) -> list[Any]:
    """Lay out a write; ``started_ms`` makes it a hello, ``expect`` an HTTP beat."""
    pairs = [0, rank] if stalls_in_ms is None else [0, rank, stalls_in_ms or -1, 4]
    hello = -1 if started_ms is None else started_ms
    return [
        *("w", agent, instance, session, age_ms, n, rev, ttl_ms, hello, expect),
        *(pairs, 0, 0, blob, int(want)),
    ]


def hello(agent: str, instance: str, session: str, **kwargs: Any) -> list[Any]:
    """Lay out a hello that came just now, unless told otherwise."""
    return says(agent, instance, session, **({"blob": WORDS, "started_ms": 0} | kwargs))


def leaves(
    agent: str, instance: str = "", session: str = "", *, text: str = "", fence: bool = False
) -> list[Any]:
    return ["l", agent, instance, session, 0, "left", text, int(fence)]


def breaks(
    agent: str, instance: str, session: str, *, grace_ms: int = 5_000, heard_ms: int = 2**40
) -> list[Any]:
    """Lay out a break; unless told otherwise, nothing was heard that the store does not know."""
    return ["m", agent, instance, session, 2, "disconnected", grace_ms, heard_ms]
