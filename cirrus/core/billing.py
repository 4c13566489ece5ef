"""Which ends of workers close which bills, so that a worker that is delivered twice is paid for twice.

An invoker tells of the end of every process it knows, by the worker's name; a second delivery of the same worker bears
the same name, is sent away at once, and must not end the bill of the one that works.
"""

from __future__ import annotations

from cirrus.core.cost import Meter
from cirrus.core.ids import WorkerId
from cirrus.core.slots import Cause


class Billing:
    """Tells the meter what workers cost, from what is heard of them. All times are in seconds."""

    def __init__(self, meter: Meter) -> None:
        self._meter = meter
        self._memory: dict[str, int] = {}
        self._here: set[WorkerId] = set()  # they have spoken, and neither left nor ended
        self._twins: set[WorkerId] = set()  # of them: another delivery of the same has ended
        self._paid: set[WorkerId] = set()  # their bills were closed before they ended

    def invoked(self, at: float, worker: WorkerId, memory_mb: int, timeout: float) -> None:
        """A worker was asked for: it is billed from now on, up to its timeout unless its end is heard of."""
        self._memory[worker.pool] = memory_mb
        self._meter.started(at, worker, memory_mb, timeout)

    def refused(self, at: float, worker: WorkerId) -> None:
        """The provider surely did not start it."""
        self._meter.ended(at, worker)

    def seen(self, worker: WorkerId) -> None:
        """It has spoken."""
        self._here.add(worker)

    def left(self, at: float, worker: WorkerId) -> None:
        """It has said goodbye and is about to end."""
        self._here.discard(worker)
        if worker in self._twins:  # how many more ends will be told is not known
            self._twins.discard(worker)
            self._meter.ended(at, worker)
            self._paid.add(worker)

    def exited(self, at: float, worker: WorkerId, cause: Cause, seconds: float) -> None:
        """A process of that name, which lived so long, has ended."""
        if worker in self._here and cause == "finished":  # who works says goodbye before: it was sent away
            self._twins.add(worker)
            self._meter.unexpected(self._memory.get(worker.pool, 0), seconds)
            return
        self._here.discard(worker)
        self._twins.discard(worker)
        if worker in self._paid:
            self._paid.discard(worker)
        elif not self._meter.ended(at, worker):
            self._meter.unexpected(self._memory.get(worker.pool, 0), seconds)
