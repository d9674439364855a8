"""What a browser fetches: the dashboard and the client in JavaScript."""

from __future__ import annotations

from lifesigns.web.description.area import Area
from lifesigns.web.description.clause import operation, path
from lifesigns.web.description.native import NO_KEY
from lifesigns.web.description.term import TEXT, Schema

NAME = path("name", TEXT)


def _file(media: str) -> Schema:
    return {"description": "The file", "content": {media: {"schema": TEXT}}}


PATHS: dict[str, Schema] = {
    "/": {
        "get": operation(
            "dashboard",
            "The dashboard, for people",
            _file("text/html"),
            403,
            500,
            keys=NO_KEY,
        )
    },
    "/page/{name}": {
        "get": operation(
            "dashboardFile",
            "A file of the dashboard",
            _file("*/*"),
            403,
            404,
            500,
            asks=(NAME,),
            keys=NO_KEY,
        )
    },
    "/lifesigns.js": {
        "get": operation(
            "javascript",
            "The client for browsers and others, as a module",
            _file("text/javascript"),
            403,
            500,
            keys=NO_KEY,
        )
    },
}

AREA = Area(PATHS)
