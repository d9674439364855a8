"""How a clause of the description is worded: one method of one address, and what can go wrong.

Must not know any address.
"""

from __future__ import annotations

from typing import Any

from lifesigns.web.description.term import Schema, ref

JSON_TYPE = "application/json"
READING = (400, 401, 403, 404, 500, 503)
WRITING = (400, 401, 403, 404, 413, 415, 422, 500, 503)
RETRY_AFTER = {"Retry-After": {"required": True, "schema": {"type": "integer", "minimum": 1}}}

# Status: the machine's word, what it is about, and an example of the sentence.
ERRORS = {
    400: ("bad_request", "Not JSON, not a map, a bad query or a bad id", "Not JSON."),
    401: ("unauthorized", "No key, or none that is good", "A key is needed."),
    403: ("forbidden", "The key or the origin may not do this", "This needs the root key."),
    404: ("not_found", "There is no such thing", "No agent 'a' was ever seen."),
    409: ("conflict", "What is stored does not allow it", "This token is a key already."),
    413: ("too_large", "The body is too large", "The body has at most 65536 bytes."),
    415: ("unsupported", "The content type is not JSON", "The body is JSON."),
    422: ("bad_value", "A field is of the wrong type or out of range", "task is a text."),
    429: ("rate_limited", "Too often; the lease was renewed", "At most 10 beats a second."),
    500: ("internal", "A fault of the hub; nothing is told of it", "Something went wrong here."),
    503: ("unavailable", "The store is away; try again", "The store is away."),
}


def error(status: int) -> Schema:
    """Describe what is answered with a status that refuses."""
    code, text, sentence = ERRORS[status]
    detail = [{"field": "task", "message": sentence}] if status == 422 else []
    sample = {"error": sentence, "code": code, "detail": detail}
    refusal: Schema = {
        "description": text,
        "content": {JSON_TYPE: {"schema": ref("Error"), "example": sample}},
    }
    if status == 401:
        refusal["headers"] = {"WWW-Authenticate": {"required": True, "schema": {"const": "Bearer"}}}
    return refusal | ({"headers": RETRY_AFTER} if status in (429, 503) else {})


def operation(
    name: str,
    summary: str,
    success: Schema,
    *failures: int,
    status: int = 200,
    takes: str | None = None,
    sample: Any = None,
    asks: tuple[Schema, ...] = (),
    keys: tuple[Schema, ...] | None = None,
    text: str = "",
    voice: str = "",
) -> Schema:
    """Describe one method of one address; ``keys`` are the ways in, None: any key.

    ``voice`` is what the names of the refusals begin with, where they are not ours.
    """
    described: Schema = {"operationId": name, "summary": summary}
    if text:
        described["description"] = text
    parameters = [*asks, *([{"$ref": "#/components/parameters/Project"}] if keys is None else [])]
    if parameters:
        described["parameters"] = parameters
    if takes is not None:
        content = {"schema": ref(takes)} | ({} if sample is None else {"example": sample})
        described["requestBody"] = {"content": {JSON_TYPE: content}}
    described["responses"] = {str(status): success} | {
        str(each): {"$ref": f"#/components/responses/{voice}{each}"} for each in sorted(failures)
    }
    if keys is not None:
        described["security"] = list(keys)
    return described


def answer(schema: Schema, text: str, sample: Any = None) -> Schema:
    """Describe an answer in JSON."""
    content = {"schema": schema} | ({} if sample is None else {"example": sample})
    return {"description": text, "content": {JSON_TYPE: content}}


def query(name: str, schema: Schema, text: str) -> Schema:
    """Describe a parameter of the query."""
    return {"name": name, "in": "query", "schema": schema, "description": text}


def path(name: str, schema: Schema) -> Schema:
    """Describe a name in the address."""
    return {"name": name, "in": "path", "required": True, "schema": schema}
