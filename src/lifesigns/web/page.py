"""What a browser fetches: the dashboard and the JavaScript client, files of the package.

The dashboard is `lifesigns/page`: a frame, two style sheets, modules. Nothing of it comes from
elsewhere, and its policy lets a browser run and load nothing else, so that a text of an agent that
should ever become markup still could not become a program.
"""

from __future__ import annotations

import gzip
import re
from collections.abc import Iterator
from functools import cache
from hashlib import sha256
from importlib.resources import files
from typing import NamedTuple

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from lifesigns.core.errors import NotFound
from lifesigns.web.auth import OpenGate
from lifesigns.web.http import Desk, handler

# Each after those that it imports.
PARTS = (
    *("error", "rest", "socket", "stream", "mirror", "line", "watch"),
    *("work", "agenttool", "lifesigns"),
)
FROM_PARTS = re.compile(r'^(?:im|ex)port \{[^}]*\} from "\./\w+\.js";\n', re.MULTILINE)

CLIENT = "/lifesigns.js"
FOLDER = "/page/"
FRAME = "index.html"
# What the line is opened by, which need not wait for the rest.
FIRST = tuple(f"{name}.js" for name in ("opening", "session", "fleet", "state", "time", "element"))
SCRIPT = ".js"
MEDIA = {
    ".html": "text/html",
    SCRIPT: "text/javascript",
    ".css": "text/css",
    ".svg": "image/svg+xml",
}
POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self'",
        "connect-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
        "require-trusted-types-for 'script'",
        "trusted-types 'none'",
    )
)
HEADERS = {
    "Cache-Control": "no-cache",  # asked for anew each time, sent anew only after an update
    "Content-Security-Policy": POLICY,
    "Cross-Origin-Opener-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "Vary": "Accept-Encoding",
    "X-Content-Type-Options": "nosniff",
}


class Page(NamedTuple):
    """A file as it is sent, plain and packed."""

    media: str
    plain: bytes
    packed: bytes
    tag: str


@cache
def client() -> Page:
    """Join the JavaScript client into one module, so that a page fetches one file."""
    folder = files("lifesigns") / "javascript"
    parts = [(folder / f"{part}.js").read_text(encoding="utf-8") for part in PARTS]
    return _page(SCRIPT, "\n".join(FROM_PARTS.sub("", part) for part in parts))


@cache
def dashboard(*, auth: bool) -> dict[str, Page]:
    """Read the dashboard; its frame names all modules, so that no import waits for another."""
    texts = dict(_texts())
    rest = [name for name in texts if name.endswith(SCRIPT) and name not in FIRST]
    modules = [CLIENT, *(FOLDER + name for name in (*FIRST, *rest))]
    preload = "\n".join(f'    <link rel="modulepreload" href="{module}">' for module in modules)
    frame = texts.pop(FRAME).replace("{auth}", "on" if auth else "off")
    texts[FRAME] = frame.replace("{preload}", preload)
    return {name: _page(name[name.rindex(".") :], text) for name, text in texts.items()}


def _texts() -> Iterator[tuple[str, str]]:
    for file in sorted((files("lifesigns") / "page").iterdir(), key=lambda file: file.name):
        if file.name.endswith(tuple(MEDIA)):
            yield file.name, file.read_text(encoding="utf-8")


def _page(suffix: str, text: str) -> Page:
    plain = text.encode()
    packed = gzip.compress(plain, mtime=0)  # without a time, all hubs send the same
    return Page(MEDIA[suffix], plain, packed, sha256(plain).hexdigest()[:32])


def _send(request: Request, page: Page) -> Response:
    accepted = request.headers.get("Accept-Encoding", "")
    packs = any(each.strip().partition(";")[0] == "gzip" for each in accepted.split(","))
    tag = f'"{page.tag}-gzip"' if packs else f'"{page.tag}"'
    headers = {**HEADERS, "ETag": tag}
    if request.headers.get("If-None-Match") == tag:
        return Response(status_code=304, headers=headers)
    if packs:
        headers["Content-Encoding"] = "gzip"
    return Response(page.packed if packs else page.plain, media_type=page.media, headers=headers)


async def javascript(desk: Desk, request: Request) -> Response:
    return _send(request, client())


async def frame(desk: Desk, request: Request) -> Response:
    return _send(request, _dashboard(desk)[FRAME])


async def file(desk: Desk, request: Request) -> Response:
    found = _dashboard(desk).get(request.path_params["name"])
    if found is None:
        raise NotFound("There is nothing at this address.")
    return _send(request, found)


def _dashboard(desk: Desk) -> dict[str, Page]:
    return dashboard(auth=not isinstance(desk.gate, OpenGate))


ROUTES = (
    Route(CLIENT, handler(javascript), methods=["GET"]),
    Route("/", handler(frame), methods=["GET"]),
    Route(FOLDER + "{name}", handler(file), methods=["GET"]),
)
