"""A part of the description: one API, or one subject of ours."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from lifesigns.web.description.term import Schema


@dataclass(frozen=True, slots=True)
class Area:
    """Addresses, the named values that they take and answer, and their refusals by name."""

    paths: Mapping[str, Schema]
    schemas: Mapping[str, Schema] = field(default_factory=dict)
    responses: Mapping[str, Schema] = field(default_factory=dict)
