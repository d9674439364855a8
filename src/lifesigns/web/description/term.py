"""The terms in which schemas are written. Must not know what is described."""

from __future__ import annotations

from typing import Any

Schema = dict[str, Any]

TEXT: Schema = {"type": "string"}
NUMBER: Schema = {"type": "number"}
COUNT: Schema = {"type": "integer", "minimum": 0}
FLAG: Schema = {"type": "boolean"}
MAP: Schema = {"type": "object"}


def ref(name: str) -> Schema:
    return {"$ref": f"#/components/schemas/{name}"}


def record(properties: Schema, *optional: str) -> Schema:
    """Describe a map whose fields are all there but for the optional ones; more may come."""
    required = [name for name in properties if name not in optional]
    return {"type": "object", "properties": properties} | (
        {"required": required} if required else {}
    )


def words(longest: int, text: str = "") -> Schema:
    return {"type": "string", "maxLength": longest} | ({"description": text} if text else {})


def several(of: Schema, **bounds: int) -> Schema:
    return {"type": "array", "items": of, **bounds}


def tally(of: Schema) -> Schema:
    return {"type": "object", "additionalProperties": of}


def nullable(schema: Schema) -> Schema:
    if "type" in schema and "enum" not in schema:
        return schema | {"type": [schema["type"], "null"]}
    return {"anyOf": [schema, {"type": "null"}]}


def said(text: str, **more: Any) -> Schema:
    return {"description": text, **more}
