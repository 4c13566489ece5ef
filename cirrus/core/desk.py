"""The control desk of a run: who fills which slot, who holds which unit, and what everybody is told.

Pure: events in, commands out. The desk sits in shard 0, so that workers and driver only ever connect outwards.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import assert_never

from cirrus.core import leases as units
from cirrus.core.ids import WorkerId
from cirrus.core.messages import (
    Allow,
    Ask,
    Back,
    Beat,
    Bye,
    ClosePool,
    Dismissed,
    Done,
    Drain,
    Expect,
    Fence,
    ForDesk,
    FromWorker,
    Hello,
    Lease,
    Limit,
    Objected,
    Objection,
    OpenPool,
    Order,
    PoolDone,
    Pulse,
    Reopen,
    ToDriver,
    ToWorker,
    TurnedAway,
    UnitDone,
    Welcome,
    WorkerLeft,
    WorkerSeen,
)

EARLY = 10.0
"""Seconds for which a worker that nobody has told of waits for the driver, which is not there."""

SETTLED = 0.5
"""Seconds after which a driver that has come has told of every worker that it had asked for."""


@dataclass(frozen=True, slots=True)
class Spoke:
    """A worker's message has arrived."""

    at: float
    worker: WorkerId
    message: FromWorker


@dataclass(frozen=True, slots=True)
class Dropped:
    """A worker's connection is gone."""

    at: float
    worker: WorkerId


@dataclass(frozen=True, slots=True)
class Ordered:
    """The driver's message has arrived."""

    at: float
    message: ForDesk


@dataclass(frozen=True, slots=True)
class Joined:
    """The driver is connected, and about to tell what it has not told yet."""

    at: float


@dataclass(frozen=True, slots=True)
class Parted:
    """The driver's connection is gone."""

    at: float


@dataclass(frozen=True, slots=True)
class Tick:
    """Time passes."""

    at: float


DeskEvent = Spoke | Dropped | Ordered | Joined | Parted | Tick


@dataclass(frozen=True, slots=True)
class Tell:
    """Send this to a worker."""

    worker: WorkerId
    message: ToWorker


@dataclass(frozen=True, slots=True)
class Report:
    """Send this to the driver."""

    message: ToDriver


@dataclass(frozen=True, slots=True)
class Disconnect:
    """Close a worker's connection after what was sent to it."""

    worker: WorkerId


@dataclass(frozen=True, slots=True)
class Part:
    """A worker that was at work is told to leave: nothing is heard of it any more but its goodbye."""

    worker: WorkerId
    reason: str


DeskCommand = Tell | Report | Disconnect | Part


@dataclass(slots=True)
class _Pool:
    name: str
    work: str
    leases: units.Leases
    expected: dict[int, int] = field(default_factory=dict)
    fenced: dict[int, int] = field(default_factory=dict)
    present: set[WorkerId] = field(default_factory=set)
    asked: dict[WorkerId, int] = field(default_factory=dict)  # how many leases each would like to hold
    resting: set[WorkerId] = field(default_factory=set)  # who asked when all was done
    relieved: set[WorkerId] = field(default_factory=set)  # who is present beside a successor
    finishing: dict[tuple[int, int], Done] = field(default_factory=dict)
    samples: int = 0
    steps: int = 0
    loss: float = 0.0
    memory: int = 0


class Desk:
    """Decides for all pools of a run; see ``handle``."""

    def __init__(self) -> None:
        self._pools: dict[str, _Pool] = {}
        self._over: set[str] = set()
        self._early: dict[WorkerId, Spoke] = {}  # they may be expected, but the driver has not said so
        self._driver: float | None = None  # since when it is here

    def handle(self, event: DeskEvent) -> tuple[DeskCommand, ...]:
        """What must be sent, and who must be cut off, because of this event."""
        match event:
            case Spoke(at, worker, message):
                return self._spoke(at, worker, message)
            case Dropped(at, worker):
                self._early.pop(worker, None)
                return self._left(at, worker, Bye("lost", "the connection is gone"))
            case Ordered(at, message):
                return self._ordered(at, message)
            case Joined(at):
                self._driver = at
                return ()
            case Parted():
                self._driver = None
                return ()
            case Tick(at):
                told = self._has_told(at)
                late = self._dismissed(lambda worker: told or at - self._early[worker].at > EARLY)
                return late + tuple(command for pool in self._pools.values() for command in self._tick(at, pool))
            case _:
                assert_never(event)

    def _spoke(  # noqa: C901, PLR0911  one arm a message
        self, at: float, worker: WorkerId, message: FromWorker
    ) -> tuple[DeskCommand, ...]:
        if isinstance(message, Hello):
            if not self._has_told(at) and self._is_early(worker):
                self._early[worker] = Spoke(at, worker, message)
                return ()
            return self._hello(at, worker, message)
        pool = self._pools.get(worker.pool)
        if pool is None or worker not in pool.present:
            return _sent_away(worker, "this attempt is over")
        match message:
            case Ask(count):
                pool.asked[worker] = count
                return self._wanting(at, pool, worker)
            case Beat():
                return self._beat(at, pool, worker, message)
            case Done(unit, lease, beat=beat):
                heard = () if beat is None else self._beat(at, pool, worker, beat)
                pool.finishing[unit, lease] = message
                done = self._leased(at, pool, units.Finished(at, worker, unit, lease))
                return (*heard, *done, *self._wanting(at, pool, worker))
            case Back(unit, lease):
                return self._leased(at, pool, units.Returned(at, worker, unit, lease))
            case Bye():
                return (*self._left(at, worker, message), Disconnect(worker))
            case Objected(name, problem, line, column):
                return (Report(Objection(pool.name, name, problem, line, column)),)
            case _:
                assert_never(message)

    def _has_told(self, at: float) -> bool:
        return self._driver is not None and at - self._driver > SETTLED

    def _is_early(self, worker: WorkerId) -> bool:
        """Whether it may be that the driver expects the worker and has had no chance to say so."""
        pool = self._pools.get(worker.pool)
        if pool is None:
            return worker.pool not in self._over
        return worker.attempt > max(pool.expected.get(worker.slot, 0), pool.fenced.get(worker.slot, 0))

    def _dismissed(self, unwanted: Callable[[WorkerId], bool]) -> tuple[DeskCommand, ...]:
        """Send those away who came early and are not wanted."""
        gone = [worker for worker in self._early if unwanted(worker)]
        for worker in gone:
            del self._early[worker]
        return tuple(command for worker in gone for command in _dismissed(worker, "nobody expects this attempt"))

    def _expect(self, at: float, worker: WorkerId) -> tuple[DeskCommand, ...]:
        if worker.pool not in self._pools:
            return ()
        self._pools[worker.pool].expected[worker.slot] = worker.attempt
        early = self._early.pop(worker, None)
        before = self._dismissed(lambda other: other.place == worker.place and other.attempt < worker.attempt)
        return before if early is None else (*before, *self._spoke(at, worker, early.message))

    def _hello(self, at: float, worker: WorkerId, hello: Hello) -> tuple[DeskCommand, ...]:
        pool = self._pools.get(worker.pool)
        if pool is None:
            return _dismissed(worker, "nothing is to be done here")
        if pool.expected.get(worker.slot) != worker.attempt:
            return _dismissed(worker, "another attempt fills this slot")
        if worker in pool.present:
            return (Report(TurnedAway(worker)), *_sent_away(worker, "this attempt is here already"))
        relieved = self._relieved(at, pool, worker)
        pool.present.add(worker)
        heard = self._leased(at, pool, units.Beat(at, worker))  # from now on its silence is noticed
        return (Tell(worker, Welcome(pool.work)), Report(WorkerSeen(worker, hello.pid)), *heard, *relieved)

    def _relieved(self, at: float, pool: _Pool, successor: WorkerId) -> tuple[DeskCommand, ...]:
        """Who filled the slot until now, and would soon have left by itself, hands back what it holds and leaves."""
        commands: list[DeskCommand] = []
        for worker in sorted(one for one in pool.present if one.place == successor.place):
            pool.relieved.add(worker)
            commands.append(Tell(worker, Order("drain", "its successor is here")))
            commands += self._leased(at, pool, units.Asked(at, worker, 0))
        return tuple(commands)

    def _wanting(self, at: float, pool: _Pool, worker: WorkerId) -> tuple[DeskCommand, ...]:
        """The worker would like to hold as many leases as it said last, unless its successor is here."""
        if worker in pool.relieved or worker not in pool.asked:
            return ()
        return self._leased(at, pool, units.Asked(at, worker, pool.asked[worker]))

    def _beat(self, at: float, pool: _Pool, worker: WorkerId, beat: Beat) -> tuple[DeskCommand, ...]:
        pool.samples += beat.samples
        pool.steps += beat.steps
        pool.loss += beat.loss
        pool.memory = max(pool.memory, beat.memory)
        return self._leased(at, pool, units.Beat(at, worker))

    def _left(self, at: float, worker: WorkerId, bye: Bye) -> tuple[DeskCommand, ...]:
        pool = self._pools.get(worker.pool)
        if pool is None or worker not in pool.present:
            return ()
        pool.present.remove(worker)
        pool.relieved.discard(worker)
        left = Report(WorkerLeft(worker, bye.kind, bye.detail, bye.seconds, bye.gets, bye.puts))
        return (left, *self._leased(at, pool, units.Gone(at, worker)))

    def _ordered(  # noqa: C901, PLR0911  one arm a message
        self, at: float, message: ForDesk
    ) -> tuple[DeskCommand, ...]:
        match message:
            case OpenPool(name, work, total, staleness, timeout, first, floor):
                self._over.discard(name)
                leases = units.Leases(total, staleness, timeout, first, floor)
                pool = self._pools[name] = _Pool(name, work, leases)
                return self._leased(at, pool, units.Tick(at))
            case Expect(worker):
                return self._expect(at, worker)
            case Fence(worker, reason):
                return self._fence(at, worker, reason)
            case Drain(worker, reason):
                here = worker.pool in self._pools and worker in self._pools[worker.pool].present
                return (Tell(worker, Order("drain", reason)),) if here else ()
            case ClosePool(name):
                closed = self._pools.pop(name, None)
                self._over.add(name)
                early = self._dismissed(lambda worker: worker.pool == name)
                present = sorted(closed.present) if closed is not None else ()
                return (*early, *(Part(worker, "the work is done") for worker in present))
            case Limit(name, total):
                return self._bounded(at, name, units.Limited(at, total))
            case Reopen(name, lost):
                return (*self._bounded(at, name, units.Reopened(at, lost)), *self._wake(at, name))
            case Allow(name, below):
                return self._bounded(at, name, units.Allowed(at, below))
            case _:
                assert_never(message)

    def _fence(self, at: float, worker: WorkerId, reason: str) -> tuple[DeskCommand, ...]:
        pool = self._pools.get(worker.pool)
        if pool is None:
            return ()
        pool.fenced[worker.slot] = max(worker.attempt, pool.fenced.get(worker.slot, 0))
        if pool.expected.get(worker.slot, 0) <= worker.attempt:
            pool.expected.pop(worker.slot, None)
        ghosts = [one for one in pool.present if one.slot == worker.slot and one.attempt <= worker.attempt]
        commands = [
            *self._dismissed(lambda other: other.place == worker.place and other.attempt <= worker.attempt)
        ]
        for ghost in ghosts:
            pool.present.remove(ghost)
            commands += [Part(ghost, reason), *self._leased(at, pool, units.Gone(at, ghost))]
        return tuple(commands)

    def _bounded(self, at: float, name: str, event: units.LeaseEvent) -> tuple[DeskCommand, ...]:
        pool = self._pools.get(name)
        return () if pool is None else self._leased(at, pool, event)

    def _wake(self, at: float, name: str) -> tuple[DeskCommand, ...]:
        """There is something to do again: who had nothing left to do asks once more, without a word of its own."""
        pool = self._pools.get(name)
        commands: list[DeskCommand] = []
        while pool is not None and pool.resting and not pool.leases.finished:
            worker = min(pool.resting)
            pool.resting.discard(worker)
            if worker in pool.present:
                commands += self._leased(at, pool, units.Asked(at, worker, pool.asked[worker]))
        return tuple(commands)

    def _tick(self, at: float, pool: _Pool) -> tuple[DeskCommand, ...]:
        return (*self._leased(at, pool, units.Tick(at)), *_pulse(pool))

    def _leased(self, at: float, pool: _Pool, event: units.LeaseEvent) -> tuple[DeskCommand, ...]:
        """Tell the lease machine, and carry out what it says."""
        commands: list[DeskCommand] = []
        found = pool.leases.handle(event)
        if isinstance(event, units.Finished):
            done = pool.finishing.pop((event.unit, event.lease))
            if not any(isinstance(command, units.Ignored) for command in found):
                report = UnitDone(pool.name, done.unit, done.lease, done.rows, done.output, done.figures)
                commands += [*_pulse(pool), Report(report)]  # in this order: the last unit may be the stage's end
        for command in found:
            commands += self._carried_out(at, pool, command)
        return tuple(commands)

    def _carried_out(self, at: float, pool: _Pool, command: units.LeaseCommand) -> tuple[DeskCommand, ...]:
        match command:
            case units.Granted(worker, unit, lease):
                return (Tell(worker, Lease(unit, lease)),)
            case units.Expired(worker):
                gone = self._left(at, worker, Bye("lost", "nothing was heard of it for too long"))
                return (*gone, Part(worker, "nothing was heard of you for too long"))
            case units.Completed():
                return (*_pulse(pool), Report(PoolDone(pool.name)))
            case units.Exhausted(worker):
                # Who has nothing left to do stays: what was lost with a shard may have to be done again.
                pool.resting.add(worker)
                return ()
            case units.Ignored():
                return ()
            case _:
                assert_never(command)


def _pulse(pool: _Pool) -> tuple[DeskCommand, ...]:
    """What the pool's workers did since the last time, if anything."""
    if not (pool.steps or pool.memory):
        return ()
    pulse = Pulse(pool.name, pool.samples, pool.steps, pool.loss, pool.memory)
    pool.samples, pool.steps, pool.loss, pool.memory = 0, 0, 0.0, 0
    return (Report(pulse),)


def _dismissed(worker: WorkerId, reason: str) -> tuple[DeskCommand, ...]:
    """Send a worker away that has only said hello."""
    return (Report(Dismissed(worker)), *_sent_away(worker, reason))


def _sent_away(worker: WorkerId, reason: str) -> tuple[DeskCommand, ...]:
    return Tell(worker, Order("leave", reason)), Disconnect(worker)

