"""What of a presence stays as it is while its record does; only the clocks are laid on anew.

Delegators check the same agents again and again: what is read of these is unpacked, judged and
encoded once. A sketch is of one record, as it is packed, and serves until time alone alters what is
shown of it; only for leases that run and tell of the last beat. Whatever else there is to show is
for ``present``, and so is all doubt. Must not know who keeps it, nor for how long.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from lifesigns.core.codec import Codec
from lifesigns.core.model import Instance, Presence, Record
from lifesigns.core.presence import DETAILS, override_at, present
from lifesigns.core.record import unpack_record

NEVER = float("inf")
# Where in an instance the last beat stands, and the lease; where in a presence its clocks do.
_HEARD, _LEASE = Instance._fields.index("heard_ms"), Instance._fields.index("lease_ms")
_CLOCKS = Presence._fields.index("last_heartbeat_ms")
_STANDING = Presence._fields.index("instances")
assert Instance._fields[_LEASE:] == ("lease_ms", "held")
assert Presence._fields[_CLOCKS:][:3] == ("last_heartbeat_ms", "expires_at_ms", "held")


class Sketch:
    """A presence without its clocks."""

    __slots__ = (
        "_back",
        "_begun",
        "_front",
        "_gone",
        "_middle",
        "_since_ms",
        "_standing",
        "_until_ms",
        "epoch",
        "packed",
    )

    def __init__(self, project: str, agent: str, packed: bytes, epoch: str, now_ms: int) -> None:
        self.packed: Final = packed
        self.epoch: Final = epoch
        record = unpack_record(packed)
        presence = present(project, agent, record, epoch=epoch, now_ms=now_ms)
        self._since_ms = now_ms
        self._until_ms = min(_turns(record, now_ms), default=NEVER)
        self._gone = None if record.instances else presence
        self._front: tuple[Any, ...] = presence[:_CLOCKS]
        self._middle: tuple[Any, ...] = presence[_CLOCKS + 3 : _STANDING]
        self._back: tuple[Any, ...] = presence[_STANDING + 1 :]
        self._standing: list[tuple[tuple[Any, ...], int | None, tuple[Any, ...], int, str]] = [
            (i[:_HEARD], i.heard_ms, i[_HEARD + 1 : _LEASE], i.ttl_ms, state)
            for i, state in presence.instances
        ]
        self._begun: dict[tuple[str, str], bytes] = {}

    def at(self, leases: Sequence[bytes | None], now_ms: int) -> Presence | None:
        """Show the agent as it is at a moment, with the ends of its leases; None if in doubt."""
        if not self._since_ms <= now_ms < self._until_ms:
            return None
        if self._gone is not None:
            return self._gone
        try:
            ends = [int(lease or b"") for lease in leases]
        except ValueError:  # there is none, or it tells nothing
            return None
        expires_ms = latest_ms = 0
        standing = []
        for ends_ms, (front, heard_ms, back, ttl_ms, state) in zip(
            ends, self._standing, strict=True
        ):
            if ends_ms <= now_ms:
                return None
            beat_ms = ends_ms - ttl_ms
            if heard_ms is not None and heard_ms < beat_ms:
                heard_ms = None  # it was noted for a lease that was renewed since
            latest_ms = max(latest_ms, heard_ms or beat_ms)
            expires_ms = max(expires_ms, ends_ms)
            fields = (*front, heard_ms, *back, ends_ms, False)
            standing.append((Instance._make(fields), state))
        clocks = (latest_ms, expires_ms, False)
        return Presence._make((*self._front, *clocks, *self._middle, tuple(standing), *self._back))

    def begun(
        self, codec: Codec, detail: str, presence: Presence, rest: Mapping[str, Any]
    ) -> bytes:
        """Encode a pair, the agent's id and what is shown of it, but for the fields of the rest.

        These are to follow.
        """
        begun = self._begun.get((codec.name, detail))
        if begun is None:
            shown = DETAILS[detail](presence)
            fixed = {name: value for name, value in shown.items() if name not in rest}
            begun = codec.pair(presence.id, codec.begin(fixed, len(rest)))
            self._begun[codec.name, detail] = begun
        return begun


def _turns(record: Record, now_ms: int) -> Iterable[int]:
    """Tell when time alone will alter what is shown."""
    for instance in record.instances:
        for since_ms, _ in instance.pairs:
            if since_ms > now_ms:
                yield since_ms
    override = override_at(record, now_ms)
    if override is not None and override.until_ms is not None:
        yield override.until_ms
