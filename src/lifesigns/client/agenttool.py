"""The pulse API as its own programs call it: one object, whose answers are maps with attributes.

For programs that were written for it, so that one import is all that changes. It blocks, holds
nothing open between calls, and may be shared by threads. The standard library is enough for it.
"""

from __future__ import annotations

import http.client
import json
from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import quote, urlsplit

from lifesigns.core.errors import BadValue, LifesignsError, Unavailable, error_of

TIMEOUT_S = 30.0
SCHEMES = {"http": http.client.HTTPConnection, "https": http.client.HTTPSConnection}


class State(dict[str, Any]):
    """What the hub told; its fields are attributes as well, where a map has no such name."""

    def __getattr__(self, name: str) -> Any:
        try:
            return self[name]
        except KeyError:
            raise AttributeError(f"The hub told nothing called {name!r}.") from None


class Fleet(list[State]):
    """Agents: a list, with the names that stand in the hub's own answer."""

    def __init__(self, agents: Iterable[State]) -> None:
        super().__init__(agents)
        self.agents = self


class AgentTool:
    """A hub, for programs of the pulse API; ``pulse`` is all that it has."""

    def __init__(
        self,
        api_key: str | None = None,
        *,
        base_url: str | None = None,
        timeout: float = TIMEOUT_S,
    ) -> None:
        """What is not given is read from AT_API_KEY and AT_BASE_URL, else as by ``Hub``."""
        if api_key is None or base_url is None:
            # Loaded only here: a program that gives both need not wait for it.
            from lifesigns.config import agenttool_place

            url, key = agenttool_place()
            base_url = url if base_url is None else base_url
            api_key = key if api_key is None else api_key
        self.pulse = Pulse(base_url, api_key, timeout)


class Pulse:
    """The heartbeats of agents, and what is known of them."""

    def __init__(self, url: str, key: str | None, timeout_s: float) -> None:
        parts = urlsplit(url)
        if parts.scheme not in SCHEMES or not parts.hostname:
            raise BadValue(f"A hub's url looks like http://127.0.0.1:8700, not {url!r}.")
        self._url = url
        self._connect = SCHEMES[parts.scheme]
        self._place = parts.hostname, parts.port
        self._root = parts.path.rstrip("/") + "/v1/pulse"
        self._timeout_s = timeout_s
        self._headers = {"Accept": "application/json", "Content-Type": "application/json"}
        if key is not None:
            # http.client would take Latin-1, and the hub reads UTF-8.
            self._headers["Authorization"] = f"Bearer {key}".encode().decode("latin-1")

    def heartbeat(self, agent_id: str, status: str | None = None, **said: Any) -> State:
        """Tell that an agent is alive: its ``task``, ``metadata``, ``did``, ``ttl`` and so on."""
        body = {"status": status, **said}
        given = {name: value for name, value in body.items() if value is not None}
        return self._call("PUT", f"/{quote(agent_id, safe='')}", given)

    def get(self, agent_id: str) -> State:
        """Ask what is known of one agent."""
        return self._call("GET", f"/{quote(agent_id, safe='')}")

    def list(self) -> Fleet:
        """Ask for all that are alive."""
        agents: list[State] = []
        after: str | None = ""
        while after is not None:
            page = self._call("GET", f"?after={quote(after, safe='')}" if after else "")
            agents += page["agents"]
            after = page["next"]
        return Fleet(agents)

    def _call(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> State:
        payload = None if body is None else json.dumps(body).encode()
        link = self._connect(*self._place, timeout=self._timeout_s)
        try:
            link.request(method, self._root + path, payload, self._headers)
            answer = link.getresponse()
            told = json.loads(answer.read(), object_hook=State)
        except (http.client.HTTPException, OSError) as error:
            raise Unavailable(f"No hub answers at {self._url}: {error}.") from error
        except ValueError as error:
            raise LifesignsError(f"Who answers at {self._url} is no hub.") from error
        finally:
            link.close()
        if answer.status >= 400:
            raise _refusal(told)
        return State(told)


def _refusal(told: Mapping[str, Any]) -> LifesignsError:
    named = told.get("detail") or [{}]
    return error_of({**told, "message": told.get("error"), "field": named[0].get("field")})
