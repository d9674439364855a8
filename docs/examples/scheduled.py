"""An agent that schedules wake: it looks how full the disk is, and says so when that is too much.

python scheduled.py [FOLDER]    and, once:    lifesigns schedules add disk-watch 90 --every 1h
"""

import asyncio
import shutil
import sys

from lifesigns import Agent


async def main(folder: str) -> None:
    me = Agent("disk-watch", capabilities=["disk"])

    @me.on_run
    def look(run):
        """Do one run; the prompt is how many percent are too much."""
        total, used, _ = shutil.disk_usage(folder)  # what it raises is the run's error
        percent = 100 * used / total
        if percent > float(run.prompt):
            run.notify = f"The disk of {folder} is {percent:.0f} % full."
        return f"{percent:.0f} %"

    async with me:
        print("waiting for runs", flush=True)
        await me.closed.wait()


asyncio.run(main(sys.argv[1] if len(sys.argv) > 1 else "/"))
