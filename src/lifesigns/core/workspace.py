"""The workspace of an enrolled agent: three texts, made of what is known of it.

``HEARTBEAT.md`` has commands that run as they stand, in bash with curl, on Linux and macOS. They
read where the hub is, and the key, from ``TOOLS.md``, which alone holds the key. Whatever others
have chosen (names, paths, addresses) is quoted for the shell, or read by it as data.
Must not know where the files are written.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass

from lifesigns.core.enrolment import Enrolment

TOOLS, HEARTBEAT, IDENTITY = "TOOLS.md", "HEARTBEAT.md", "IDENTITY.md"
NAMES = (TOOLS, HEARTBEAT, IDENTITY)
FAILURES = "heartbeat-failures.log"  # which the commands write

_URL, _TOKEN = "HUB_URL=", "AGENT_TOKEN="


@dataclass(frozen=True, slots=True)
class Place:
    """Where an agent finds what it needs."""

    url: str  # of the hub
    folder: str  # of its workspace


def folder_name(uuid: str) -> str:
    return f"workspace-mc-{uuid}"


def files(enrolment: Enrolment, uuid: str, place: Place) -> dict[str, str]:
    """Write all texts; the key is not in them."""
    return {
        TOOLS: _tools(uuid, place),
        HEARTBEAT: _heartbeat(enrolment, uuid, place),
        IDENTITY: _identity(enrolment, uuid),
    }


def with_token(tools: str, token: str) -> str:
    """Put the key into the text that holds it."""
    lines = tools.splitlines(keepends=True)
    return "".join(f"{_TOKEN}{token}\n" if each.startswith(_TOKEN) else each for each in lines)


def _tools(uuid: str, place: Place) -> str:
    return f"""\
# Tools

Where the hub is, and the key by which it knows this agent. The commands of {HEARTBEAT} read both
from here. The key speaks for this agent alone: show it to nobody.

```
{_URL}{place.url}
{_TOKEN}
```

Is no key there? A file has it only where the workspace was made, and over HTTP it is told once. An
administrator gets another with `POST {place.url}/api/v1/agents/{uuid}/token`.

- `POST /api/v1/agent/heartbeat`, header `X-Agent-Token`: I am alive.
- `GET /api/v1/agent/healthz`: how the hub sees me.
- `GET /api/v1/agent/agents`: who else is there.
"""


def _head(uuid: str, place: Place) -> str:
    return f"""\
workspace={shlex.quote(place.folder)}
[ -r "$workspace/{TOOLS}" ] || workspace=$PWD
hub=$(sed -n 's/^{_URL}//p' "$workspace/{TOOLS}")
token=$(sed -n 's/^{_TOKEN}//p' "$workspace/{TOOLS}")
address=$hub/api/v1/agents/{uuid}/heartbeat
"""


def _heartbeat(enrolment: Enrolment, uuid: str, place: Place) -> str:
    interval_s = f"{enrolment.interval_s:g}"
    return f"""\
# Heartbeat

The hub wants a heartbeat every {interval_s} s, and takes this agent for gone when there was none
for {enrolment.tolerance_s:g} s. All commands run as they stand, in `bash` with `curl`.

## Once

```bash
{_head(uuid, place)}\
printf 'X-Agent-Token: %s\\n' "$token" | curl --silent --show-error --fail --max-time 10 \\
    --request POST --header @- --header 'Content-Type: application/json' \\
    --data '{{"status": "healthy"}}' "$address"
```

## All the time

Leave this running. Under load it says `degraded`; when it ends it says `offline`. A heartbeat that
fails is noted in `{FAILURES}`, and tried again after 1, 2, 4 ... seconds, with some
chance in it. It gives up only when the hub says that the key or the agent is not good any more.
`LOAD_LIMIT` is the load from which on the machine counts as busy: twice its processors unless set.

```bash
{_head(uuid, place)}\
interval={interval_s}
limit=${{LOAD_LIMIT:-$((2 * $(getconf _NPROCESSORS_ONLN)))}}
log=$workspace/{FAILURES}

beat() {{
    code=$(printf 'X-Agent-Token: %s\\n' "$token" | curl --silent --max-time 10 \\
        --output /dev/null --write-out '%{{http_code}}' \\
        --request POST --header @- --header 'Content-Type: application/json' \\
        --data "{{\\"status\\": \\"$1\\"}}" "$address")
    [ "$code" = 200 ] && return
    echo "$(date -u +%Y-%m-%dT%H:%M:%SZ) $1 was not taken: HTTP $code" >> "$log"
    case $code in 401 | 403 | 404) hopeless=$code ;; esac
    return 1
}}

condition() {{
    LC_ALL=C uptime | sed 's/.*averages*: *//' |
        awk -F '[ ,]+' -v limit="$limit" \\
            '{{ load = $1 }} END {{ print (load + 0 >= limit + 0) ? "degraded" : "healthy" }}'
}}

rest() {{
    sleep "$1" &
    napping=$!
    wait "$napping"
}}

leave() {{
    trap - EXIT
    kill "${{napping:-}}" 2> /dev/null
    [ -n "${{hopeless:-}}" ] || beat offline
}}
trap leave EXIT
trap 'exit 0' INT TERM HUP

patience=1
while [ -z "${{hopeless:-}}" ]; do
    if beat "$(condition)"; then
        patience=1
        rest "$interval"
    else
        rest "$patience.$((RANDOM % 10))"
        patience=$((patience * 2 < {_longest(enrolment)} ? patience * 2 : {_longest(enrolment)}))
    fi
done
echo "the hub refuses this agent: HTTP $hopeless" >&2
exit 1
```

## At the end

```bash
{_head(uuid, place)}\
printf 'X-Agent-Token: %s\\n' "$token" | curl --silent --show-error --fail --max-time 10 \\
    --request POST --header @- --header 'Content-Type: application/json' \\
    --data '{{"status": "offline"}}' "$address"
```
"""


def _longest(enrolment: Enrolment) -> int:
    """Back off so far and no further: the hub may be back at any moment."""
    return max(1, round(enrolment.interval_s))


def _identity(enrolment: Enrolment, uuid: str) -> str:
    facts = [
        f"- Name: {enrolment.name}",
        f"- Id: {uuid}",
        f"- Session: {session_id(uuid)}",
        f"- At the gateway: {gateway_agent_id(enrolment.serial)}",
    ]
    if enrolment.board is not None:
        facts.append(f"- Board: {enrolment.board}")
    if enrolment.lead:
        facts.append("- Leads its board")
    facts += [f"- {_line(name)}: {_line(said)}" for name, said in _told(enrolment.profile)]
    parts = ["# Identity\n\n" + "\n".join(facts) + "\n"]
    parts += [f"\n{each.strip()}\n" for each in (enrolment.identity,) if each]
    parts += [f"\n## Soul\n\n{each.strip()}\n" for each in (enrolment.soul,) if each]
    return "".join(parts)


def session_id(uuid: str) -> str:
    """Name the session in which the gateway runs an agent."""
    return f"agent:mc-{uuid}:main"


def gateway_agent_id(serial: str) -> str:
    return f"agent-{serial}"


def _told(profile: Mapping[str, object] | None) -> list[tuple[str, object]]:
    return sorted((profile or {}).items())


def _line(said: object) -> str:
    """Keep to one line what stands in a list."""
    return " ".join(str(said).split())
