"""What single fields of the MoltJobs API may hold."""

from __future__ import annotations

from typing import Any

from lifesigns.core import field
from lifesigns.core.access import check_agent_id
from lifesigns.core.job import check_job_id
from lifesigns.core.model import Limits


def text(value: Any, name: str, limits: Limits) -> str:
    """Take a text of the length of a note."""
    return field.reason_of({name: free(value, name, limits)}, limits, name)


def free(value: Any, name: str, limits: Limits) -> str:
    """Take a text of any length."""
    return field.text_of({name: value}, name)


def job_id(value: Any, name: str, limits: Limits) -> str:
    """Take the id of a job."""
    return check_job_id(free(value, name, limits), name)


def agent_id(value: Any, name: str, limits: Limits) -> str:
    """Take the id of an agent."""
    return check_agent_id(free(value, name, limits), name)
