"""Wakes agents: begins runs that are due, hands each to its agent, ends what nobody reports.

Whoever is handed a due schedule judges it and writes; of several hubs one succeeds. A run goes with
that very step to the hub that has the chosen socket. There it is sent once a connection, and known
to have come when its peer answers the ping behind it; if the connection ends before, it is looked
after, and sent to another.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from lifesigns.core import run as runs
from lifesigns.core import schedule as schedules
from lifesigns.core.errors import Forbidden, LifesignsError, NotFound, Unavailable
from lifesigns.core.model import Presence
from lifesigns.core.run import LOOK_MS, POLL, SOCKET, WEBHOOK, Report, Run
from lifesigns.core.schedule import NO_ANSWER, NOT_CONNECTED, Turn
from lifesigns.store.clock import StoreClock
from lifesigns.store.inbox import Bell, Inbox
from lifesigns.store.ingest import Ingest
from lifesigns.store.ledger import TRIES, Doc, Step, Tell, Write
from lifesigns.store.link import ReplyError
from lifesigns.store.schedule import RUN, RUNS_RING, Begun, Kept, Schedules
from lifesigns.store.store import Store
from lifesigns.workers.agenda import Place
from lifesigns.workers.caller import Caller

log = logging.getLogger(__name__)

# Each is thirty commands of a script and half a millisecond of this hub, in all partitions at once.
STEPS_AT_ONCE = 8
RECEIVED_S = 0.25  # a run that is reported by then need not be noted as received
REMEMBERED = 20_000  # runs that were sent from here, until they are reported


class Plan(NamedTuple):
    """What becomes of a run, and who is told of it with that."""

    run: Run
    tells: tuple[Tell, ...] = ()


class Scheduler:
    """The runs of all projects, as far as this hub has to do with them."""

    def __init__(
        self,
        schedules: Schedules,
        store: Store,
        ingest: Ingest,
        letters: Inbox,
        clock: StoreClock,
        caller: Caller,
        new_token: Callable[[], str],
    ) -> None:
        self.schedules = schedules
        self._ledger = schedules.ledger
        self._store = store
        self._ingest = ingest
        self._letters = letters
        self._clock = clock
        self._caller = caller
        self._new_token = new_token
        self._loop = asyncio.get_running_loop()
        self._sent: dict[str, str] = {}  # run -> session of this hub that it went to
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def now_ms(self) -> int:
        return self._clock.at_ms(self._loop.time())

    # What is due.

    async def schedules_due(self, place: Place, docs: Sequence[Doc], now_ms: int) -> None:
        """Begin or skip what is due; who comes second has done nothing."""
        due = [Kept(doc.version, schedules.unpack(doc.body)) for doc in docs]
        agents = list(dict.fromkeys(kept.schedule.agent for kept in due))
        read = await self._store.readings(place.project, agents)
        presences = {agent: each.presence for agent, each in zip(agents, read, strict=True)}
        laden: set[str] = set()
        for start in range(0, len(due), STEPS_AT_ONCE):
            steps, begun = [], []
            for kept in due[start : start + STEPS_AT_ONCE]:
                agent = kept.schedule.agent
                step, run = await self._wake(place, kept, presences[agent], laden, now_ms)
                steps.append(step)
                begun.append(run)
            done = await self._ledger.commit_each(place.project, steps, place.number)
            for run, versions in zip(begun, done, strict=True):
                if run is not None and versions is not None:
                    await self._begun(place.project, run)

    async def _wake(
        self,
        place: Place,
        kept: Kept,
        presence: Presence | None,
        laden: set[str],
        now_ms: int,
    ) -> tuple[Step, Run | None]:
        schedule, agent = kept.schedule, kept.schedule.agent
        if not schedule.runs or schedule.due_ms is None:  # as a hub of another version left it
            off = Turn(replace(schedule, due_ms=None))
            return self.schedules.step(off, kept, agent=agent), None
        turn = schedules.fall_due(schedule, now_ms, self._new_token(), self.schedules.terms)
        turn, tells = await self._handed(place.project, turn, presence, laden, now_ms)
        run = turn.runs[-1]
        return self.schedules.step(turn, kept, agent=agent, tells=tells), run if run.open else None

    async def _handed(
        self,
        project: str,
        turn: Turn,
        presence: Presence | None,
        laden: set[str],
        now_ms: int,
    ) -> tuple[Turn, tuple[Tell, ...]]:
        """Find the way for a run that begins; one for which there is none has failed."""
        run = turn.runs[-1]
        if not run.open:
            return turn, ()
        plan = await self._route(project, run, presence, laden, now_ms)
        if plan is None:
            failed = schedules.fail(turn.schedule, run, NOT_CONNECTED, now_ms)
            return failed._replace(
                runs=turn.runs[:-1] + failed.runs, told=turn.told[:-1] + failed.told
            ), ()
        return turn._replace(runs=(*turn.runs[:-1], plan.run)), plan.tells

    async def _route(
        self,
        project: str,
        run: Run,
        presence: Presence | None,
        laden: set[str],
        now_ms: int,
        missed: str = "",
    ) -> Plan | None:
        """Choose the way to an agent; None if there is none."""
        chosen = None if presence is None else runs.choose(presence, laden, missed)
        if chosen is not None:
            session, instance = chosen
            laden.add(session)
            sent = replace(
                *(run,), via=SOCKET, session=session, instance=instance, look_ms=_look(run, now_ms)
            )
            return Plan(replace(sent, tries=run.tries + 1), (_tell(sent),))
        if runs.has_socket(presence):  # none takes work now, or it may be on its way back
            return Plan(_waits(run, now_ms))
        if run.webhook_url is not None:
            return Plan(replace(run, via=WEBHOOK, tries=0, look_ms=now_ms))
        if await self.schedules.polled(project, run.agent):
            return Plan(replace(run, via=POLL, look_ms=None))
        return None

    async def _begun(self, project: str, run: Run) -> None:
        if run.via == POLL:
            await self._put_letter(project, run)

    async def _put_letter(self, project: str, run: Run) -> None:
        frame = {name: value for name, value in runs.frame(run).items() if name != "type"}
        try:
            await self._letters.add(project, run.agent, "run", frame)
        except NotFound:
            log.debug("an agent that was never seen has no inbox; it asks for its runs")

    async def runs_due(self, place: Place, docs: Sequence[Doc], now_ms: int) -> None:
        """Look after runs: on their way, out of time, or old."""
        begun = [Begun(doc.version, runs.unpack(doc.body)) for doc in docs]
        old = [each for each in begun if not each.run.open]
        if old:
            drops = [Step([Write(RUN, each.run.id, each.version, None)]) for each in old]
            await self._ledger.commit_each(place.project, drops, place.number)
        over = [each for each in begun if each.run.open and each.run.deadline_ms <= now_ms]
        if over:
            await self._give_up(place, over, now_ms)
        for each in begun:
            if each.run.open and each.run.deadline_ms > now_ms:
                await self._look_after(place, each, now_ms)

    async def _give_up(self, place: Place, over: Sequence[Begun], now_ms: int) -> None:
        ids = list(dict.fromkeys(each.run.schedule for each in over))
        kept = await self.schedules.read(place.project, ids, place.number)
        steps = []
        for each in over:
            schedule = kept[each.run.schedule]
            why = NO_ANSWER if each.run.via else NOT_CONNECTED
            turn = schedules.fail(schedule and schedule.schedule, each.run, why, now_ms)
            steps.append(self.schedules.step(turn, schedule, each, agent=each.run.agent))
        # One that was altered meanwhile is due again at once.
        await self._ledger.commit_each(place.project, steps, place.number)

    async def _look_after(self, place: Place, begun: Begun, now_ms: int) -> None:
        run = begun.run
        if run.via == WEBHOOK:
            await self._call(place, begun, now_ms)
            return
        presence = (await self._store.readings(place.project, [run.agent]))[0].presence
        if run.via == SOCKET and _is_there(presence, run.session):
            # Told again: its hub sends it once a connection, however often it is told.
            again = replace(run, tries=run.tries + 1, look_ms=_look(run, now_ms))
            plan: Plan | None = Plan(again, (_tell(again),))
        else:
            lost = replace(run, via="", session="", instance="")
            plan = await self._route(place.project, lost, presence, set(), now_ms, run.session)
        if plan is None:
            plan = Plan(_waits(replace(run, via="", session="", instance=""), now_ms))
        step = replace(self.schedules.note(begun, plan.run), tells=plan.tells)
        done = await self._ledger.commit_each(place.project, [step], place.number)
        if done[0] is not None and plan.run.via == POLL:
            await self._put_letter(place.project, plan.run)

    # By webhook.

    async def _call(self, place: Place, begun: Begun, now_ms: int) -> None:
        """Take the call that is due, and make it apart: an answer may take a while."""
        run = self._caller.taken(begun.run, now_ms)
        ids = [run.schedule]
        kept = (await self.schedules.read(place.project, ids, place.number))[run.schedule]
        step = self.schedules.note(begun, run)
        if (await self._ledger.commit_each(place.project, [step], place.number))[0] is not None:
            secret = None if kept is None else kept.schedule.webhook_secret
            self._spawn(self._called(place.project, run, secret))

    async def _called(self, project: str, run: Run, secret: str | None) -> None:
        outcome = await self._caller.call(project, run, secret, self.now_ms)
        if outcome.report is not None:
            await self.report(project, run.agent, run.id, outcome.report)
        elif outcome.failed is not None:
            why = outcome.failed
            await self._close(
                project, run.id, lambda kept, open_: schedules.fail(kept, open_, why, self.now_ms)
            )
        else:
            await self._note(project, run.id, lambda open_: replace(open_, look_ms=outcome.look_ms))

    # By socket.

    def told(self, frame: Mapping[str, Any], session: str) -> None:
        """A run came for a session of this hub."""
        lease, run = self._ingest.leases.get(session), frame["run"]
        if lease is None or not lease.epoch or self._sent.get(run) == session:
            return  # gone, or its welcome comes first, or it is under way
        project = lease.lane.project
        if lease.holder.hand(frame, lambda: self._received(project, run, session)):
            self._sent[run] = session
            while len(self._sent) > REMEMBERED:
                del self._sent[next(iter(self._sent))]

    def _received(self, project: str, run: str, session: str) -> None:
        self._loop.call_later(RECEIVED_S, self._note_received, project, run, session)

    def _note_received(self, project: str, run: str, session: str) -> None:
        if self._sent.get(run) != session:
            return  # it was reported meanwhile

        def received(open_: Run) -> Run:
            if open_.session != session:
                return open_
            return replace(open_, received=True, look_ms=None)

        self._spawn(self._note(project, run, received))

    # Reports.

    async def report(self, project: str, agent: str, run: str, report: Report) -> Run:
        """Take a report; answer the run as it is then. Said twice it is the same."""
        if runs.agent_of_run(run) != agent:
            raise Forbidden(f"This run is of {runs.agent_of_run(run)!r}, not of {agent!r}.")

        def finish(kept: schedules.Schedule | None, begun: Run) -> Turn | None:
            if not runs.check_report(begun, agent, report):
                return None
            return schedules.finish(kept, begun, report, self.now_ms)

        closed = await self._close(project, run, finish)
        if closed is None:
            raise NotFound(f"There is no run {run[:64]!r}.", field="run")
        self._sent.pop(run, None)
        return closed

    async def _close(
        self,
        project: str,
        run: str,
        judge: Callable[[schedules.Schedule | None, Run], Turn | None],
    ) -> Run | None:
        """Judge a run with its schedule, anew if somebody else was first; None: there is none."""
        for _ in range(TRIES):
            begun = await self.schedules.run(project, run)
            if begun is None:
                return None
            agent = begun.run.agent
            kept = await self.schedules.get(project, agent, begun.run.schedule)
            turn = judge(kept and kept.schedule, begun.run)
            if turn is None:
                return begun.run
            step = self.schedules.step(turn, kept, begun, agent=agent)
            if (await self._ledger.commit_each(project, [step], agent))[0] is not None:
                return turn.runs[-1]
        raise Unavailable("Too many change this at once.")

    async def _note(self, project: str, run: str, change: Callable[[Run], Run]) -> None:
        """Alter how far an open run is on its way."""
        for _ in range(TRIES):
            begun = await self.schedules.run(project, run)
            if begun is None or not begun.run.open or change(begun.run) == begun.run:
                return
            step = self.schedules.note(begun, change(begun.run))
            if (await self._ledger.commit_each(project, [step], begun.run.agent))[0] is not None:
                return

    # By hand.

    async def trigger(self, project: str, kept: Kept) -> Run | None:
        """Begin a run of a schedule as it was read; None if somebody else altered it."""
        agent, now_ms = kept.schedule.agent, self.now_ms
        turn = schedules.trigger(kept.schedule, now_ms, self._new_token(), self.schedules.terms)
        presence = (await self._store.readings(project, [agent]))[0].presence
        turn, tells = await self._handed(project, turn, presence, set(), now_ms)
        step = self.schedules.step(turn, kept, agent=agent, tells=tells)
        if (await self._ledger.commit_each(project, [step], agent))[0] is None:
            return None
        run = turn.runs[-1]
        if run.open:
            await self._begun(project, run)
        return run

    async def wait(self, project: str, run: Run, wait_s: float, bell: Bell) -> Run:
        """Wait until a run is closed; answer it as it is then, or when the time is over."""

        async def look() -> Run | None:
            begun = await self.schedules.run(project, run.id)
            return begun.run if begun is not None and not begun.run.open else None

        closed = await self._letters.await_ring(
            project, run.agent, run.agent + RUNS_RING, look, wait_s, bell
        )
        return closed or run

    async def listed(self, project: str, agent: str, wait_s: float, bell: Bell) -> list[Run]:
        """List the open runs of an agent; if there are none, wait for one."""

        async def look() -> list[Run]:
            self.schedules.note_poll(project, agent)
            return await self.schedules.open(project, agent)

        found = await self._letters.await_ring(
            project, agent, agent + RUNS_RING, look, wait_s, bell
        )
        return found or []

    # Tasks.

    def _spawn(self, work: Awaitable[None]) -> None:
        task = self._loop.create_task(self._guarded(work))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _guarded(self, work: Awaitable[None]) -> None:
        try:
            await work
        except (LifesignsError, ReplyError) as error:  # it is looked after again
            log.info("a run could not be noted: %s", error)
        except Exception:
            log.exception("a run could not be looked after")


def _look(run: Run, now_ms: int) -> int:
    return now_ms + LOOK_MS[min(run.tries, len(LOOK_MS) - 1)]


def _waits(run: Run, now_ms: int) -> Run:
    return replace(run, tries=run.tries + 1, look_ms=_look(run, now_ms))


def _tell(run: Run) -> Tell:
    return Tell(run.session, ("run", runs.frame(run), run.session))


def _is_there(presence: Presence | None, session: str) -> bool:
    return presence is not None and any(each.session == session for each, _ in presence.instances)
