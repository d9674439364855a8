"""What a browser fetches: files of the package."""

from __future__ import annotations

import re
from functools import cache
from hashlib import sha256
from importlib.resources import files

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from lifesigns.web.http import Desk, handler

# Each after those that it imports.
PARTS = ("error", "socket", "mirror", "line", "watch", "agenttool", "lifesigns")
FROM_PARTS = re.compile(r'^(?:im|ex)port \{[^}]*\} from "\./\w+\.js";\n', re.MULTILINE)


@cache
def module() -> tuple[bytes, str]:
    """Join the JavaScript client into one module, so that a page fetches one file; and tag it."""
    folder = files("lifesigns") / "javascript"
    parts = [(folder / f"{part}.js").read_text(encoding="utf-8") for part in PARTS]
    text = "\n".join(FROM_PARTS.sub("", part) for part in parts).encode()
    return text, f'"{sha256(text).hexdigest()[:32]}"'


async def javascript(desk: Desk, request: Request) -> Response:
    text, tag = module()
    # Asked for anew each time, and sent anew only after an update of the hub.
    headers = {"ETag": tag, "Cache-Control": "no-cache"}
    if request.headers.get("If-None-Match") == tag:
        return Response(status_code=304, headers=headers)
    return Response(text, media_type="text/javascript", headers=headers)


ROUTES = (Route("/lifesigns.js", handler(javascript), methods=["GET"]),)
