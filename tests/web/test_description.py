"""The description is whole: all that the hub serves stands in it, and nothing else."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx
import jsonschema_rs
import pytest

from lifesigns.web.description import DESCRIPTION
from lifesigns.web.description.schema import SCHEMAS
from tests.agent import living
from tests.hub import RunningHub

METHODS = {"get", "put", "post", "delete", "patch"}
OPERATIONS = [
    (path, method, described)
    for path, methods in DESCRIPTION["paths"].items()
    for method, described in methods.items()
]


def within(part: Any) -> Iterator[tuple[str, Any]]:
    """Go through all fields of all maps, however deep."""
    if isinstance(part, dict):
        yield from part.items()
    for each in part.values() if isinstance(part, dict) else part:
        if isinstance(each, dict | list):
            yield from within(each)


def at(reference: str) -> Any:
    part: Any = DESCRIPTION
    for step in reference.removeprefix("#/").split("/"):
        part = part[step]
    return part


def fits(schema: Any, value: Any) -> bool:
    whole = schema | {"components": DESCRIPTION["components"]}
    return bool(jsonschema_rs.is_valid(whole, value))


async def test_every_route_is_described_and_nothing_else(hub: RunningHub) -> None:
    served = {
        (route.path, method.lower())
        for route in hub.hub.site.routes
        for method in (route.methods or set()) - {"HEAD"}
    }
    assert {(path, method) for path, method, _ in OPERATIONS} == served


def test_every_reference_leads_somewhere() -> None:
    references = [value for name, value in within(DESCRIPTION) if name == "$ref"]
    assert len(references) > 100
    for each in references:
        assert at(each)


def test_every_part_is_used() -> None:
    used = {value for name, value in within(DESCRIPTION) if name == "$ref"}
    for group in ("schemas", "responses", "parameters"):
        for name in DESCRIPTION["components"][group]:
            assert f"#/components/{group}/{name}" in used


def test_operations_have_names_of_their_own() -> None:
    names = [described["operationId"] for _, _, described in OPERATIONS]
    assert len(set(names)) == len(names)
    assert all(described["summary"] for _, _, described in OPERATIONS)
    assert {method for _, method, _ in OPERATIONS} <= METHODS


def test_every_name_in_a_path_is_a_parameter() -> None:
    for path, _, described in OPERATIONS:
        named = {
            each["name"] for each in described.get("parameters", []) if each.get("in") == "path"
        }
        assert named == {step[1:-1] for step in path.split("/") if step.startswith("{")}


def test_every_example_fits_its_schema() -> None:
    named = [value for name, value in within(DESCRIPTION) if name == "content"]
    # Not a field of that name.
    contents = [each for each in named if isinstance(each, dict) and "type" not in each]
    shown = [part for content in contents for part in content.values() if "example" in part]
    assert len(shown) > 15
    for part in shown:
        assert fits(part["schema"], part["example"]), part


@pytest.mark.parametrize("detail", ["", "?expand=instances", "?detail=lite"])
async def test_a_presence_has_exactly_the_fields_that_are_described(
    detail: str, hub: RunningHub, http: httpx.AsyncClient
) -> None:
    async with living(hub, "a", status="thinking", task="x", progress={"done": 1}):
        shown = (await http.get(f"/v1/pulse/a{detail}")).json()
    fields = set(SCHEMAS["Lite" if "lite" in detail else "Presence"]["properties"])
    assert set(shown) - {"last_seen", "last_pulse"} == fields
    if "expand" in detail:
        assert set(shown["instances"][0]) == set(SCHEMAS["Instance"]["properties"])


async def test_a_hub_serves_its_description(http: httpx.AsyncClient) -> None:
    answer = await http.get("/openapi.json")
    assert answer.headers["content-type"] == "application/json"
    assert answer.json() == DESCRIPTION
