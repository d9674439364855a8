"""What a hub needs beyond the base install: the extra `hub`."""

from __future__ import annotations

from importlib.util import find_spec

PARTS = ("starlette", "uvicorn", "redis", "hiredis", "prometheus_client")
SPEED = ("uvloop", "httptools")
INSTALL = "pip install 'lifesigns[hub]'"


def missing(names: tuple[str, ...] = PARTS) -> list[str]:
    """Name those that cannot be imported."""
    return [name for name in names if not _found(name)]


def _found(name: str) -> bool:
    try:
        return find_spec(name) is not None
    except (ImportError, ValueError):  # half installed, or shut out by an import hook
        return False
