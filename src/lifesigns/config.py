"""Every setting of a hub and of a client command; the only reader of the environment.

Says what may be set, how the settings must agree, and why each default is what it is. It must not
know who uses them. docs/configuration.md is held to these fields by a test.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from typing import Self

from lifesigns.core.errors import BadValue
from lifesigns.kind import (
    AGENT,
    EAR,
    HOST,
    HUB_URL,
    INSTANCE,
    ORIGINS,
    SAMPLED_KEYS,
    STORE,
    choice,
    folder,
    number,
    secret,
    switch,
    whole,
)
from lifesigns.setting import given, setting, strangers

DAY_S = 86_400
YEAR_S = 365 * DAY_S
MIB = 1024 * 1024
# Pairs of which the first may not exceed the second, and what would break.
NOT_ABOVE = (
    ("grace_s", "default_ttl_s", "a grace longer than a lease would lengthen it"),
    ("min_ttl_s", "default_ttl_s", "the default has to be allowed"),
    ("default_ttl_s", "max_ttl_s", "the default has to be allowed"),
    ("min_ttl_s", "http_ttl_s", "the default has to be allowed"),
    ("http_ttl_s", "max_ttl_s", "the default has to be allowed"),
    ("history_s", "retention_s", "a change must not outlive its agent"),
    ("metadata_bytes", "message_bytes", "a beat has to carry its metadata"),
    ("metadata_bytes", "body_bytes", "a beat has to carry its metadata"),
    ("message_bytes", "check_message_bytes", "a check is a message"),
    ("body_bytes", "bulk_body_bytes", "a bulk of one is a body"),
    ("flush_ms", "fold_ms", "what is folded leaves with a flush"),
    ("drain_window_s", "drain_s", "a drain has an end"),
)


def data_home(environ: Mapping[str, str] | None = None) -> Path:
    """Find the folder in which this user's programs keep data, as the XDG rules have it."""
    environ = os.environ if environ is None else environ
    home = environ.get("XDG_DATA_HOME", "")
    if not home.startswith("/"):  # a relative one counts as not set, say the rules
        home = (environ.get("HOME") or os.path.expanduser("~")) + "/.local/share"
    return Path(home) / "lifesigns"


@dataclass(frozen=True, slots=True)
class Config:
    """One hub's settings."""

    host: str = setting("127.0.0.1", HOST, "where it listens: a new hub is for this machine alone")
    port: int = setting(
        8700, whole(0, 65_535), "where it listens: seldom in use; 0 is any free one"
    )
    workers: int = setting(
        1, whole(1, 256), "processes on its port, a hub each: one serves some 10,000 agents"
    )
    redis: str | None = setting(
        None,
        STORE,
        "the store; none is an embedded Valkey, so that a hub needs nothing else",
        secret=True,
    )
    data_dir: Path = setting(  # noqa: RUF009 - it makes a field, not a value
        data_home,
        folder(),
        "the embedded Valkey and the first key: the XDG place for what a user's programs keep",
        shown="$XDG_DATA_HOME/lifesigns, else ~/.local/share/lifesigns",
    )
    auth: bool = setting(
        True, switch(), "whether keys are asked for: strangers are kept out unless told so"
    )
    admin_key: str | None = setting(
        None, secret(16, 4096), "the root key; none: the first start makes one", secret=True
    )
    origins: tuple[str, ...] = setting(
        (), ORIGINS, "whose pages may speak to the hub: beside its own, none unless named"
    )
    log_format: str = setting("text", choice("text", "json"), "logs on stderr: people read text")
    log_level: str = setting(
        "info",
        choice("debug", "info", "warning", "error"),
        "how much is logged: what an operator would want to know of, and no single beat",
    )
    grace_s: float = setting(
        5.0, number(0, 3600), "from a broken socket to offline: time for two tries to come back"
    )
    retention_s: float = setting(
        float(7 * DAY_S), number(60, 3650 * DAY_S), "until a silent agent is forgotten: a week off"
    )
    history_s: float = setting(
        600.0, number(1, DAY_S), "how far back a watch resumes: a laptop's lid that was closed"
    )
    history_len: int = setting(
        20_000,
        whole(100, 10_000_000),
        "changes kept a partition of a project: 300 bytes each, so 6 MB at most",
    )
    diary_len: int = setting(
        1_000,
        whole(1, 100_000),
        "reports of an agent that are listed again: one a minute, for a day",
    )
    diary_s: int = setting(
        30 * DAY_S, whole(60, YEAR_S), "how long a report is kept: what a month's bill is about"
    )
    diary_gap_s: float = setting(
        10.0,
        number(0, 3600),
        "how soon the same report is kept again: who says nothing new adds little",
    )
    job_window_s: float = setting(
        1_800.0,
        number(1, DAY_S),
        "until a job without a beat is inactive, unless it says: what MoltJobs promises",
    )
    dispute_delay_s: float = setting(
        1_800.0, number(0, YEAR_S), "from inactive to disputable: as long again, to come back"
    )
    closed_jobs_s: int = setting(
        90 * DAY_S, whole(1, 10 * YEAR_S), "how long a closed job is kept: a quarter's accounts"
    )
    strict_jobs: bool = setting(
        False, switch(), "whether a beat for an unknown job is refused: agents may have their own"
    )
    schedules: bool = setting(
        True, switch(), "whether agents can be woken on time: a hub may be for presence alone"
    )
    schedule_calls_per_s: float = setting(
        10.0, number(0.1, 10_000), "calls about schedules of one key, told by the minute: a page's"
    )
    run_interval_s: float = setting(
        60.0, number(1, DAY_S), "how often a schedule may run: what costs money costs it each time"
    )
    run_timeout_s: float = setting(
        600.0, number(1, DAY_S), "for a run to be reported: longer work says so by being split"
    )
    run_retention_s: int = setting(
        90 * DAY_S, whole(60, 3650 * DAY_S), "how long a run stays in the log: a quarter"
    )
    hello_timeout_s: float = setting(
        5.0, number(0.1, 300), "for a first message: bad lines take two, and silence holds a file"
    )
    pong_timeout_s: float = setting(
        20.0, number(0.5, 300), "for an answer to a ping: longer than a line stalls that recovers"
    )
    default_ttl_s: float = setting(
        30.0, number(0.1, YEAR_S), "a socket's lease: how long a machine that vanished seems alive"
    )
    http_ttl_s: float = setting(
        60.0, number(0.1, YEAR_S), "a posted beat's lease: who posts twice a minute may miss one"
    )
    min_ttl_s: float = setting(
        1.0, number(0.1, YEAR_S), "the shortest lease: below, a network's delays read as deaths"
    )
    max_ttl_s: float = setting(
        float(DAY_S), number(1, YEAR_S), "the longest lease: a daily job lives from run to run"
    )
    message_bytes: int = setting(
        65_536, whole(1024, 16 * MIB), "the largest message: four times the largest metadata"
    )
    check_message_bytes: int = setting(
        262_144, whole(1024, 16 * MIB), "the largest check: 1,000 of the longest ids, twice over"
    )
    body_bytes: int = setting(
        65_536, whole(1024, 16 * MIB), "the largest HTTP body: as a message, to say the same"
    )
    bulk_body_bytes: int = setting(
        4 * MIB, whole(1024, 256 * MIB), "the largest body of many beats: 1,000 of 4 KiB each"
    )
    metadata_bytes: int = setting(
        16_384, whole(256, 16 * MIB), "metadata, and context: each agent's goes to every watcher"
    )
    metadata_depth: int = setting(
        16, whole(1, 64), "maps within maps: more than people write, no decoder's stack ends there"
    )
    messages_per_s: float = setting(
        50.0, number(0.1, 1_000_000), "from one connection: far more than a busy agent has to say"
    )
    beats_per_s: float = setting(
        10.0,
        number(0.1, 1_000_000),
        "from an HTTP key for an agent: ten times what a ttl of 3 s needs",
    )
    burst_s: float = setting(
        2.0, number(0.1, 60), "so much of a rate may come at once: double, as after a pause"
    )
    flood_s: float = setting(
        10.0,
        number(1, 3600),
        "over its rate for so long, a socket is closed: it is no burst any more",
    )
    max_connections: int = setting(
        16_000,
        whole(1, 10_000_000),
        "sockets at once, of a worker: under 100 MB at 6 KB each, under 20,000 open files",
    )
    max_instances: int = setting(
        256, whole(1, 1000), "of one agent: each takes some 300 bytes, written with all its news"
    )
    store_timeout_s: float = setting(
        3.0, number(0.1, 60), "a beat not written by then is dropped: it holds up every expiry"
    )
    tick_ms: int = setting(
        100, whole(10, 1000), "the hub's step: an end is told within 250, so two and a margin"
    )
    breaker: bool = setting(
        True,
        switch(),
        "whether a cut network stops expiry for a lease: it silences agents that live",
    )
    node_lease_ms: int = setting(
        2500, whole(100, 60_000), "until a silent hub counts as dead: 25 ticks, no mere pause"
    )
    fold_ms: int = setting(
        1000, whole(0, 1000), "renewals share a write: a second's, or a quarter of a short ttl's"
    )
    flush_ms: int = setting(
        3, whole(0, 100), "between writes under load: half the cost a beat, and nobody sees 3"
    )
    drain_s: float = setting(
        10.0, number(1, 600), "from SIGTERM to the end, whatever peers do: so long docker waits"
    )
    drain_window_s: float = setting(
        4.0, number(0, 600), "closes of thousands are spread over it, and so are their hellos"
    )
    sample_keys: tuple[str, ...] = setting(
        ("model", "queue_depth"),
        SAMPLED_KEYS,
        "metadata whose values and numbers are kept over time: what most fleets are planned by",
    )
    deliveries_s: int = setting(
        7 * DAY_S,
        whole(60, YEAR_S),
        "how long a webhook's deliveries are kept: a week to see what went wrong",
    )
    deliveries_len: int = setting(
        10_000,
        whole(100, 10_000_000),
        "deliveries of a webhook kept in each state: 2 KB each, so 20 MB of those that arrived",
    )
    private_webhooks: bool = setting(
        False,
        switch(),
        "whether webhooks may lead to private addresses: they reach what else only the hub can",
    )
    key_memory_s: float = setting(
        60.0, number(1, 3600), "a verified key is known: it bridges a store that restarts"
    )

    def __post_init__(self) -> None:
        if not self.auth and not self.loopback:
            raise BadValue(
                "auth is off, so host must be a loopback one (127.0.0.0/8, ::1 or localhost),"
                f" but it is {self.host}",
                field="auth",
            )
        for low, high, why in NOT_ABOVE:
            if getattr(self, low) > getattr(self, high):
                values = f"{low} is {getattr(self, low):g}, and {high} {getattr(self, high):g}"
                raise BadValue(f"{values}: {low} must not be more, {why}", field=low)
        if self.node_lease_ms < 5 * self.tick_ms:
            values = f"node_lease_ms is {self.node_lease_ms}, and tick_ms {self.tick_ms}"
            why = "it must be five ticks at least, or one late tick loses the node"
            raise BadValue(f"{values}: {why}", field="node_lease_ms")

    @classmethod
    def load(
        cls, flags: Mapping[str, str | None], environ: Mapping[str, str] | None = None
    ) -> Self:
        """Read the settings; BadValue names the first that cannot be understood."""
        environ = os.environ if environ is None else environ
        values = {"data_dir": data_home(environ), **given(cls, flags, environ)}
        return cls(**values)  # type: ignore[arg-type]

    @property
    def loopback(self) -> bool:
        """Whether only this machine can reach the hub."""
        if self.host.lower() == "localhost":
            return True
        try:
            return ip_address(self.host).is_loopback
        except ValueError:
            return False


class Given:
    """Settings of which none depends on another."""

    __slots__ = ()

    @classmethod
    def load(
        cls, flags: Mapping[str, str | None], environ: Mapping[str, str] | None = None
    ) -> Self:
        """Read the settings; BadValue names the first that cannot be understood."""
        values = given(cls, flags, os.environ if environ is None else environ)
        return cls(**values)


@dataclass(frozen=True, slots=True)
class ClientConfig(Given):
    """What a client command has to know."""

    url: str = setting(
        "http://127.0.0.1:8700", HUB_URL, "the hub to ask: one that was started here without a flag"
    )
    key: str | None = setting(
        None, secret(1, 4096), "the key to show: none is needed where auth is off", secret=True
    )


@dataclass(frozen=True, slots=True)
class SpeakerConfig(Given):
    """For whom a command speaks that tells of an agent."""

    agent: str | None = setting(
        None, AGENT, "for whom to speak: none, so that nobody is taken for somebody else"
    )
    instance: str | None = setting(
        None, INSTANCE, "which of its running copies: none is the only one, as the hub finds it"
    )
    ear: str | None = setting(
        None, EAR, "where a `lifesigns run` around it listens, which sets it: none runs around it"
    )


def agenttool_place(environ: Mapping[str, str] | None = None) -> tuple[str, str | None]:
    """Answer where the hub of a program of the pulse API is, and its key: its own names first."""
    environ = os.environ if environ is None else environ
    url, key = environ.get("AT_BASE_URL"), environ.get("AT_API_KEY")
    if url and key:
        return url, key
    own = ClientConfig.load({}, environ)
    return url or own.url, key or own.key


def inherited(named: Mapping[str, str], dropped: Iterable[str] = ()) -> dict[str, str]:
    """Answer what a program that is started here finds around it."""
    gone = set(dropped)
    return {name: value for name, value in os.environ.items() if name not in gone} | dict(named)


def wants_no_colours(environ: Mapping[str, str] | None = None) -> bool:
    """Tell whether colours are unwanted (https://no-color.org), or the terminal has none."""
    environ = os.environ if environ is None else environ
    return bool(environ.get("NO_COLOR")) or is_dumb_terminal(environ)


def is_dumb_terminal(environ: Mapping[str, str] | None = None) -> bool:
    """Tell whether the terminal, if there is one, can do no more than write lines."""
    environ = os.environ if environ is None else environ
    return environ.get("TERM", "dumb") == "dumb"


def misspelt(environ: Mapping[str, str] | None = None) -> tuple[str, ...]:
    """List the variables that look like settings and are none."""
    environ = os.environ if environ is None else environ
    return strangers(environ, Config, ClientConfig, SpeakerConfig)
