"""What operators and their machines ask: is it up, how is it, what does it count."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.registry import Collector, CollectorRegistry
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from lifesigns.core.errors import BadRequest, LifesignsError, Unavailable
from lifesigns.core.instant import to_text, to_text_or_none
from lifesigns.core.presence import SLEEPING, STATES
from lifesigns.core.tally import METADATA, PARTS
from lifesigns.web.description import DESCRIPTION
from lifesigns.web.http import Desk, grant_of, handler, reply
from lifesigns.web.query import query_of
from lifesigns.workers.ticker import Node


async def livez(desk: Desk, request: Request) -> Response:
    return reply({"status": "ok"})


async def readyz(desk: Desk, request: Request) -> Response:
    if desk.lobby.draining:
        raise Unavailable("This hub is being drained.")
    await desk.store.ping_ms()
    return reply({"status": "ready"})


async def connect(desk: Desk, request: Request) -> Response:
    # Upgrades never come here: whoever does has come without one.
    raise BadRequest("This address takes a WebSocket, and no plain call.")


async def health(desk: Desk, request: Request) -> Response:
    try:
        ping_ms = await desk.store.ping_ms()
    except LifesignsError as away:
        body = {"service": "lifesigns", "status": "degraded", "store": away.message}
        return reply(body | {"subscribers": desk.lobby.fanout.watchers}, 503, {"Retry-After": "1"})
    body = {"service": "lifesigns", "status": "ok", "store": f"{ping_ms:.1f} ms"}
    return reply(body | {"subscribers": desk.lobby.fanout.watchers})


async def stats(desk: Desk, request: Request) -> Response:
    grant = await grant_of(desk, request)
    grant.allow_watch()
    query = query_of(request, ("by", "value"))
    by, value = query.get("by"), query.get("value", "").removeprefix(METADATA) or None
    if by is not None and by not in PARTS and not by.startswith(METADATA):
        raise BadRequest(f"by is one of {', '.join(PARTS)}, or {METADATA}<key>.", field="by")
    census, project = desk.census, grant.project
    ranks, ping_ms, changes_per_s, dialects, claims = await asyncio.gather(
        desk.store.count(project),
        desk.store.ping_ms(),
        census.changes_per_s(project),
        census.take(project, "dialect"),
        desk.lobby.claims.count(project),
    )
    now_ms = desk.now_ms
    nodes = [node for node in desk.ticker.nodes if node.alive(now_ms)]
    held_ms = desk.hold.until_ms
    body: dict[str, Any] = {
        "alive": sum(n for rank, n in ranks.items() if rank > SLEEPING),
        "total": sum(ranks.values()),
        "states": {STATES[rank]: n for rank, n in sorted(ranks.items())},
        "dialects": dialects.counts,
        "beats_per_s": round(sum(node.beats_per_s for node in nodes), 1),
        "changes_per_s": changes_per_s,
        "claims": claims,
        "watchers": desk.lobby.fanout.watching(project),
        "nodes": [_node(node) for node in nodes],
        "held_until": to_text_or_none(held_ms),
        "store": {"ok": True, "ping_ms": round(ping_ms, 2)},
    }
    if by is not None or value is not None:
        tally = await census.take(project, by or "state", value)
        body["counts"] = tally.counts
        if value is not None:
            body["value"] = tally.numbers.spell()
    return reply(body)


async def metrics(desk: Desk, request: Request) -> Response:
    await _guard(desk, request)
    registry = CollectorRegistry(auto_describe=False)
    registry.register(Gauges(desk))
    return Response(generate_latest(registry), media_type=CONTENT_TYPE_LATEST)


async def openapi(desk: Desk, request: Request) -> Response:
    await _guard(desk, request)
    return reply(DESCRIPTION)


async def _guard(desk: Desk, request: Request) -> None:
    if not desk.open_metrics:
        (await grant_of(desk, request, asks=False)).allow_watch()


def _node(node: Node) -> dict[str, Any]:
    return {
        "id": node.id,
        "agents": node.agents,
        "lag_ms": node.lag_ms,
        "since": to_text(node.since_ms),
    }


class Gauges(Collector):
    """What this hub counts, read at the moment of the scrape; never an agent's id."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    def collect(self) -> Iterator[Metric]:
        for metric in self._count():
            if self._desk.shares_port:  # the next scrape may be another hub's
                node = {"node": self._desk.lobby.node}
                metric.samples = [each._replace(labels=node) for each in metric.samples]
            yield metric

    def _count(self) -> Iterator[Metric]:
        desk = self._desk
        ticker, sweeper, warden = desk.ticker, desk.sweeper, desk.warden
        ingest, commit = desk.lobby.ingest, desk.lobby.ingest.commit
        claims, delegation = desk.lobby.claims, desk.lobby.delegation
        now_ms = desk.clock.at_ms(desk.lobby.loop.time())
        for name, text, value in (
            ("connections", "WebSockets that are open", len(desk.lobby.open)),
            ("agents", "Instances whose socket is here", len(ingest.leases)),
            ("loop_lag_seconds", "How late the latest tick was", ticker.lag_s),
            (
                "watermark_lag_seconds",
                "How far behind the clock leases may be swept",
                max(0, now_ms - ticker.safe_ms) / 1000,
            ),
            (
                "held_seconds",
                "For how long expiry is held yet",
                max(0, (desk.hold.until_ms or now_ms) - now_ms) / 1000,
            ),
            ("nodes", "Hubs that live", sum(node.alive(now_ms) for node in ticker.nodes)),
            ("watchers", "Watches that are open", desk.lobby.fanout.watchers),
            (
                "claims_held",
                "Claims that connections of this hub hold",
                desk.lobby.delegation.holds,
            ),
            ("claims_wanted", "Delegators that wait for an agent", delegation.waiters),
            ("look_seconds", "How long the latest look at all fleets took", desk.sampler.took_s),
            ("webhooks_in_hand", "Messages to webhooks that wait here", desk.courier.in_hand),
            ("feed_lag_seconds", "How late this hub hears its own tick", desk.feed.lag_s),
            ("store_up", "Whether the store answers", int(desk.store.up)),
        ):
            yield GaugeMetricFamily(f"lifesigns_{name}", text, value)
        for name, text, count in (
            ("beats", "Signs of life taken", ingest.beats),
            ("writes", "Acts sent to the store", commit.writes),
            ("renewals", "Plain renewals sent to the store", commit.renewals),
            ("swept", "Leases that this hub ended", sweeper.swept),
            ("holds", "Times in which no lease was ended", desk.hold.holds),
            ("breaker_trips", "Times in which the network was cut", desk.lobby.breaker.trips),
            ("lost_nodes", "Hubs that this one found lost", warden.lost),
            ("lost_agents", "Instances of lost hubs that this one marked", warden.marked),
            ("claims", "Claims that were made here", claims.made),
            (
                "claims_refused",
                "Tries to claim that found the agent altered",
                desk.lobby.claims.refused,
            ),
            ("samples", "Samples of fleets that this hub took", desk.sampler.taken),
            ("webhooks_delivered", "Messages that arrived", desk.courier.delivered),
            ("webhooks_failures", "Tries of messages that did not", desk.courier.failures),
            ("healed", "Changes that were missed and read from the log", desk.feed.healed),
            ("resyncs", "Lanes that were read anew", desk.feed.resyncs),
        ):
            yield CounterMetricFamily(f"lifesigns_{name}", text, count)


ROUTES = (
    Route("/livez", handler(livez), methods=["GET"]),
    Route("/readyz", handler(readyz), methods=["GET"]),
    Route("/health", handler(health), methods=["GET"]),
    Route("/metrics", handler(metrics), methods=["GET"]),
    Route("/openapi.json", handler(openapi), methods=["GET"]),
    Route("/v1/connect", handler(connect), methods=["GET"]),
    Route("/v1/stats", handler(stats), methods=["GET"]),
)
