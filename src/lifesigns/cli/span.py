"""Spans of time as people type and read them: 500ms, 2s, 10m, 12h, 90d."""

from __future__ import annotations

import json
import re

from lifesigns.core.errors import BadValue

UNITS_S = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86_400}
SHORT_S = 10  # below, tenths are of interest


def seconds(text: str, flag: str) -> float:
    """Read a span; a bare number is seconds. ``flag`` is where it stood."""
    found = re.fullmatch(r"([0-9]{1,9}(?:\.[0-9]{1,6})?)(ms|[smhd])?", text)
    if found is None:
        message = f"{flag} is {json.dumps(text)}: it must be like 500ms, 2s, 10m, 12h or 90d"
        raise BadValue(message, field=flag.lstrip("-").replace("-", "_"))
    return float(found[1]) * UNITS_S[found[2] or "s"]


def spell(span_s: float) -> str:
    """Say a span in its largest unit."""
    if span_s < SHORT_S:
        return f"{max(0.0, span_s):.1f}s"
    unit = max((unit for unit, size in UNITS_S.items() if size <= span_s), key=UNITS_S.__getitem__)
    return f"{int(span_s / UNITS_S[unit])}{unit}"
