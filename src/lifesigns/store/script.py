"""The atomic acts on the store: one Lua file each, in ``lua/``.

Those that alter an agent begin with the same prelude. ``allow-oom`` stands on those that only
free: while memory is full, nobody may come, but everybody can go.
"""

from __future__ import annotations

from importlib.resources import files

from lifesigns.store.link import Script

_LUA = files("lifesigns.store") / "lua"


def _text(name: str) -> str:
    return (_LUA / f"{name}.lua").read_text(encoding="utf-8")


def _alone(name: str) -> Script:
    return Script(name, _text(name))


def _after_prelude(name: str, flags: str = "") -> Script:
    return Script(name, f"#!lua{flags}\n{_text('prelude')}\n{_text(name)}")


BEAT = _after_prelude("beat")
SWEEP = _after_prelude("sweep", " flags=allow-oom")
HEAL = _after_prelude("heal")
FORGET = _after_prelude("forget", " flags=allow-oom")
RENEW = _alone("renew")
SERVICE = _alone("service")
TICK = _alone("tick")
READ = _alone("read")
SCAN = _alone("scan")

ALL = (BEAT, SWEEP, FORGET, RENEW, SERVICE, TICK, READ, SCAN, HEAL)
