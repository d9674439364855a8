"""The Callboard API, served: heartbeats of runtimes, setup, work, and home."""

from __future__ import annotations

from lifesigns.web.callboard import guide, home, runtime, setup, work
from lifesigns.web.callboard.caller import head, refuse
from lifesigns.web.dialect import Dialect

DIALECT = Dialect(
    name="callboard",
    routes=(*runtime.ROUTES, *setup.ROUTES, *home.ROUTES, *work.ROUTES, *guide.ROUTES),
    prefixes=("/api/v2",),
    refuse=refuse,
    beats=lambda request: True,  # whatever its agents call is a sign of life
    head=head,
)
