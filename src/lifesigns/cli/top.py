"""`lifesigns top`: the fleet on the whole screen, as it is from moment to moment."""

from __future__ import annotations

import argparse
import asyncio
import logging
import signal
import sys
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from lifesigns.cli.filter import add_filter, filter_of
from lifesigns.cli.flag import add_flags, flags_of
from lifesigns.cli.pane import Pane, keys_of, summary
from lifesigns.cli.roll import SORTS, Choice, Roll
from lifesigns.cli.span import spell
from lifesigns.cli.terminal import Look, printable
from lifesigns.config import ClientConfig, is_dumb_terminal
from lifesigns.core.errors import LifesignsError, Unavailable

if TYPE_CHECKING:
    from argparse import _SubParsersAction as SubParsers

    from lifesigns.cli.screen import Screen
    from lifesigns.client import Hub

DRAW_S = 0.25  # between two looks at what has altered
CLOCK_S = 1.0  # redrawn even if nothing has: the times grow
ASK_S, LOOK_S = 2.0, 0.4  # between questions about those in sight; when they have altered
BLINK_S = 1.0  # without a hub for no longer than that is not worth an alarm
EVERY_S = 5.0  # between two summaries where there is no screen
FIRST_S = 15.0  # for the whole fleet, where somebody waits for one summary
TROUBLE = ("error", "stalled", "suspect")
NAMED = 5  # in a summary, of each trouble


def register(subparsers: SubParsers[argparse.ArgumentParser]) -> None:
    parser = subparsers.add_parser(
        "top",
        help="see the fleet live on the whole screen",
        description="See the fleet live on the whole screen; ? tells the keys. On what is no "
        "terminal, or a dumb one, it prints a summary every few seconds.",
    )
    add_filter(parser)
    parser.add_argument("--sort", choices=tuple(SORTS), default="state", help="by what (state)")
    parser.add_argument("--once", action="store_true", help="print one summary, and end")
    add_flags(parser, ClientConfig)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    config = ClientConfig.load(flags_of(args, ClientConfig))
    logging.getLogger("lifesigns.client").setLevel(logging.CRITICAL)  # the screen says so itself
    top = Top(config, filter_of(args), Roll(Choice(sort=args.sort)))
    on_screen = sys.stdin.isatty() and sys.stdout.isatty() and not is_dumb_terminal()
    if on_screen and not args.once:
        from lifesigns.cli.screen import Screen

        asyncio.run(top.on(Screen()))
    else:
        asyncio.run(top.in_words(args.once))
    return 0


class Top:
    """The fleet as a watch tells of it, and what is shown of it."""

    def __init__(self, config: ClientConfig, wanted: dict[str, Any], roll: Roll) -> None:
        self._config = config
        self._wanted = wanted
        self._roll = roll
        self._pane = Pane()
        self._loaded = asyncio.Event()
        self._altered = True
        self._typed = asyncio.Event()
        self._stopping = asyncio.Event()
        self._heard = time.monotonic()  # the last moment with a hub

    async def on(self, screen: Screen) -> None:
        """Show it on a screen until somebody quits; the screen is taken when signals are heard."""
        from lifesigns.client import Hub

        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT):
            loop.add_signal_handler(number, self._stopping.set)
        loop.add_signal_handler(signal.SIGTSTP, self._suspend, screen)
        loop.add_signal_handler(signal.SIGWINCH, self._draw_all, screen)
        loop.add_reader(screen.keyboard, self._take, screen)
        hub = Hub(self._config.url, self._config.key)
        with screen:
            works = (self._follow(hub, waits=True), self._ask(hub), self._draw(hub, screen))
            await self._together(*works)

    async def in_words(self, once: bool) -> None:
        """Tell of it in lines, once or for ever."""
        from lifesigns.client import Hub

        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, self._stopping.set)
        hub = Hub(self._config.url, self._config.key)
        await self._together(self._follow(hub, waits=not once), self._tell(hub, once))

    async def _together(self, *works: Any) -> None:
        """Do all until one has ended, or a signal comes; raise what it ended by."""
        tasks = [asyncio.create_task(work) for work in (*works, self._stopping.wait())]
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
        for task in done:
            task.result()

    async def _follow(self, hub: Hub, *, waits: bool) -> None:
        async with hub:
            if not waits and not hub.connected and not hub.closed:
                raise Unavailable(f"no hub answers at {self._config.url}")
            async with hub.watch(detail="lite", **self._wanted) as watch:
                self._roll.load(watch.agents)
                self._altered = True
                self._loaded.set()
                async for change in watch:
                    self._roll.take(change, time.monotonic())
                    self._altered = True

    async def _ask(self, hub: Hub) -> None:
        """Find out what a watch of little detail does not tell, of those in sight only."""
        await self._loaded.wait()
        asked = 0.0
        while True:
            names, now = self._pane.in_sight(self._roll), time.monotonic()
            due = now - asked >= ASK_S or not all(names.values())
            if hub.connected and names and due:
                asked = now
                try:
                    self._pane.details = await hub.check(*names)
                except LifesignsError as error:
                    if not error.retry:
                        raise
                self._altered = True
            await asyncio.sleep(LOOK_S)

    async def _draw(self, hub: Hub, screen: Screen) -> None:
        look, drawn = Look.of(sys.stdout), 0.0
        while True:
            now = time.monotonic()
            alarm = self._alarm(hub, now)
            if self._altered or self._typed.is_set() or now - drawn >= CLOCK_S:
                self._altered, drawn = False, now
                self._typed.clear()
                head = f"{time.strftime('%H:%M:%S')}  {self._config.url}"
                screen.show(self._pane.draw(self._roll, look, screen.size, head, alarm))
            try:
                async with asyncio.timeout(DRAW_S):
                    await self._typed.wait()
            except TimeoutError:
                continue

    async def _tell(self, hub: Hub, once: bool) -> None:
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(FIRST_S if once else EVERY_S):
                    await self._loaded.wait()
            if once and not self._loaded.is_set():
                raise Unavailable("the hub does not show its fleet")
            alarm = self._alarm(hub, time.monotonic())
            print(time.strftime("%H:%M:%S"), alarm or summary(self._roll))
            for state in TROUBLE:
                if names := self._names(state):
                    print(f"         {state}: {names}")
            sys.stdout.flush()
            if once:
                return
            if self._loaded.is_set():
                await asyncio.sleep(EVERY_S)

    def _names(self, state: str) -> str:
        names = ", ".join(map(printable, self._roll.first(state, NAMED)))
        more = self._roll.counts[state] - NAMED
        return names if more <= 0 else f"{names} and {more} more"

    def _alarm(self, hub: Hub, now: float) -> str | None:
        """Say since when what is shown is not what is so."""
        loaded = self._loaded.is_set()
        if hub.connected:
            self._heard = now
        away_s = now - self._heard
        if away_s < BLINK_S:
            return None if loaded else "loading the fleet"
        old = "what is shown is old" if loaded else "trying again"
        return f"no hub answers at {self._config.url} for {spell(away_s)}: {old}"

    def _suspend(self, screen: Screen) -> None:
        screen.suspend()
        self._draw_all(screen)

    def _draw_all(self, screen: Screen) -> None:
        screen.forget()
        self._typed.set()

    def _take(self, screen: Screen) -> None:
        typed = screen.typed()
        if not typed:  # the terminal is gone
            self._stopping.set()
        for key in keys_of(typed):
            if not self._pane.press(key, self._roll):
                self._stopping.set()
        self._typed.set()
