"""The timing wheel: nobody is called too early, nobody is forgotten, whatever the loop does."""

from __future__ import annotations

import asyncio
import logging
import socket
import time
from collections.abc import AsyncIterator, Callable
from typing import Any, cast

import pytest

from lifesigns.web.wheel import STEP_S, Wheel
from tests.patience import until


class Timed:
    """Notes when it is called, and answers the deadlines that it was given."""

    def __init__(self, *then: float) -> None:
        self.slot = 0
        self.calls: list[float] = []
        self._then = list(then)

    def tick(self, now: float) -> float | None:
        self.calls.append(now)
        return self._then.pop(0) if self._then else None


class Failing(Timed):
    def tick(self, now: float) -> float | None:
        super().tick(now)
        raise RuntimeError("this one is broken")


@pytest.fixture
async def wheel() -> AsyncIterator[Wheel]:
    wheel = Wheel(asyncio.get_running_loop())
    yield wheel
    wheel.stop()


def now() -> float:
    return asyncio.get_running_loop().time()


async def turned(wheel: Wheel, steps: int) -> None:
    """Return when the wheel has turned by so many steps from now."""
    last = Timed()
    wheel.place(last, now() + steps * STEP_S)
    await until(lambda: last.calls)


async def test_nobody_is_called_before_its_deadline(wheel: Wheel) -> None:
    began = now()
    spread = {began + i * STEP_S / 7: Timed() for i in range(30)}
    for deadline, timed in spread.items():
        wheel.place(timed, deadline)
    await until(lambda: all(timed.calls for timed in spread.values()))
    for deadline, timed in spread.items():
        assert len(timed.calls) == 1
        assert timed.calls[0] >= deadline


async def test_deadline_that_was_put_off_is_called_again(wheel: Wheel) -> None:
    later = now() + 3 * STEP_S
    timed = Timed(later)
    wheel.place(timed, now())
    await until(lambda: len(timed.calls) == 2)
    assert timed.calls[0] < later <= timed.calls[1]
    await turned(wheel, 2)
    assert len(timed.calls) == 2  # it answered that there is no next one


async def test_deadline_of_long_ago_is_called_at_the_next_step(wheel: Wheel) -> None:
    timed = Timed()
    wheel.place(timed, now() - 3600)
    await turned(wheel, 1)
    assert len(timed.calls) == 1


async def test_who_leaves_the_wheel_is_not_called(wheel: Wheel) -> None:
    stays, leaves = Timed(), Timed()
    for timed in (stays, leaves):
        wheel.place(timed, now() + STEP_S)
    wheel.remove(leaves)
    wheel.remove(leaves)  # a second time does no harm
    await until(lambda: stays.calls)
    await turned(wheel, 1)
    assert not leaves.calls


async def test_deadline_can_be_brought_forward(wheel: Wheel) -> None:
    timed = Timed()
    wheel.place(timed, now() + 3600)
    wheel.remove(timed)
    wheel.place(timed, now() + STEP_S)
    await until(lambda: timed.calls)


async def test_loop_that_stood_still_forgets_nobody(wheel: Wheel) -> None:
    waiting = [Timed() for _ in range(20)]
    for i, timed in enumerate(waiting):
        wheel.place(timed, now() + i * STEP_S / 2)
    time.sleep(12 * STEP_S)  # noqa: ASYNC251 - as a hub that is busy or was paused
    await until(lambda: all(timed.calls for timed in waiting))
    assert [len(timed.calls) for timed in waiting] == [1] * 20


async def test_one_that_fails_takes_no_other_with_it(
    wheel: Wheel, caplog: pytest.LogCaptureFixture
) -> None:
    """An error in one connection's tick ended every timeout of the hub."""
    failing, others = Failing(), [Timed() for _ in range(8)]
    for timed in (failing, *others):
        wheel.place(timed, now())
    with caplog.at_level(logging.ERROR):
        await until(lambda: failing.calls and all(timed.calls for timed in others))
        await turned(wheel, 2)
    assert len(failing.calls) == 1
    assert "this one is broken" in caplog.text


class Sleeper:
    """A loop that stands still until it is woken, and counts the timers that were asked of it."""

    def __init__(self) -> None:
        self.now = 1_000.0
        self.timers: list[asyncio.TimerHandle] = []
        self._loop = asyncio.get_running_loop()

    def time(self) -> float:
        return self.now

    def call_at(self, when: float, act: Callable[[], None]) -> asyncio.TimerHandle:
        self.timers.append(asyncio.TimerHandle(when, act, (), self._loop))
        return self.timers[-1]

    def wake(self) -> None:
        """Run the timer that was asked for last, at its time."""
        self.now = self.timers[-1].when()
        self.timers[-1]._run()


async def test_the_wheel_sleeps_while_nobody_is_due() -> None:
    """A hub without connections woke ten times a second for nothing."""
    loop = Sleeper()
    wheel = Wheel(cast(Any, loop))
    assert not loop.timers
    late, early, same = Timed(), Timed(), Timed()
    wheel.place(late, 4_600)
    wheel.place(early, 1_060)
    wheel.place(same, 1_060)
    wheel.place(Timed(), 2_000)
    assert len(loop.timers) == 2
    assert loop.timers[0].cancelled()
    loop.wake()
    assert early.calls == same.calls == [loop.now]
    assert 1_060 <= loop.now < 1_060 + 2 * STEP_S
    loop.wake()
    loop.wake()
    assert late.calls == [loop.now]
    assert len(loop.timers) == 4  # nobody is left, nothing is asked for


async def test_stopped_wheel_calls_nobody() -> None:
    wheel, other = Wheel(asyncio.get_running_loop()), Wheel(asyncio.get_running_loop())
    timed = Timed()
    wheel.place(timed, now())
    wheel.stop()
    await turned(other, 3)
    assert not timed.calls
    other.stop()


async def test_after_a_stall_of_the_loop_what_came_meanwhile_is_read_first(wheel: Wheel) -> None:
    """A peer that had answered its ping in time was given up, when its answer lay there unread."""
    heard = asyncio.Event()

    class Peer(Timed):
        def tick(self, now: float) -> float | None:
            self.in_time = heard.is_set()
            return super().tick(now)

    peer = Peer()
    near, far = socket.socketpair()
    near.setblocking(False)
    loop = asyncio.get_running_loop()
    loop.add_reader(near, heard.set)
    try:
        wheel.place(peer, now() + STEP_S)
        time.sleep(1.0)  # noqa: ASYNC251 (the stall is what is tested)
        far.send(b"pong")
        await until(lambda: peer.calls)
        assert peer.in_time
    finally:
        loop.remove_reader(near)
        near.close()
        far.close()
