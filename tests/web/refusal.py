"""What the hub answers when it refuses: taken apart, and waited out."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import httpx

from tests.patience import SOON_S


def told(answer: httpx.Response) -> tuple[int, str, str | None]:
    """Take an error apart: status, code and the field that it names, if any."""
    body = answer.json()
    assert set(body) == {"error", "code", "detail"}, body
    assert body["error"], body
    assert answer.headers["content-type"] == "application/json"
    fields = [each["field"] for each in body["detail"]]
    assert all(each["message"] for each in body["detail"])
    return answer.status_code, body["code"], fields[0] if fields else None


async def refused(
    http: httpx.AsyncClient, method: str, path: str, **options: Any
) -> tuple[int, str, str | None]:
    return told(await http.request(method, path, **options))


async def takes(http: httpx.AsyncClient, method: str, path: str, **options: Any) -> None:
    """Make a call until it is taken."""
    deadline = time.monotonic() + SOON_S
    while (await http.request(method, path, **options)).status_code == 503:
        assert time.monotonic() < deadline
        await asyncio.sleep(0.05)
