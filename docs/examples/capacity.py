"""Capacity planning: how many agents think and how many idle, over time, and how much waits.

python capacity.py [SAMPLES [SECONDS]]
"""

import sys
import time
from collections import Counter

from lifesigns.pulse import AgentTool


def main(samples: int, pause_s: float) -> None:
    at = AgentTool()
    for n in range(samples):
        if n:
            time.sleep(pause_s)
        agents = at.pulse.list()
        told = [agent.metadata or {} for agent in agents]
        statuses = Counter(agent.status for agent in agents)
        models = Counter(each["model"] for each in told if "model" in each)
        queued = sum(each.get("queue_depth", 0) for each in told)
        parts = [f"{len(agents)} alive", f"{queued} queued"]
        parts += [f"{count} {name}" for name, count in sorted((statuses + models).items())]
        print(time.strftime("%H:%M:%S"), ", ".join(parts), flush=True)


samples, pause_s = [*sys.argv[1:], "60", "60"][:2]
main(int(samples), float(pause_s))
