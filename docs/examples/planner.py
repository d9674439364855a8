"""A planner: it hands each task to a worker, and to another one if that worker dies.

python planner.py TASK...
"""

import asyncio
import sys

from lifesigns import Hub


async def delegate(hub: Hub, task: str) -> None:
    while True:
        async with (
            hub.claim(capability="dig", note=task, wait=60) as peer,
            hub.watch(ids=peer.id, present=True) as watch,
        ):
            print(f"{task}: {peer.id} has it", flush=True)
            result = asyncio.create_task(answer(watch, peer.fence))
            lost = asyncio.create_task(peer.lost.wait())
            await asyncio.wait({result, lost}, return_when=asyncio.FIRST_COMPLETED)
            lost.cancel()
            if result.done():
                print(f"{task}: {result.result()}", flush=True)
                return
            result.cancel()
            print(f"{task}: {peer.id} was lost ({peer.lost.why})", flush=True)


async def answer(watch, fence: int) -> str:
    """Wait for the result of this claim; an older one has another fence."""
    async for change in watch:
        context = change["context"] or {}
        if context.get("fence") == fence:
            return context["result"]
    raise EOFError


async def main(tasks: list[str]) -> None:
    async with Hub() as hub:
        await asyncio.gather(*(delegate(hub, task) for task in tasks))


asyncio.run(main(sys.argv[1:]))
