"""The REST API as OpenAPI 3.1, put together from its areas.

Hand-written: the contract that a test holds the routes to.
"""

from __future__ import annotations

from collections.abc import Sequence

from lifesigns import __version__
from lifesigns.web.description import (
    boostgpt,
    callboard,
    capacity,
    mission_control,
    moltjobs,
    native,
    page,
    run,
    schedule,
    webhook,
)
from lifesigns.web.description.area import Area
from lifesigns.web.description.term import Schema, ref

AREAS: Sequence[Area] = (
    native.AREA,
    capacity.AREA,
    page.AREA,
    run.AREA,
    schedule.AREA,
    mission_control.AREA,
    callboard.AREA,
    webhook.AREA,
    boostgpt.AREA,
    moltjobs.AREA,
)


def _describe(areas: Sequence[Area]) -> Schema:
    paths = {address: dict(each) for area in areas for address, each in area.paths.items()}
    schemas = {name: each for area in areas for name, each in area.schemas.items()}
    responses = {name: each for area in areas for name, each in area.responses.items()}
    assert sum(len(area.paths) for area in areas) == len(paths)
    assert sum(len(area.schemas) for area in areas) == len(schemas)
    for methods in paths.values():
        for operation in methods.values():
            if "requestBody" in operation:
                operation["requestBody"]["required"] = _needs_body(operation, schemas)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Lifesigns",
            "version": __version__,
            "summary": "Who is alive, and who can take work",
            "description": "Agents beat, anyone with a key asks. The WebSocket is at `/v1/connect`."
            " Bounds are those of a hub with its default settings.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "security": [{"bearer": []}, {"api_key": []}, {"agent_token": []}],
        "paths": paths,
        "components": {
            "schemas": schemas,
            "responses": responses,
            "parameters": {
                "Project": {
                    "name": "X-Lifesigns-Project",
                    "in": "header",
                    "schema": ref("ProjectName"),
                    "description": "the project that the root key stands in; default unless named",
                }
            },
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer"},
                "api_key": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
                "agent_token": {"type": "apiKey", "in": "header", "name": "X-Agent-Token"},
            },
        },
    }


def _needs_body(operation: Schema, schemas: dict[str, Schema]) -> bool:
    (content,) = operation["requestBody"]["content"].values()
    name = content["schema"]["$ref"].rpartition("/")[2]
    return not {"required", "minProperties"}.isdisjoint(schemas[name])


DESCRIPTION = _describe(AREAS)
