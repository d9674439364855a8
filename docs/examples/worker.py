"""An asyncio worker: it does what it is claimed for, and shows the result in its presence.

python worker.py NAME
"""

import asyncio
import sys

from lifesigns import Agent


async def dig(task: str) -> str:
    await asyncio.sleep(0.2)  # the work
    return task.upper()


async def main(name: str) -> None:
    tasks: asyncio.Queue = asyncio.Queue()
    me = Agent(name, ttl=5, capabilities=["dig"], on_assigned=tasks.put_nowait)
    async with me:
        while True:
            claim = await tasks.get()
            await me.update(status="digging", state="busy", task=claim["note"])
            result = await dig(claim["note"])
            context = {"fence": claim["fence"], "result": result}
            await me.update(status="idle", task=None, context=context)


asyncio.run(main(sys.argv[1]))
