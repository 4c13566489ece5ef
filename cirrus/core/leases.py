"""Hands out units of work: each to one worker at a time, again to another when that one is gone, until all are done.

The number of a lease grows with every grant, over all units, so that a unit's newest lease has the highest number: the
fence in the shards' ledgers. Units that came back go out before new ones, the smallest first, and none goes out that is
``staleness`` or more ahead of the smallest unfinished one. A worker that was silent for ``timeout`` is lost. One that
takes far longer than its peers is relieved of its unit by a worker that holds none (``cirrus.core.stragglers``).

The smallest unfinished unit is always free, held by somebody who beats, or about to be freed; so while anybody asks and
beats, every unit gets finished. What is remembered of finished units is the number below which all were finished, and
the few exceptions on either side of it.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from heapq import heapify, heappop, heappush
from itertools import islice
from typing import assert_never

from cirrus import checks
from cirrus.core.ids import WorkerId
from cirrus.core.stragglers import Pace


@dataclass(frozen=True, slots=True)
class Asked:
    """A worker wants to hold ``count`` leases, those that it holds included: now, or as soon as units are free.

    It is asked for once: a worker that wants more later, or that handed something back, asks again.
    """

    at: float
    worker: WorkerId
    count: int


@dataclass(frozen=True, slots=True)
class Beat:
    """A worker is alive."""

    at: float
    worker: WorkerId


@dataclass(frozen=True, slots=True)
class Finished:
    """A worker has finished a unit under a lease."""

    at: float
    worker: WorkerId
    unit: int
    lease: int


@dataclass(frozen=True, slots=True)
class Returned:
    """A worker hands a lease back with the unit unfinished."""

    at: float
    worker: WorkerId
    unit: int
    lease: int


@dataclass(frozen=True, slots=True)
class Gone:
    """A worker has left or is fenced: all that it holds is free again."""

    at: float
    worker: WorkerId


@dataclass(frozen=True, slots=True)
class Tick:
    """Time has passed."""

    at: float


@dataclass(frozen=True, slots=True)
class Limited:
    """There are no units ``total`` and above; a limit is never raised again."""

    at: float
    total: int


@dataclass(frozen=True, slots=True)
class Allowed:
    """Units below ``below`` may go out, others not yet; without such an event there is no such limit."""

    at: float
    below: int


@dataclass(frozen=True, slots=True)
class Reopened:
    """Finished units whose effect was lost have to be done again."""

    at: float
    units: tuple[int, ...]


LeaseEvent = Asked | Beat | Finished | Returned | Gone | Tick | Limited | Allowed | Reopened


@dataclass(frozen=True, slots=True)
class Granted:
    """A worker holds a unit under this lease."""

    worker: WorkerId
    unit: int
    lease: int


@dataclass(frozen=True, slots=True)
class Expired:
    """A worker was silent for too long; what it held is free again."""

    worker: WorkerId


@dataclass(frozen=True, slots=True)
class Exhausted:
    """All units are finished: a worker that asked may leave."""

    worker: WorkerId


@dataclass(frozen=True, slots=True)
class Completed:
    """All units are finished; said again only after some were reopened."""


@dataclass(frozen=True, slots=True)
class Ignored:
    """A finish under a lease that is not the unit's current one counts for nothing."""

    worker: WorkerId
    unit: int
    reason: str


LeaseCommand = Granted | Expired | Exhausted | Completed | Ignored


@dataclass(frozen=True, slots=True)
class Lease:
    """Who holds a unit, under which number."""

    worker: WorkerId
    number: int


class Leases:
    """The units ``0..total-1`` of a pool and who holds them; ``total`` ``None``: no end until ``Limited``.

    ``first`` is the number of the first lease: a machine that goes on with the same units after another, which is
    lost, has to start above all of that one's numbers. The units below ``floor`` are finished already.
    """

    def __init__(self, total: int | None, staleness: int, timeout: float, first: int = 1, floor: int = 0) -> None:
        checks.integer("leases.staleness", staleness, 1, 10**9)
        checks.positive("leases.timeout", timeout)
        self._total = total
        self._below: int | None = None
        self._staleness = staleness
        self._timeout = timeout
        self._lease = first - 1
        self._next = floor  # the smallest unit that never went out
        self._free: list[int] = []  # a heap of units below that which are to go out again
        self._held: dict[int, Lease] = {}
        self._by: dict[WorkerId, dict[int, int]] = {}  # what each worker holds: unit -> lease
        self._heard: OrderedDict[WorkerId, float] = OrderedDict()  # the longest silent first
        self._wanting: OrderedDict[WorkerId, int] = OrderedDict()  # who asked for how many and has fewer
        self._top = floor  # the units below are finished, but for the holes
        self._holes: list[int] = []  # reopened units below the top, ascending
        self._above: set[int] = set()  # finished units above the top
        self._complete = False
        self._pace = Pace()
        self._relieved: dict[int, Lease] = {}  # units that went out again, under which lease a slow worker has them

    @property
    def done(self) -> int:
        """How many units are finished."""
        return self._top - len(self._holes) + len(self._above)

    @property
    def floor(self) -> int:
        """The smallest unfinished unit: everything below is finished."""
        return self._holes[0] if self._holes else self._top

    @property
    def finished(self) -> bool:
        """Whether all units are finished."""
        return self._total is not None and self.floor >= self._total

    @property
    def held(self) -> Mapping[int, Lease]:
        """Who holds which unit."""
        return self._held

    @property
    def next_tick(self) -> float | None:
        """When ``Tick`` has something to do next; ``None``: not before another event."""
        times = [at + self._timeout for at in islice(self._heard.values(), 1)]
        due = self._pace.due(self.done)
        if due is not None and self._idle() is not None:
            times.append(due[0])
        return min(times, default=None)

    def holds(self, worker: WorkerId) -> tuple[tuple[int, int], ...]:
        """The units that a worker holds, each with the number of its lease."""
        return tuple(self._by.get(worker, {}).items())

    def handle(self, event: LeaseEvent) -> tuple[LeaseCommand, ...]:
        """Take in what happened and say who gets what, in this order."""
        out: list[LeaseCommand] = []
        match event:
            case Asked(at, worker, count):
                self._hear(worker, at)
                self._want(worker, count)
            case Beat(at, worker):
                self._hear(worker, at)
            case Finished() | Returned() | Gone():
                self._ended(event, out)
            case Tick(at):
                self._expire(at, out)
            case Limited(total=total):
                self._limit(total)
            case Allowed(below=below):
                self._below = below
            case Reopened(units=units):
                self._reopen(units)
            case _:
                assert_never(event)
        self._settle(event.at, out)
        return tuple(out)

    def _ended(self, event: Finished | Returned | Gone, out: list[LeaseCommand]) -> None:
        worker = event.worker
        if worker in self._heard:
            self._hear(worker, event.at)
        match event:
            case Finished(_, _, unit, lease):
                if self._take(worker, unit, lease) or self._relieved.get(unit) == Lease(worker, lease):
                    self._finish(event.at, unit)
                else:
                    out.append(Ignored(worker, unit, self._why(unit)))
            case Returned(_, _, unit, lease):
                self._want(worker, 0)  # or it might get back at once what it cannot do
                if self._take(worker, unit, lease):
                    self._free_again(unit)
            case Gone():
                self._forget(worker)
            case _:
                assert_never(event)

    def _hear(self, worker: WorkerId, at: float) -> None:
        self._heard[worker] = at
        self._heard.move_to_end(worker)

    def _want(self, worker: WorkerId, count: int) -> None:
        self._wanting.pop(worker, None)
        if len(self._by.get(worker, ())) < count:
            self._wanting[worker] = count

    def _take(self, worker: WorkerId, unit: int, lease: int) -> bool:
        """Take the unit from the worker; whether it held the unit under that lease."""
        if self._held.get(unit) != Lease(worker, lease):
            return False
        self._drop(unit)
        return True

    def _why(self, unit: int) -> str:
        if self._total is not None and unit >= self._total:
            return "the unit is not wanted any more"
        if unit in self._held:
            return "the unit was leased again"
        done = unit < self._next and unit not in self._free
        return "the unit is finished already" if done else "the lease is over"

    def _drop(self, unit: int) -> None:
        lease = self._held.pop(unit)
        del self._by[lease.worker][unit]

    def _finish(self, at: float, unit: int) -> None:
        self._pace.finished(at, unit)
        self._relieved.pop(unit, None)
        if unit in self._held:  # by whoever relieved the one that was faster after all
            self._drop(unit)
        if unit < self._top:
            del self._holes[bisect_left(self._holes, unit)]
            return
        self._above.add(unit)
        while self._top in self._above:
            self._above.remove(self._top)
            self._top += 1

    def _reopen(self, units: tuple[int, ...]) -> None:
        for unit in units:
            if not self._is_finished(unit):
                continue
            if unit < self._top:
                insort(self._holes, unit)
            else:
                self._above.remove(unit)
            heappush(self._free, unit)
            self._complete = False

    def _is_finished(self, unit: int) -> bool:
        if unit >= self._top:
            return unit in self._above
        place = bisect_left(self._holes, unit)
        return unit >= 0 and self._holes[place : place + 1] != [unit]

    def _forget(self, worker: WorkerId) -> None:
        self._heard.pop(worker, None)
        self._wanting.pop(worker, None)
        for unit in [unit for unit, lease in self._relieved.items() if lease.worker == worker]:
            del self._relieved[unit]
        for unit in self._by.pop(worker, {}):
            del self._held[unit]
            self._free_again(unit)

    def _free_again(self, unit: int) -> None:
        self._pace.dropped(unit)
        self._relieved.pop(unit, None)
        heappush(self._free, unit)

    def _expire(self, at: float, out: list[LeaseCommand]) -> None:
        while self._heard:
            worker, heard = next(iter(self._heard.items()))
            if heard + self._timeout > at:
                break
            self._forget(worker)
            out.append(Expired(worker))

    def _limit(self, total: int) -> None:
        if self._total is not None and total >= self._total:
            return
        self._total = total
        for unit in [one for one in self._held if one >= total]:
            self._drop(unit)
            self._pace.dropped(unit)
            self._relieved.pop(unit, None)
        self._top = min(self._top, total)
        self._above = {one for one in self._above if one < total}
        self._holes = [one for one in self._holes if one < total]
        self._free = [one for one in self._free if one < total]
        heapify(self._free)

    def _available(self) -> bool:
        unit = self._free[0] if self._free else self._next
        ends = (self._total, self._below, self.floor + self._staleness)
        return all(end is None or unit < end for end in ends)

    def _idle(self) -> WorkerId | None:
        """The first that asked for units and holds none."""
        return next((worker for worker in self._wanting if not self._by.get(worker)), None)

    def _relieve(self, at: float, out: list[LeaseCommand]) -> None:
        """Give the unit that is held far too long to somebody idle."""
        while (idle := self._idle()) is not None and (due := self._pace.due(self.done)) is not None and due[0] <= at:
            unit = due[1]
            self._relieved[unit] = self._held[unit]
            self._drop(unit)
            self._pace.reliefs += 1
            count = self._wanting.pop(idle)
            out.append(self._grant(at, idle, unit))
            self._want(idle, count)

    def _settle(self, at: float, out: list[LeaseCommand]) -> None:
        """Hand out what may go out, one unit to each that wants some in turn; say so when all is done."""
        while self._wanting and self._available():
            worker, count = self._wanting.popitem(last=False)
            self._next += not self._free
            out.append(self._grant(at, worker, heappop(self._free) if self._free else self._next - 1))
            if len(self._by[worker]) < count:
                self._wanting[worker] = count  # at the end of the row
        if self.finished:
            if not self._complete:
                self._complete = True
                out.append(Completed())
            out += [Exhausted(worker) for worker in self._wanting]
            self._wanting.clear()
        self._relieve(at, out)

    def _grant(self, at: float, worker: WorkerId, unit: int) -> Granted:
        self._pace.granted(at, unit)
        self._lease += 1
        self._held[unit] = Lease(worker, self._lease)
        self._by.setdefault(worker, {})[unit] = self._lease
        return Granted(worker, unit, self._lease)
