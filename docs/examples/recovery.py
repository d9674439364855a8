"""Auto-recovery: runs a worker, and starts it again whenever its heartbeats stop.

python recovery.py AGENT COMMAND...
"""

import subprocess
import sys

from lifesigns import sync


def main(agent: str, command: list[str]) -> None:
    with sync.Hub() as hub, hub.watch(ids=agent) as watch:
        worker = subprocess.Popen(command)
        for change in watch:
            if change["kind"] == "offline":
                print(f"{agent} is gone ({change['reason']}): started again", flush=True)
                worker.kill()  # it may hang
                worker.wait()
                worker = subprocess.Popen(command)


main(sys.argv[1], sys.argv[2:])
