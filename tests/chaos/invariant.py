"""What must hold whatever happened, as functions from the evidence to complaints.

The evidence is three stories of the same events: what really became of the agents, what each of
the watchers was told, and what the store wrote down. Every rule holds one of them against another,
or against itself.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, NamedTuple

from tests.chaos.truth import Outage, Truth
from tests.chaos.witness import Fresh, Told
from tests.watcher import Shown, differences

DOWN = frozenset({"offline", "sleeping"})
NEWEST_MS = 1_000  # a snapshot may be that much older than the moment at which it had arrived
LATE_MS = 5_000  # for what is promised within 250 ms, on a machine that does ten other things


class Complaint(NamedTuple):
    """What does not hold, and of which agent."""

    agent: str
    text: str


@dataclass(frozen=True)
class Account:
    """What one watcher was told since the last judgement, and what it knows in the end."""

    name: str
    told: Sequence[Told | Fresh]
    knows: Mapping[str, Shown]
    wrong: Sequence[str]  # what it found odd itself: twice, out of order, torn, of the wrong kind
    coalesced: bool = False


@dataclass(frozen=True)
class Evidence:
    """All that is known when everything has calmed down."""

    truth: Truth
    accounts: Sequence[Account]
    written: Mapping[int, Sequence[Told]]  # the store's log, by partition; it ends with an epoch
    shown: Mapping[str, Mapping[str, Shown]]  # by hub: all agents, as it answers for them
    since_ms: int  # the last judgement
    until_ms: int  # the moment at which all this was read

    @property
    def outages(self) -> list[Outage]:
        return self.truth.outages


def kinds_follow_each_other(evidence: Evidence) -> Iterator[Complaint]:
    """Each change begins at the state at which the one before ended, in every story."""
    for account in evidence.accounts:
        if not account.coalesced:
            yield from _breaks(account.name, account.told)
    for changes in evidence.written.values():
        yield from _breaks("the log", changes)


def _breaks(whose: str, story: Iterable[Told | Fresh]) -> Iterator[Complaint]:
    states: dict[str, str] = {}
    for entry in story:
        if isinstance(entry, Fresh):
            states = dict(entry.states)
            continue
        before = states.get(entry.agent, entry.was)
        if before != entry.was and entry.kind != "forgotten":
            yield Complaint(entry.agent, f"{whose}: {entry}, but it was {before}")
        was_down = entry.was is None or entry.was in DOWN
        if (entry.kind == "online" and not was_down) or (entry.kind == "offline" and was_down):
            yield Complaint(entry.agent, f"{whose}: {entry}, which it was already")
        states[entry.agent] = entry.state


def numbers_are_dense(evidence: Evidence) -> Iterator[Complaint]:
    for number, changes in evidence.written.items():
        for one, next_ in pairwise(changes):
            if next_.seq != one.seq + 1:
                yield Complaint(next_.agent, f"partition {number}: {next_.seq} after {one.seq}")


def watchers_know_the_truth(evidence: Evidence) -> Iterator[Complaint]:
    """What a watcher knows by snapshot and changes is what every hub answers."""
    for account in evidence.accounts:
        for text in account.wrong:
            yield Complaint("", f"{account.name}: {text}")
        for hub, shown in evidence.shown.items():
            for agent, odd in differences(account.knows, shown).items():
                yield Complaint(agent, f"{account.name} and {hub} differ: {odd}")


def nobody_dies_alive(evidence: Evidence) -> Iterator[Complaint]:
    """An agent is declared dead only when it had been silent, by its own word, for long enough."""
    for change in _all_changes(evidence):
        life = evidence.truth.lives.get(change.agent)
        if life is None or change.kind != "offline" or change.at_ms < evidence.since_ms:
            continue
        if not life.may_end(change.at_ms, evidence.outages):
            yield Complaint(change.agent, f"it lived, but was told to be dead: {change}")


def the_silent_end_in_time(evidence: Evidence) -> Iterator[Complaint]:
    """Whoever has gone for good is offline at every hub; whoever is there is alive."""
    for agent, life in evidence.truth.lives.items():
        for hub, shown in evidence.shown.items():
            alive = agent in shown and shown[agent]["alive"]
            late_ms = evidence.until_ms - life.must_have_ended_by_ms(evidence.outages)
            if alive and late_ms > LATE_MS:
                yield Complaint(agent, f"a ghost at {hub}, for {late_ms:.0f} ms")
            if life.wanted and not alive:
                yield Complaint(agent, f"it is there, but not at {hub}")
    for change in _all_changes(evidence):
        life = evidence.truth.lives.get(change.agent)
        if life is None or change.kind != "offline":
            continue
        for gap in life.gaps:
            if gap.since_ms <= change.at_ms <= gap.until_ms:
                latest_ms = life.must_end_by_ms(gap, evidence.outages) + LATE_MS
                if change.at_ms > latest_ms:
                    yield Complaint(change.agent, f"{change.at_ms - latest_ms:.0f} ms late")


def one_change_per_transition(evidence: Evidence) -> Iterator[Complaint]:
    """However many hubs there are: what one watcher is told all are, and what the log has."""
    first: dict[tuple[str, str, int], tuple[str, Told]] = {}
    for name, story in _stories(evidence):
        for change in story:
            if not isinstance(change, Told):
                continue
            whose, other = first.setdefault(change.number, (name, change))
            if other != change and not _is_coalesced(evidence, name, whose):
                yield Complaint(change.agent, f"{name}: {change}, but {whose}: {other}")
    for account in evidence.accounts:
        yield from _missing(account, evidence.written)


def _missing(account: Account, written: Mapping[int, Sequence[Told]]) -> Iterator[Complaint]:
    """Tell what a watcher was not told, though it was written after its last snapshot."""
    if account.coalesced:
        return
    fresh = [entry.at_ms for entry in account.told if isinstance(entry, Fresh)]
    from_ms = max(fresh, default=0)
    heard = {entry.number for entry in account.told if isinstance(entry, Told)}
    for changes in written.values():
        for change in changes:
            if change.at_ms > from_ms + NEWEST_MS and change.number not in heard:
                yield Complaint(change.agent, f"{account.name} was not told: {change}")


def _stories(evidence: Evidence) -> Iterator[tuple[str, Sequence[Told | Fresh]]]:
    yield from (("the log", changes) for changes in evidence.written.values())
    yield from ((account.name, account.told) for account in evidence.accounts)


def _is_coalesced(evidence: Evidence, *names: str) -> bool:
    """A coalesced change has its last number, and runs from further back than that one."""
    return any(account.coalesced for account in evidence.accounts if account.name in names)


def _all_changes(evidence: Evidence) -> list[Told]:
    """List every change that any story tells of, once."""
    found: dict[Any, Told] = {}
    for _, story in _stories(evidence):
        for entry in story:
            if isinstance(entry, Told):
                found.setdefault(entry.number, entry)
    return list(found.values())


Rule = Callable[[Evidence], Iterator[Complaint]]
RULES: tuple[Rule, ...] = (
    kinds_follow_each_other,
    numbers_are_dense,
    watchers_know_the_truth,
    nobody_dies_alive,
    the_silent_end_in_time,
    one_change_per_transition,
)

COMPLAINTS_SHOWN = 20
TIMELINES_SHOWN = 3


def judge(evidence: Evidence) -> str:
    """Hold the evidence to all rules; answer what is broken with the timelines, '' if nothing."""
    lines: list[str] = []
    concerned: list[str] = []
    for rule in RULES:
        complaints = list(rule(evidence))
        for complaint in complaints[:COMPLAINTS_SHOWN]:
            lines.append(f"{rule.__name__}: {complaint.agent}: {complaint.text}")
            if complaint.agent and complaint.agent not in concerned:
                concerned.append(complaint.agent)
        if len(complaints) > COMPLAINTS_SHOWN:
            lines.append(f"{rule.__name__}: and {len(complaints) - COMPLAINTS_SHOWN} more")
    for agent in concerned[:TIMELINES_SHOWN]:
        lines += ["", f"{agent}, in s since it all began:", *timeline(evidence, agent)]
    return "\n".join(lines)


def timeline(evidence: Evidence, agent: str) -> list[str]:
    """Tell all stories of one agent in the order of time."""
    events: dict[tuple[float, str], list[str]] = defaultdict(list)
    for outage in evidence.outages:
        events[outage.since_ms, f"outage begins: {outage.what}"].append("the service")
        events[outage.until_ms, f"outage ends: {outage.what}"].append("the service")
    life = evidence.truth.lives.get(agent)
    if life is not None:
        for at_ms, text in life.notes:
            events[at_ms, text].append("itself")
        for gap in life.gaps:
            events[gap.since_ms, f"its last sign before a gap ({gap.how})"].append("itself")
            events[gap.until_ms, "its next sign"].append("itself")
    for name, story in _stories(evidence):
        for entry in story:
            if isinstance(entry, Told) and entry.agent == agent:
                events[entry.at_ms, str(entry)].append(name)
    began_ms = evidence.truth.began_ms
    return [
        f"{(at_ms - began_ms) / 1000:10.3f}  {text}  [{', '.join(names)}]"
        for (at_ms, text), names in sorted(events.items())
    ]
