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
LOSE = _after_prelude("lose")
HEAL = _after_prelude("heal")
BEFORE = _after_prelude("before")
FORGET = _after_prelude("forget", " flags=allow-oom")
RENEW = _alone("renew")
SERVICE = _alone("service")
TICK = _alone("tick")
UNLIST = _alone("unlist")
READ = _alone("read")
SCAN = _alone("scan")
INBOX_ADD = _alone("inbox_add")
STANDING = _alone("standing")
SAMPLE = _alone("sample")
SAMPLER = _alone("sampler")
CLAIM = _after_prelude("claim")
CLAIM_RENEW = _after_prelude("claim_renew")
CLAIM_RELEASE = _after_prelude("claim_release", " flags=allow-oom")
CLAIM_HOLD = _alone("claim_hold")
LEDGER = _after_prelude("ledger")
LEDGER_PAGE = _alone("ledger_page")
AGENDA = _alone("agenda")
OUTBOX_DONE = _alone("outbox_done")
DIARY_NOTE = _alone("diary_note")
DIARY_LATEST = _alone("diary_latest")
TALLY = _alone("tally")
CLAIMING = (CLAIM, CLAIM_RENEW, CLAIM_RELEASE, CLAIM_HOLD)

ALL = (
    *CLAIMING,
    BEAT,
    SWEEP,
    LOSE,
    FORGET,
    RENEW,
    SERVICE,
    TICK,
    UNLIST,
    READ,
    SCAN,
    HEAL,
    BEFORE,
    INBOX_ADD,
    STANDING,
    DIARY_NOTE,
    DIARY_LATEST,
    TALLY,
    LEDGER,
    LEDGER_PAGE,
    AGENDA,
    OUTBOX_DONE,
    SAMPLE,
    SAMPLER,
)
