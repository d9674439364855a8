"""What the contract says becomes of agents, without a store: dictionaries, and a clock passed in.

It was written from the words of the contract and never from the scripts. Of these it knows only how
a lease is noted: at whole milliseconds, or with a fraction if it tells nothing of the last beat.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from math import floor, inf

OFFLINE, SUSPECT, ERROR, STALLED, DEGRADED, DRAINING, BUSY, AVAILABLE = 0, 2, 3, 4, 5, 6, 7, 8
NEVER_SEEN = 9
SEP = "\x1f"
DONE, OLDER, NOT_HERE, BEFORE, ALTERED = range(5)  # what the store answers to an act

KEEP_MS = 3_600_000
HELD_MS = 10_000  # how long a claim outlives its holder's socket
LONGEST_SILENCE_MS = 5_000
LOST_LEAST_MS, LOST_MOST_MS = 10_000, 60_000


def kind(old: int, new: int) -> str:
    """Name the change between two different states."""
    if new == OFFLINE:
        return "f"
    if old in (NEVER_SEEN, OFFLINE):
        return "o"
    if new in (SUSPECT, STALLED):
        return "s" if new == SUSPECT else "t"
    return "r" if old in (SUSPECT, STALLED) else "u"


@dataclass
class Says:
    """What an instance says in one beat."""

    word: int
    blob: bytes
    ttl_ms: int
    slots: int = 1
    stalls_in_ms: int | None = None
    quiet: bool = False  # nothing that is shown differs


@dataclass
class Life:
    """One instance. Its lease ends at a fraction of a ms if that tells nothing of its last beat."""

    session: str
    start_ms: int
    said: Says
    ends_ms: float
    heard_ms: int
    stalls_at_ms: float = inf
    n: int = 1
    rev: int = 0
    why: str = ""  # why it is suspect; empty: it is not

    def takes(self, said: Says, heard_ms: int) -> bool:
        """Take a beat's words; tell whether they are news."""
        news = said.blob != self.said.blob and not said.quiet
        self.said, self.why = said, ""
        self.stalls_at_ms = inf if said.stalls_in_ms is None else heard_ms + said.stalls_in_ms
        return news

    def hears(self, heard_ms: int, ttl_ms: int, now_ms: int) -> None:
        """A late sign shortens nothing, be it a later one's lease or one that was lengthened."""
        self.heard_ms = min(max(self.heard_ms, heard_ms), now_ms)
        if self.ends_ms % 1 == 0 or self.heard_ms + ttl_ms > now_ms:
            self.ends_ms = self.heard_ms + ttl_ms

    def rank(self, now_ms: int, override: int | None) -> int:
        conditions = [self.said.word if override is None else override]
        if override is None and self.stalls_at_ms <= now_ms:
            conditions.append(STALLED)
        if self.why:
            conditions.append(SUSPECT)
        return min(conditions)


@dataclass
class Claim:
    """A hold on one slot."""

    instance: str
    holder: str
    fence: int
    ttl_ms: int
    ends_ms: int
    due_ms: int
    bound: bool

    def lasts(self, now_ms: int) -> None:
        self.due_ms = min(self.ends_ms, now_ms + HELD_MS) if self.bound else self.ends_ms


@dataclass
class Agent:
    """What is known of an agent."""

    name: str
    lives: dict[str, Life] = field(default_factory=dict)
    claims: dict[str, Claim] = field(default_factory=dict)
    fences: list[tuple[str, int]] = field(default_factory=list)
    override: tuple[int, float] | None = None
    rank: int = NEVER_SEEN
    ranks: tuple[int, ...] = ()
    turns_ms: float = inf  # when its state alters by itself
    gone_ms: float = inf  # when it is forgotten
    since_ms: int = 0
    down_ms: int = 0
    why: str = ""
    last_ms: int = 0  # when the last instance was heard last

    def judged(self, now_ms: int) -> tuple[int, tuple[int, ...]]:
        """Tell its state now, and those of its instances."""
        override = self.override[0] if self.override else None
        ranks = tuple(life.rank(now_ms, override) for life in self.lives.values())
        best = max(ranks, default=OFFLINE)
        if best == AVAILABLE and self.claims and len(self.claims) >= self.slots(ranks):
            best = BUSY
        return best, ranks

    def slots(self, ranks: tuple[int, ...]) -> int:
        unfit = (SUSPECT, ERROR, STALLED, DRAINING)
        lives = zip(ranks, self.lives.values(), strict=True)
        return sum(life.said.slots for rank, life in lives if rank not in unfit)

    def turns_next(self, now_ms: int) -> float:
        if self.override:
            return self.override[1]
        stalls = [
            life.stalls_at_ms
            for life in self.lives.values()
            if not life.why and life.said.word > STALLED and life.stalls_at_ms > now_ms
        ]
        return min(stalls, default=inf)


@dataclass(frozen=True)
class Told:
    """One change, as everybody is told of it."""

    kind: str
    was: int
    rank: int
    lasted_ms: int


class Oracle:
    """What should be there, and the changes that should have been told."""

    def __init__(self) -> None:
        self.agents: dict[str, Agent] = {}
        self.told: dict[str, list[Told]] = {}
        self.forgotten_ms: dict[str, int] = {}  # by somebody's word
        self.last_ms = 0  # of the last change: their times never go back
        self.fence = 0
        self.served_ms: int | None = None
        self.restarted = False
        self.gap_ms = 0
        self.back_ms: int | None = None  # the clock went back to then, and nobody has swept since
        self.back_on_ms: dict[str, int] = {}

    def find(self, agent: str, instance: str) -> Life | None:
        return self.agents[agent].lives.get(instance) if agent in self.agents else None

    def settle(self, agent: Agent, now_ms: int, *, news: bool = False, why: str = "") -> None:
        """Note the change if there is one."""
        if agent.override and agent.override[1] <= now_ms:
            agent.override, news = None, True
        for token in [t for t, claim in agent.claims.items() if claim.instance not in agent.lives]:
            del agent.claims[token]
            news = True
        old, former = agent.rank, agent.ranks
        new, agent.ranks = agent.judged(now_ms)
        agent.turns_ms = agent.turns_next(now_ms)
        if old == new and former == agent.ranks and not news:
            return
        at_ms = self.last_ms = max(now_ms, self.last_ms)
        letter = "u" if old == new else kind(old, new)
        lasted_ms = 0
        if letter == "o" and agent.down_ms:
            lasted_ms = at_ms - agent.down_ms
        if letter == "r":
            lasted_ms = at_ms - agent.since_ms
        if old != new:
            agent.rank, agent.since_ms = new, at_ms
            agent.gone_ms, agent.why = inf, ""
            if new == OFFLINE:
                agent.down_ms, agent.gone_ms, agent.why = at_ms, at_ms + KEEP_MS, why
        self.told.setdefault(agent.name, []).append(Told(letter, old, new, lasted_ms))

    def ends(self, agent: Agent, instance: str, now_ms: int, why: str) -> None:
        agent.last_ms = agent.lives.pop(instance).heard_ms
        self.settle(agent, now_ms, news=True, why=why)

    # Beats

    def hello(self, agent: str, instance: str, life: Life, now_ms: int, *, heard_ms: int) -> int:
        known = self.agents.get(agent) or Agent(agent)
        former = known.lives.get(instance)
        fences = known.fences
        if known.rank == NEVER_SEEN:
            fences = [("", self.forgotten_ms.get(agent, 0))]
        for whom, fence_ms in fences:
            if whom in ("", instance) and life.start_ms < fence_ms <= now_ms:
                return OLDER
        if former and former.session != life.session:
            if life.start_ms < former.start_ms <= now_ms:
                return OLDER
        elif former and life.n <= former.n:
            return BEFORE
        if former and former.session == life.session:
            life.start_ms, life.rev = former.start_ms, former.rev
            life.heard_ms, life.ends_ms = former.heard_ms, former.ends_ms
            life.hears(heard_ms, life.said.ttl_ms, now_ms)
        life.takes(life.said, heard_ms)
        self.agents[agent] = known
        known.lives[instance] = life
        news = former is None or (former.said.blob != life.said.blob and not life.said.quiet)
        self.settle(known, now_ms, news=news)
        return DONE

    def tell(self, agent: str, instance: str, said: Says, now_ms: int, heard_ms: int) -> None:
        """The session that has the instance says something."""
        life = self.agents[agent].lives[instance]
        life.n += 1
        life.hears(heard_ms, said.ttl_ms, now_ms)
        self.settle(self.agents[agent], now_ms, news=life.takes(said, heard_ms))

    def post(self, agent: str, instance: str, said: Says, now_ms: int) -> None:
        """Somebody without a session says something of an instance."""
        known = self.agents.setdefault(agent, Agent(agent))
        life = known.lives.get(instance)
        if life is None:
            life = known.lives[instance] = Life("", now_ms, said, 0, now_ms)
            life.takes(said, now_ms)
            life.ends_ms = now_ms + said.ttl_ms
            return self.settle(known, now_ms, news=True)
        if life.session:
            said.ttl_ms = life.said.ttl_ms
            life.rev += 1
            life.heard_ms = max(life.heard_ms, now_ms)
            life.ends_ms = max(life.ends_ms, now_ms + said.ttl_ms)
        else:
            life.n += 1
            life.heard_ms, life.ends_ms = now_ms, now_ms + said.ttl_ms
        return self.settle(known, now_ms, news=life.takes(said, now_ms))

    def renew(self, agent: str, instance: str, now_ms: int, heard_ms: int) -> None:
        life = self.agents[agent].lives[instance]
        ends_ms = heard_ms + life.said.ttl_ms
        tells = life.ends_ms % 1 == 0 and life.ends_ms <= now_ms + life.said.ttl_ms
        if ends_ms > (life.ends_ms if tells else now_ms):
            life.heard_ms, life.ends_ms = max(life.heard_ms, heard_ms), ends_ms

    def breaks(
        self, agent: str, instance: str, now_ms: int, *, grace_ms: int, heard_ms: int
    ) -> None:
        known = self.agents[agent]
        life = known.lives[instance]
        told_ms = heard_ms + life.said.ttl_ms
        most_ms: float = now_ms + grace_ms
        if life.ends_ms % 1 and life.ends_ms > told_ms:
            most_ms -= 0.75  # it still tells nothing
        life.heard_ms = max(life.heard_ms, heard_ms)
        life.ends_ms = min(max(life.ends_ms, told_ms), most_ms)
        life.why = "disconnected"
        self.settle(known, now_ms)

    def leave(self, agent: str, now_ms: int, *instances: str, fence: str | None = None) -> int:
        known = self.agents.get(agent)
        if known is None:
            return NOT_HERE
        if fence is not None:
            others = [f for f in known.fences if fence and f[0] != fence]
            known.fences = [(fence, now_ms), *others]
        if not instances:
            return NOT_HERE
        for instance in reversed(instances):
            known.last_ms = known.lives.pop(instance).heard_ms
        self.settle(known, now_ms, news=True, why="left")
        return DONE

    def rule(self, agent: str, override: tuple[int, float] | None, now_ms: int) -> int:
        """An operator says something of an agent, or takes it back."""
        known = self.agents.get(agent)
        if known is None:
            return NOT_HERE
        former, known.override = known.override, override
        self.settle(known, now_ms, news=former != override)
        return DONE

    # Hubs

    def carry(self, agent: str, instance: str, now_ms: int, ms: int, heard_ms: int) -> None:
        """The hub of its socket goes in order."""
        life = self.agents[agent].lives[instance]
        if life.ends_ms < now_ms + ms:
            life.heard_ms = max(life.heard_ms, heard_ms)
            life.ends_ms = now_ms + ms + 0.25

    def lose(self, node: str, now_ms: int) -> int:
        """A hub is lost; answer how many of its agents' instances are suspect for it."""
        marked = 0
        for _, _, agent, _, life in self._by_end():
            if life.session[:2] != node or life.ends_ms % 1 == 0.25:
                continue
            if not life.why:
                marked += 1
                life.why = "node_lost"
                more_ms = max(LOST_LEAST_MS, min(life.said.ttl_ms, LOST_MOST_MS))
                life.ends_ms = max(life.ends_ms, now_ms + more_ms)
                self.settle(agent, now_ms)
            life.ends_ms = floor(life.ends_ms) + 0.25
        return marked

    def serve(self, now_ms: int) -> int:
        """The service is there; answer from when on leases are held for one full ttl."""
        if self.served_ms is not None:
            back = now_ms < self.served_ms - 1_000
            if back:
                self.back_ms = now_ms
            if back or self.restarted or now_ms - self.served_ms > LONGEST_SILENCE_MS:
                self.gap_ms = now_ms
        self.served_ms, self.restarted = now_ms, False
        return self.gap_ms

    # The sweep

    def sweep(self, now_ms: int, safe_ms: int, limit: int) -> tuple[int, int, int]:
        """Answer how many leases ended, states turned, agents were forgotten."""
        horizon = min(now_ms, safe_ms)
        first = self._by_end()[:limit]  # what is cut now is for the next sweep to end
        if self.back_ms is not None:
            self._clip(now_ms, self.back_ms)
        agents = sorted(self.agents.values(), key=lambda agent: agent.name)
        turned = sorted((a for a in agents if a.turns_ms <= horizon), key=lambda a: a.turns_ms)
        over = sorted(
            (claim.due_ms, f"{token}@{agent.name}", token, agent)
            for agent in agents
            for token, claim in agent.claims.items()
            if claim.due_ms <= horizon
        )
        old = sorted((a for a in agents if a.gone_ms <= now_ms), key=lambda a: a.gone_ms)
        ended = 0
        for ends_ms, _, agent, instance, life in first:
            if ends_ms > horizon:
                continue
            if self.gap_ms + life.said.ttl_ms > horizon:
                life.ends_ms = self.gap_ms + life.said.ttl_ms - 0.5
            else:
                ended += 1
                self.ends(agent, instance, now_ms, life.why or "expired")
        for agent in turned[:limit]:
            self.settle(agent, now_ms)
        for _, _, token, agent in over[:limit]:
            if token in agent.claims:
                self._claim_is_due(agent, token, now_ms, horizon)
        for agent in old[:limit]:
            self.forget(agent.name)
        return ended, len(turned[:limit]), len(old[:limit])

    def _clip(self, now_ms: int, back_ms: int) -> None:
        """What the former clock promised is cut to one ttl from when it went back."""
        for life in (life for agent in self.agents.values() for life in agent.lives.values()):
            if life.ends_ms > now_ms + life.said.ttl_ms:
                life.ends_ms = self.gap_ms + life.said.ttl_ms - 0.5
                life.heard_ms = min(life.heard_ms, back_ms)
        for claim in (claim for agent in self.agents.values() for claim in agent.claims.values()):
            claim.ends_ms = min(claim.ends_ms, now_ms + claim.ttl_ms)
            due_ms = claim.due_ms
            claim.lasts(now_ms)
            claim.due_ms = min(claim.due_ms, due_ms)
        self.back_ms = None

    def _claim_is_due(self, agent: Agent, token: str, now_ms: int, horizon: int) -> None:
        claim = agent.claims[token]
        if claim.bound and claim.ends_ms > now_ms and self.gap_ms + HELD_MS > horizon:
            claim.due_ms = min(claim.ends_ms, self.gap_ms + HELD_MS)
        else:
            del agent.claims[token]
            self.settle(agent, now_ms, news=True)

    def _by_end(self) -> list[tuple[float, str, Agent, str, Life]]:
        leases = [
            (life.ends_ms, SEP.join((agent.name, name, life.session)), agent, name, life)
            for agent in self.agents.values()
            for name, life in agent.lives.items()
        ]
        return sorted(leases, key=lambda lease: lease[:2])

    def forget(self, agent: str) -> None:
        known = self.agents.pop(agent)
        self.told[agent].append(Told("g", known.rank, known.rank, 0))

    def drop(self, agent: str, now_ms: int) -> None:
        """Somebody has it forgotten, living or not."""
        known = self.agents[agent]
        self.forgotten_ms[agent] = now_ms
        known.lives.clear()
        if known.rank != OFFLINE:
            self.settle(known, now_ms, news=True, why="left")
        self.forget(agent)

    # Claims

    def claimable(self, agent: str) -> bool:
        """Tell whether a market may give it to somebody, by what was told of it."""
        known = self.agents[agent]
        slots = known.slots(known.ranks)
        if known.rank == AVAILABLE:
            return len(known.claims) < slots
        return known.rank == BUSY and slots > 1 and len(known.claims) < slots

    def is_late(self, agent: str, instance: str, now_ms: int) -> bool:
        """Tell whether that has run out meanwhile, though nobody has told so."""
        known = self.agents[agent]
        as_told = known.rank, known.ranks
        return known.lives[instance].ends_ms <= now_ms or known.judged(now_ms) != as_told

    def claim(
        self, agent: str, instance: str, token: str, now_ms: int, *, ttl_ms: int, bound: bool
    ) -> int:
        """Answer the fence."""
        known = self.agents[agent]
        self.fence = max(self.fence + 1, now_ms)
        claim = Claim(instance, "h", self.fence, ttl_ms, now_ms + ttl_ms, 0, bound)
        claim.lasts(now_ms)
        known.claims[token] = claim
        self.settle(known, now_ms, news=True)
        return self.fence

    def renew_claim(
        self, agent: str, token: str, now_ms: int, *, ttl_ms: int, bound: bool
    ) -> int | None:
        """Answer when it ends, if it is held still."""
        claim = self.agents[agent].claims[token]
        if claim.ends_ms <= now_ms:
            return None
        claim.ttl_ms, claim.bound = ttl_ms or claim.ttl_ms, bound
        claim.ends_ms = now_ms + claim.ttl_ms
        claim.lasts(now_ms)
        return claim.ends_ms

    def release(self, agent: str, token: str, now_ms: int) -> None:
        del self.agents[agent].claims[token]
        self.settle(self.agents[agent], now_ms, news=True)

    def hold(self, agent: str, token: str, now_ms: int) -> None:
        """The socket of its holder is there."""
        claim = self.agents[agent].claims[token]
        claim.due_ms = max(claim.due_ms, min(claim.ends_ms, now_ms + HELD_MS))
