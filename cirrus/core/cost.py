"""What workers cost: every invocation is billed by the memory it has and the time it takes, on the safe side.

A worker whose end is not known is billed up to its time limit, and every delivery of an invocation by itself, so that
what is reported is never below what is true.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Literal

from cirrus import checks
from cirrus.core.ids import EVALUATOR, WorkerId, stage_of, trial_of
from cirrus.core.rents import Rents

MB_PER_GB = 1024.0
TAIL = 0.25
"""Seconds that a worker may go on after it has said how long it took: connections are closed, the handler returns."""

Kind = Literal["workers", "invocations", "store", "shards", "earlier"]
"""What money goes to: workers' time, starting them, requests to the store, hosts of shards, drivers before this one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Price:
    """What a provider takes, in dollars; ``dated``: the day of the price list.

    For a gigabyte of memory during a second, for an invocation, for a request to the store that reads (``per_get``) and
    one that writes or lists (``per_put``).
    """

    name: str
    per_gb_second: float
    per_invocation: float
    per_get: float = 0.0
    per_put: float = 0.0
    dated: str

    def __post_init__(self) -> None:
        checks.text("price.name", self.name)
        for name in ("per_gb_second", "per_invocation", "per_get", "per_put"):
            checks.within(f"price.{name}", getattr(self, name), 0.0, 1e6)
        checks.text("price.dated", self.dated)


FREE = Price(name="local processes", per_gb_second=0.0, per_invocation=0.0, dated="always")


@dataclass(frozen=True, slots=True)
class CostPart:
    """Dollars that one stage has spent on one kind of thing; ``stage`` is empty for the run as a whole.

    ``trial``: the trial that alone has spent it, where the stage tunes.
    """

    stage: str
    kind: Kind
    dollars: float
    trial: int | None = None


@dataclass(frozen=True, slots=True)
class Cost:
    """What was spent up to a moment; ``dollars_per_second`` is what goes on being spent then.

    ``committed_dollars`` and ``committed_seconds`` come on top at most: workers that go on may work up to their limits,
    and hosts of shards that nobody ends be there until they end by themselves.
    ``gets`` and ``puts`` are requests to the store that read, and that write or list.
    """

    dollars: float
    worker_seconds: float
    gb_seconds: float
    invocations: int
    dollars_per_second: float
    committed_dollars: float = 0.0
    committed_seconds: float = 0.0
    gets: int = 0
    puts: int = 0
    parts: tuple[CostPart, ...] = ()

    @property
    def stages(self) -> Mapping[str, float]:
        """Dollars by stage."""
        return _summed((one.stage, one.dollars) for one in self.parts)

    def of(self, stage: str, trial: int | None = None) -> float:
        """Dollars of a stage with all its trials, or of one of them."""
        return sum(one.dollars for one in self.parts if one.stage == stage and trial in (None, one.trial))

    @property
    def kinds(self) -> Mapping[str, float]:
        """Dollars by kind: ``workers``, ``invocations``, ``store``, ``shards``, ``earlier``."""
        return _summed((one.kind, one.dollars) for one in self.parts)

    @property
    def most_dollars(self) -> float:
        """What those who work now can make of it, if nobody else begins."""
        return self.dollars + self.committed_dollars

    @property
    def most_seconds(self) -> float:
        """How long those who work now can have worked in the end, if nobody else begins."""
        return self.worker_seconds + self.committed_seconds


@dataclass(frozen=True, slots=True)
class _Bill:
    start: float
    gigabytes: float
    timeout: float

    def seconds(self, at: float) -> float:
        """Billed by the millisecond, rounded up; the clock's last digits do not count."""
        return _billed(min(max(at - self.start, 0.0), self.timeout))


@dataclass(slots=True)
class _Stage:
    """What a stage has had so far, workers that go on left out."""

    invocations: int = 0
    seconds: float = 0.0
    gb_seconds: float = 0.0
    gets: int = 0
    puts: int = 0

    def worked(self, seconds: float, gigabytes: float) -> None:
        self.seconds += seconds
        self.gb_seconds += seconds * gigabytes

    def parts(self, name: str, price: Price) -> tuple[CostPart, ...]:
        store = self.gets * price.per_get + self.puts * price.per_put
        stage, trial = stage_of(name), trial_of(name)
        worked = (
            CostPart(stage, "workers", self.gb_seconds * price.per_gb_second, trial),
            CostPart(stage, "invocations", self.invocations * price.per_invocation, trial),
        )
        return (*(worked if self.invocations else ()), *((CostPart(stage, "store", store, trial),) if store else ()))


class Meter:
    """Adds up what a run costs at one price, that of ``charge`` in the end, and the ``rents`` of hosts."""

    def __init__(self, price: Price) -> None:
        self.charge(price)
        self._open: dict[WorkerId, deque[_Bill]] = {}
        self._stages: dict[str, _Stage] = {}
        self.rents = Rents()

    def charge(self, price: Price) -> None:
        """Take this price, for what was before as well."""
        checks.instance("price", price, Price, "a Price; local processes are FREE")
        self._price = price

    def started(self, at: float, worker: WorkerId, memory_mb: int, timeout: float) -> None:
        """A worker was invoked; once more for the same worker where it was delivered twice. Times in seconds."""
        self._stage(worker.pool).invocations += 1
        self._open.setdefault(worker, deque()).append(_Bill(at, memory_mb / MB_PER_GB, timeout))

    def unexpected(self, pool: str, memory_mb: int, seconds: float) -> None:
        """An invocation is heard of at its end only, after so many seconds: a delivery that nobody asked for."""
        stage = self._stage(pool)
        stage.invocations += 1
        stage.worked(_billed(seconds), memory_mb / MB_PER_GB)

    def ended(self, at: float, worker: WorkerId) -> bool:
        """One invocation of a worker has ended: which of several is not known, so the longest pays until now.

        Returns whether there was one.
        """
        bill = self._close(worker)
        if bill is not None:
            self._stage(worker.pool).worked(bill.seconds(at), bill.gigabytes)
        return bill is not None

    def reported(self, worker: WorkerId, seconds: float) -> None:
        """A worker that is about to end says how many seconds its provider has counted."""
        bill = self._close(worker)
        if bill is not None:
            self._stage(worker.pool).worked(min(_billed(seconds + TAIL), bill.timeout), bill.gigabytes)

    def withdrawn(self, worker: WorkerId) -> None:
        """The newest invocation of a worker was refused: it costs nothing."""
        bills = self._open.get(worker)
        if bills:
            bills.pop()
            self._stage(worker.pool).invocations -= 1
            if not bills:
                del self._open[worker]

    def bills(self, worker: WorkerId) -> int:
        """How many invocations of the worker there are whose ends are not known."""
        return len(self._open.get(worker, ()))

    def open(self, since: float) -> Iterator[WorkerId]:
        """Workers whose newest invocation began after ``since``, and whose end is not known."""
        return (worker for worker, bills in self._open.items() if bills[-1].start > since)

    def settle(self, at: float, *, known: bool) -> None:
        """Nothing more is heard: whoever is open has ended by now if that is ``known``, or may last to its limit."""
        for worker, bills in list(self._open.items()):
            for bill in bills:
                seconds = bill.seconds(at) if known else _billed(bill.timeout)
                self._stage(worker.pool).worked(seconds, bill.gigabytes)
        self._open.clear()

    def stored(self, pool: str, gets: int, puts: int) -> None:
        """So many requests went to the store, for a pool or, where its name is empty, for the run as a whole."""
        stage = self._stage(pool)
        stage.gets += gets
        stage.puts += puts

    def most(self, memory_mb: int, timeout: float) -> float:
        """Dollars that one more worker comes to at most."""
        return timeout * memory_mb / MB_PER_GB * self._price.per_gb_second + self._price.per_invocation

    def cost(self, at: float) -> Cost:
        """What was spent until ``at``; takes about a microsecond for each worker whose end is not known."""
        now = {name: replace(stage) for name, stage in self._stages.items()}
        gigabytes = left = gb_left = 0.0
        for worker, bills in self._open.items():
            for bill in bills:
                lasted = bill.seconds(at)
                now[biller(worker.pool)].worked(lasted, bill.gigabytes)
                if lasted < bill.timeout:
                    gigabytes += bill.gigabytes
                    left += bill.timeout - lasted
                    gb_left += (bill.timeout - lasted) * bill.gigabytes
        price = self._price.per_gb_second
        rent = self.rents.dollars(at)
        parts = tuple(part for name, stage in now.items() for part in stage.parts(name, self._price))
        parts += (CostPart("", "shards", rent),) if rent else ()
        return Cost(
            dollars=sum(part.dollars for part in parts),
            worker_seconds=sum(stage.seconds for stage in now.values()),
            gb_seconds=sum(stage.gb_seconds for stage in now.values()),
            invocations=sum(stage.invocations for stage in now.values()),
            dollars_per_second=gigabytes * price + self.rents.rate,
            committed_dollars=gb_left * price + self.rents.committed,
            committed_seconds=left,
            gets=sum(stage.gets for stage in now.values()),
            puts=sum(stage.puts for stage in now.values()),
            parts=parts,
        )

    def _stage(self, pool: str) -> _Stage:
        return self._stages.setdefault(biller(pool), _Stage())

    def _close(self, worker: WorkerId) -> _Bill | None:
        bills = self._open.get(worker)
        if not bills:
            return None
        bill = bills.popleft()
        if not bills:
            del self._open[worker]
        return bill


def biller(pool: str) -> str:
    """Who pays for a pool: the stage, for one that evaluates too, or the trial."""
    return pool.removesuffix(EVALUATOR)


def _billed(seconds: float) -> float:
    """What is billed of so many seconds: whole milliseconds, rounded up."""
    return math.ceil(round(seconds * 1e3, 6)) / 1e3


def _summed(pairs: Iterable[tuple[str, float]]) -> Mapping[str, float]:
    sums: dict[str, float] = {}
    for name, dollars in pairs:
        sums[name] = sums.get(name, 0.0) + dollars
    return sums
