"""Where a hub is, as whoever calls it sees it: for texts that others read and run."""

from __future__ import annotations

import re

from starlette.requests import Request

# It stands in commands that people copy, and must not be able to end them.
_HOST = re.compile(r"[A-Za-z0-9._-]+(:[0-9]+)?|\[[0-9A-Fa-f:.]+\](:[0-9]+)?")


def address_of(request: Request) -> str:
    """Tell at which address the hub was called; if its name makes no sense, where it listens."""
    host = request.headers.get("host", "")
    if not _HOST.fullmatch(host):
        name, port = request.scope["server"]
        host = f"[{name}]:{port}" if ":" in name else f"{name}:{port}"
    return f"{request.url.scheme}://{host}"
