"""The long run: scenes drawn at random from a seed, until the time is over or a rule is broken.

``make chaos SEED=7 MINUTES=30``. The same seed draws the same scenes in the same order; what the
machine makes of them may differ a little from run to run.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import sys
import time
from collections import Counter
from dataclasses import replace

import httpx

from tests.chaos.scene import SCENES, Scene
from tests.chaos.stage import LONG, SHORT, Scale, Stage, stage

BAR = 30


def told(argv: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="tests.chaos", description=__doc__)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--agents", type=int, help="2,000 unless told; a fifth of them post")
    parser.add_argument("--short", action="store_true", help="the scale of `make test`")
    parser.add_argument("--scene", action="append", help="only these, by name; may be repeated")
    return parser.parse_args(argv)


def scale_of(options: argparse.Namespace) -> Scale:
    scale = SHORT if options.short else LONG
    if options.agents is None:
        return scale
    return replace(scale, members=options.agents * 4 // 5, posters=options.agents // 5)


def scenes_of(options: argparse.Namespace) -> list[Scene]:
    found = [scene for scene in SCENES if options.scene is None or scene.__name__ in options.scene]
    if not found:
        raise SystemExit(f"no such scene; there are: {', '.join(s.__name__ for s in SCENES)}")
    return found


class Progress:
    """A bar on a terminal, a line for each scene elsewhere."""

    def __init__(self, seconds: float) -> None:
        self._began = time.monotonic()
        self._seconds = seconds

    @property
    def spent_s(self) -> float:
        return time.monotonic() - self._began

    @property
    def over(self) -> bool:
        return self.spent_s >= self._seconds

    def show(self, text: str) -> None:
        done = min(BAR, int(BAR * self.spent_s / self._seconds))
        bar = "█" * done + "·" * (BAR - done)
        line = f"{bar} {self.spent_s / 60:5.1f} min  {text}"
        if sys.stderr.isatty():
            print(f"\r\x1b[K{line}", end="", file=sys.stderr, flush=True)
        else:
            print(line, file=sys.stderr, flush=True)


async def verdict(it: Stage) -> str:
    """Judge a stage on which a scene broke off: a hub of it may be gone."""
    try:
        return await it.verdict()
    except httpx.HTTPError as error:
        return f"and there is no verdict, for a hub does not answer: {error}"


async def play(options: argparse.Namespace) -> str:
    """Play scenes; answer what is broken, '' if nothing."""
    dice, played = random.Random(options.seed), Counter[str]()
    scenes = scenes_of(options)
    found = ""
    async with stage(scale_of(options), options.seed) as it:
        progress = Progress(60 * options.minutes)
        while not found and not progress.over:
            scene = dice.choice(scenes)
            progress.show(f"{sum(played.values()):4} scenes, now {scene.__name__}")
            try:
                await scene(it)
                found = await it.judge()
            except AssertionError as error:
                found = f"{error}\n{await verdict(it)}"
            played[scene.__name__] += 1
            if found:
                found = f"scene {sum(played.values())}, {scene.__name__}:\n{found}"
    print(f"\nseed {options.seed}: {sum(played.values())} scenes in {progress.spent_s:.0f} s")
    for name, times in sorted(played.items()):
        print(f"{times:6}  {name.replace('_', ' ')}")
    return found


def main() -> int:
    options = told(sys.argv[1:])
    found = asyncio.run(play(options))
    print(found or "every rule held")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
