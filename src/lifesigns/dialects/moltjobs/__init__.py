"""The MoltJobs API: its heartbeats, jobs and refusals, in our words and back.

A heartbeat may name a job; ``runtimeMetadata`` is for the agent's owner alone, which is why every
answer that a poster may see is made without it. Texts that its published clients read are never
null.
"""

from __future__ import annotations

from typing import Final

from lifesigns.core.webhook import MOLTJOBS

NAME: Final = MOLTJOBS
