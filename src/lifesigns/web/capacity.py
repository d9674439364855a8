"""The fleet over time: what was sampled, as the points of a chart."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from lifesigns.core.errors import BadRequest, BadValue
from lifesigns.core.instant import from_text
from lifesigns.core.sample import Steps, parts_of
from lifesigns.core.tally import METADATA
from lifesigns.store.sample import COARSE, FINE, Grain
from lifesigns.web.http import Desk, grant_of, handler, reply
from lifesigns.web.query import query_of, whole_of

HOUR_MS = 3_600_000
MOST_STEP_S = 90 * 86_400
POINTS = 10_000  # in an answer
PLENTY = 720  # that nobody asked for by a step: as many as a chart is wide
STEPS_S = (10, 30, 60, 300, 900, 1_800, 3_600, 7_200, 21_600, 86_400)


async def history(desk: Desk, request: Request) -> Response:
    grant = await grant_of(desk, request)
    grant.allow_watch()
    query = query_of(request, ("from", "to", "step", "by", "value"))
    by, value = query.get("by", "state"), query.get("value", "").removeprefix(METADATA) or None
    parts = parts_of(desk.sample_keys)
    if by not in parts:
        raise BadRequest(f"by is what is sampled: one of {', '.join(parts)}.", field="by")
    if value is not None and value not in desk.sample_keys:
        known = ", ".join(desk.sample_keys) or "none"
        raise BadRequest(f"value is a key of metadata that is sampled: {known}.", field="value")
    now_ms = desk.now_ms
    to_ms = _instant(query["to"], "to") if "to" in query else now_ms + 1
    from_ms = _instant(query["from"], "from") if "from" in query else max(0, to_ms - HOUR_MS)
    if from_ms >= to_ms:
        raise BadRequest("from is before to.", field="from")
    step_s = whole_of(query, "step", 1, MOST_STEP_S, 0)
    grain, step_ms = grain_of(from_ms, to_ms, step_s * 1000, now_ms)
    if (to_ms - from_ms) // step_ms > POINTS:
        raise BadRequest(f"That is more than {POINTS} points: take a longer step.", field="step")
    steps = Steps(step_ms, by, value)
    from_ms = max(from_ms - from_ms % step_ms, now_ms - grain.keep_ms)
    await desk.samples.read(grant.project, grain, from_ms, to_ms, steps.add)
    body = {"step_s": step_ms // 1000, "points": steps.points()}
    return reply(body | {"parts": list(parts)})  # by which else it may be asked


def grain_of(from_ms: int, to_ms: int, step_ms: int, now_ms: int) -> tuple[Grain, int]:
    """Choose the samples that serve for a span, and the step of their points in ms.

    A step is a multiple of what is between two samples; 0 leaves it to us.
    """
    if step_ms == 0:
        fitting = (s * 1000 for s in STEPS_S if (to_ms - from_ms) <= s * 1000 * PLENTY)
        step_ms = next(fitting, STEPS_S[-1] * 1000)
    old = from_ms < now_ms - FINE.keep_ms
    grain = COARSE if old or step_ms % COARSE.step_ms == 0 else FINE
    return grain, -(-step_ms // grain.step_ms) * grain.step_ms


def _instant(text: str, name: str) -> int:
    try:
        return from_text(text)
    except BadValue as bad:
        raise BadRequest(bad.message, field=name) from bad


ROUTES = (Route("/v1/stats/history", handler(history), methods=["GET"]),)
