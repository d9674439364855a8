"""Coordination: hands a task to a peer that is alive and idle, and to nobody twice.

python coordination.py TASK
"""

import sys

from lifesigns import NoMatch, sync
from lifesigns.pulse import AgentTool


def main(task: str) -> None:
    for peer in AgentTool().pulse.list():
        print(f"{peer.id} is {peer.status}")
    # Who was idle a moment ago may have work by now: a claim finds out, and keeps others away.
    with sync.Hub() as hub:
        try:
            with hub.claim(status="idle", note=task) as peer:
                print(f"{peer.id} has {task}")
        except NoMatch:
            print(f"nobody is idle: {task} waits")


main(sys.argv[1])
