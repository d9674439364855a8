"""How many files this process may hold open; a connection is one."""

from __future__ import annotations

import resource

# The store's link, the listener, the logs, libraries that read files as they go.
RESERVE = 256


def needed(connections: int) -> int:
    return connections + RESERVE


def limits() -> tuple[int, int]:
    """Answer the limit that counts now, and how far this process may raise it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    endless = 1 << 62
    return (
        endless if soft == resource.RLIM_INFINITY else soft,
        endless if hard == resource.RLIM_INFINITY else hard,
    )


def raise_limit(wanted: int) -> int:
    """Raise the limit as far as needed and allowed; answer where it stands then."""
    soft, hard = limits()
    reachable = min(wanted, hard)
    if soft >= reachable:
        return soft
    try:
        kept = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        resource.setrlimit(resource.RLIMIT_NOFILE, (reachable, kept))
    except (OSError, ValueError):  # macOS has a lower limit that it does not tell
        return soft
    return reachable
