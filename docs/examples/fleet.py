"""Fleet monitoring: a line for every agent, and for all that happens to it; "!" wants somebody.

python fleet.py
"""

import asyncio

from lifesigns import Hub

BAD = ("error", "stalled", "suspect", "offline")


async def main() -> None:
    async with Hub() as hub, hub.watch(alive=True, present=True) as watch:
        async for change in watch:
            mark = "!" if change["state"] in BAD else " "
            words = change["status"], change["task"], change["reason"]
            print(mark, change["id"], change["state"], *filter(None, words), flush=True)


asyncio.run(main())
