"""A rough network between agents and a hub: the fault proxy of the chaos tests, in its own process.

    PYTHONPATH=. python benchmarks/rough.py <port of the hub> <seconds>

Prints its own port. From the first line on its standard input on it delays all bytes by 50 ms, and
now and then all connections stand still: for 0.2 s once, and for ever longer by six tenths up to an
eighth of the whole, in an order that is the same in every run.
"""

from __future__ import annotations

import asyncio
import random
import resource
import sys

from tests.chaos.proxy import Proxy

SHORTEST_S = 0.2
GROWTH = 1.6
DELAY_S = 0.05


def stalls(seconds: float) -> list[float]:
    """Tell how long each stall lasts, in their order."""
    lengths = [SHORTEST_S]
    while lengths[-1] * GROWTH <= seconds / 8:
        lengths.append(lengths[-1] * GROWTH)
    random.Random(1).shuffle(lengths)
    return lengths


async def main(port: int, seconds: float) -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    async with Proxy(lambda: asyncio.open_connection("127.0.0.1", port)) as proxy:
        print(proxy.port, flush=True)
        await asyncio.get_running_loop().run_in_executor(None, sys.stdin.readline)
        lengths = stalls(seconds)
        pause_s = (seconds - sum(lengths)) / len(lengths)
        for length_s in lengths:
            proxy.delay(DELAY_S)
            await asyncio.sleep(pause_s)
            proxy.hold()
            await asyncio.sleep(length_s)
            proxy.resume()
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), float(sys.argv[2])))
