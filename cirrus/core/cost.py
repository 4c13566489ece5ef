"""What workers cost: every invocation is billed by the memory it has and the time it takes, on the safe side.

A worker whose end is not known is billed up to its time limit, and every delivery of an invocation by itself, so that
what is reported is never below what is true.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass

from cirrus import checks
from cirrus.core.ids import WorkerId

MB_PER_GB = 1024.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Price:
    """Dollars for a gigabyte of memory during a second, and for an invocation; ``dated``: the day of the price list."""

    name: str
    per_gb_second: float
    per_invocation: float
    dated: str

    def __post_init__(self) -> None:
        checks.text("price.name", self.name)
        checks.within("price.per_gb_second", self.per_gb_second, 0.0, 1e6)
        checks.within("price.per_invocation", self.per_invocation, 0.0, 1e6)
        checks.text("price.dated", self.dated)


FREE = Price(name="local processes", per_gb_second=0.0, per_invocation=0.0, dated="always")


@dataclass(frozen=True, slots=True)
class Cost:
    """What was spent up to a moment; ``dollars_per_second`` is what goes on being spent then.

    ``committed_dollars`` and ``committed_seconds`` come on top at most: workers that go on may work up to their limits.
    """

    dollars: float
    worker_seconds: float
    gb_seconds: float
    invocations: int
    dollars_per_second: float
    committed_dollars: float = 0.0
    committed_seconds: float = 0.0

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
        lasted = min(max(at - self.start, 0.0), self.timeout)
        return math.ceil(round(lasted * 1e3, 6)) / 1e3


class Meter:
    """Adds up what the workers of a run cost at one price."""

    def __init__(self, price: Price) -> None:
        checks.instance("price", price, Price, "a Price; local processes are FREE")
        self._price = price
        self._open: dict[WorkerId, deque[_Bill]] = {}
        self._invocations = 0
        self._worker_seconds = 0.0
        self._gb_seconds = 0.0

    def started(self, at: float, worker: WorkerId, memory_mb: int, timeout: float) -> None:
        """A worker was invoked; once more for the same worker where it was delivered twice. Times in seconds."""
        self._invocations += 1
        self._open.setdefault(worker, deque()).append(_Bill(at, memory_mb / MB_PER_GB, timeout))

    def unexpected(self, memory_mb: int, seconds: float) -> None:
        """An invocation is heard of at its end only, after so many seconds: a delivery that nobody asked for."""
        bill = _Bill(0.0, memory_mb / MB_PER_GB, seconds)
        self._invocations += 1
        self._worker_seconds += bill.seconds(seconds)
        self._gb_seconds += bill.seconds(seconds) * bill.gigabytes

    def ended(self, at: float, worker: WorkerId) -> bool:
        """One invocation of a worker has ended: which of several is not known, so the longest pays until now.

        Returns whether there was one.
        """
        bills = self._open.get(worker)
        if not bills:
            return False
        bill = bills.popleft()
        if not bills:
            del self._open[worker]
        self._worker_seconds += bill.seconds(at)
        self._gb_seconds += bill.seconds(at) * bill.gigabytes
        return True

    def cost(self, at: float) -> Cost:
        """What was spent until ``at``; takes about a microsecond for each worker whose end is not known."""
        seconds, gb_seconds, gigabytes = self._worker_seconds, self._gb_seconds, 0.0
        left, gb_left = 0.0, 0.0
        for bills in self._open.values():
            for bill in bills:
                lasted = bill.seconds(at)
                seconds += lasted
                gb_seconds += lasted * bill.gigabytes
                if lasted < bill.timeout:
                    gigabytes += bill.gigabytes
                    left += bill.timeout - lasted
                    gb_left += (bill.timeout - lasted) * bill.gigabytes
        price = self._price.per_gb_second
        dollars = gb_seconds * price + self._invocations * self._price.per_invocation
        return Cost(dollars, seconds, gb_seconds, self._invocations, gigabytes * price, gb_left * price, left)
