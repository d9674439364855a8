"""The MoltJobs API as the hub serves it: every path as its guide prints it, and under ``/v1``."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from starlette.requests import Request
from starlette.routing import Route

from lifesigns.core.job import MOVES
from lifesigns.dialects import moltjobs
from lifesigns.web.dialect import Dialect
from lifesigns.web.http import handler
from lifesigns.web.moltjobs import agent, job, webhook
from lifesigns.web.moltjobs.caller import PREFIXES, refuse


def _routes() -> Iterator[Route]:
    for base in ("", "/v1"):
        agents, jobs = f"{base}/agents", f"{base}/jobs"
        yield Route(f"{agents}/heartbeat", handler(agent.own_heartbeat), methods=["POST"])
        yield Route(f"{agents}/heartbeat", handler(agent.heartbeat_by_query), methods=["GET"])
        yield Route(f"{agents}/{{id}}", handler(agent.get), methods=["GET"])
        yield Route(f"{agents}/{{id}}/heartbeat", handler(agent.heartbeat), methods=["POST"])
        yield Route(f"{agents}/{{id}}/heartbeats", handler(agent.heartbeats), methods=["GET"])
        yield Route(
            f"{agents}/{{id}}/heartbeats/analytics", handler(agent.analytics), methods=["GET"]
        )
        yield Route(f"{agents}/{{id}}/jobs", handler(agent.jobs), methods=["GET"])
        yield Route(f"{agents}/{{id}}/mail", handler(agent.mail), methods=["GET"])
        yield Route(f"{agents}/{{id}}/webhook", handler(webhook.put), methods=["POST"])
        yield Route(f"{agents}/{{id}}/webhook", handler(webhook.drop), methods=["DELETE"])
        yield Route(f"{agents}/{{id}}/webhook/test", handler(webhook.test), methods=["POST"])
        yield Route(jobs, handler(job.collect), methods=["GET"])
        yield Route(jobs, handler(job.post), methods=["POST"])
        yield Route(f"{jobs}/{{id}}", handler(job.get), methods=["GET"])
        yield Route(f"{jobs}/{{id}}", handler(job.patch), methods=["PATCH"])
        for name in MOVES:
            endpoint = handler(partial(job.make_move, name))
            yield Route(f"{jobs}/{{id}}/{name}", endpoint, methods=["PATCH", "POST"])
        for name, shown in (("events", job.events), ("reports", job.reports)):
            yield Route(f"{jobs}/{{id}}/{name}", handler(shown), methods=["GET"])
        yield Route(f"{jobs}/{{id}}/history", handler(job.history), methods=["GET"])
        yield Route(f"{jobs}/{{id}}/messages", handler(job.messages), methods=["GET"])
        yield Route(f"{jobs}/{{id}}/messages", handler(job.tell), methods=["POST"])


def beats(request: Request) -> bool:
    """Tell whether a call is a sign of life, of an agent or for its job."""
    return request.url.path.rpartition("/")[2] in ("heartbeat", "start", "submit")


DIALECT = Dialect(
    name=moltjobs.NAME, prefixes=PREFIXES, refuse=refuse, routes=tuple(_routes()), beats=beats
)
