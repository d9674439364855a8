"""A small client of the hub's REST API: JSON in, JSON out, errors of our tree.

For commands that ask once and end; it blocks. Needs the standard library only.
"""

from __future__ import annotations

import argparse
import http.client
import json
from collections.abc import Iterator, Mapping
from typing import Any, Self
from urllib.parse import urlsplit

from lifesigns.cli.flag import flags_of
from lifesigns.config import ClientConfig
from lifesigns.core.access import check_project
from lifesigns.core.errors import LifesignsError, Unauthorized, Unavailable

TIMEOUT_S = 15.0
ASK_FOR_KEY = "Set LIFESIGNS_KEY, or LIFESIGNS_KEY_FILE to admin.key in the hub's data folder."


class Unreachable(Unavailable):
    """Nobody answers there."""


class Stranger(LifesignsError):
    """Somebody answers there, but no Lifesigns hub."""


class Api:
    """One hub, as one key sees it."""

    def __init__(
        self,
        url: str,
        key: str | None = None,
        *,
        project: str | None = None,
        timeout_s: float = TIMEOUT_S,
    ) -> None:
        self.url = url
        self._headers = {"Accept": "application/json"}
        if key is not None:
            # http.client would take Latin-1, and the hub reads UTF-8.
            self._headers["Authorization"] = f"Bearer {key}".encode().decode("latin-1")
        if project is not None:
            self._headers["X-Lifesigns-Project"] = project
        self._timeout_s = timeout_s

    @classmethod
    def of(cls, args: argparse.Namespace, timeout_s: float = TIMEOUT_S) -> Self:
        """Ask the hub that a command was told of."""
        config = ClientConfig.load(flags_of(args, ClientConfig))
        project = getattr(args, "project", None)
        if project is not None:
            check_project(project, "project")
        return cls(config.url, config.key, project=project, timeout_s=timeout_s)

    def call(
        self, method: str, path: str, body: Mapping[str, object] | None = None
    ) -> dict[str, Any]:
        """Answer what the hub answers, or raise what it refuses with."""
        payload = None if body is None else json.dumps(body).encode()
        status, answer = self._exchange(method, path, payload)
        try:
            said = json.loads(answer)
        except ValueError:
            said = None
        if isinstance(said, dict) and status >= 400:
            said = _in_our_words(said, status)
        if not isinstance(said, dict) or (status >= 400 and "code" not in said):
            raise Stranger(f"{self.url} answers, but not as a Lifesigns hub does (HTTP {status})")
        if status >= 400:
            refusal = _refusal(said)
            if isinstance(refusal, Unauthorized) and "Authorization" not in self._headers:
                refusal.message += f" {ASK_FOR_KEY}"
            raise refusal
        return said

    def _exchange(self, method: str, path: str, payload: bytes | None) -> tuple[int, bytes]:
        parts = urlsplit(self.url)
        connect = (
            http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
        )
        headers = dict(self._headers)
        if payload is not None:
            headers["Content-Type"] = "application/json"
        link = None
        try:
            link = connect(parts.hostname or "", parts.port, timeout=self._timeout_s)
            link.request(method, parts.path.rstrip("/") + path, payload, headers)
            response = link.getresponse()
            return response.status, response.read()
        except http.client.HTTPException:
            raise Stranger(f"{self.url} answers, but does not speak HTTP") from None
        except (OSError, ValueError) as error:  # a port or a host name that cannot be
            why = getattr(error, "strerror", None) or str(error) or "no answer in time"
            raise Unreachable(f"no hub can be reached at {self.url}: {why.lower()}") from None
        finally:
            if link is not None:
                link.close()


def _in_our_words(said: dict[str, Any], status: int) -> dict[str, Any]:
    """Read a refusal of one of the published APIs that a hub serves: ours says the same."""
    if "code" in said or not isinstance(said.get("error"), dict) or "message" not in said:
        return said
    for kind in _tree(LifesignsError):
        if kind.http_status == status:
            return {"error": said["message"], "code": kind.code}
    return said


def _refusal(said: Mapping[str, Any]) -> LifesignsError:
    sentences = [str(said.get("error") or said["code"])]
    details = said.get("detail")
    for each in details if isinstance(details, list) else []:
        if isinstance(each, dict) and each.get("message") not in (None, *sentences):
            sentences.append(f"{each.get('field')}: {each['message']}")
    message = "; ".join(sentences)
    for kind in _tree(LifesignsError):
        if kind.code == said["code"]:
            return _made(kind, message)
    return LifesignsError(message)


def _tree(root: type[LifesignsError]) -> Iterator[type[LifesignsError]]:
    for kind in root.__subclasses__():
        if kind.__module__ == root.__module__:
            yield kind
            yield from _tree(kind)


def _made(kind: type[LifesignsError], message: str) -> LifesignsError:
    """Make an error of the tree with the hub's words, whatever its own constructor takes."""
    error = kind.__new__(kind)
    LifesignsError.__init__(error, message)
    return error
