"""Which ends of workers close which bills, so that a worker that is delivered twice is paid for twice.

An invoker tells of the end of every process it knows, by the worker's name; a second delivery of the same worker bears
the same name, is sent away at once, and must not end the bill of the one that works. Some invokers know which is which.
"""

from __future__ import annotations

from cirrus.core.cost import TAIL, Meter
from cirrus.core.ids import WorkerId
from cirrus.core.messages import Dismissed, ToDriver, TurnedAway, WorkerLeft, WorkerSeen
from cirrus.core.slots import Cause
from cirrus.core.terms import Ends


class Billing:
    """Tells the meter what workers cost, from what is heard of them. All times are in seconds.

    ``ends``: whether the provider tells how its workers end; where it does not, their own last words count.
    """

    def __init__(self, meter: Meter, ends: Ends = "told") -> None:
        self._meter = meter
        self._ends = ends
        self._memory: dict[str, int] = {}
        self._timeout: dict[str, float] = {}
        self._here: set[WorkerId] = set()  # they have spoken, and neither left nor ended
        self._twins: set[WorkerId] = set()  # of them: another delivery of the same has ended
        self._paid: set[WorkerId] = set()  # their bills were closed before they ended

    def invoked(self, at: float, worker: WorkerId, memory_mb: int, timeout: float) -> None:
        """A worker was asked for: it is billed from now on, up to its timeout unless its end is heard of."""
        self._memory[worker.pool] = memory_mb
        self._timeout[worker.pool] = timeout
        self._meter.started(at, worker, memory_mb, timeout)

    def refused(self, worker: WorkerId) -> None:
        """The provider surely did not start it."""
        self._meter.withdrawn(worker)

    def heard(self, at: float, words: ToDriver) -> None:
        """The control actor has said this; where it says of a worker what that has not said, it is no goodbye."""
        match words:
            case WorkerSeen(worker):
                self.seen(worker)
            case WorkerLeft(worker, kind, seconds=seconds) if kind != "lost" or seconds is not None:
                self.left(at, worker, seconds)
                self._meter.stored(worker.pool, words.gets, words.puts)
            case TurnedAway(worker):
                self.sent_away(worker)
            case Dismissed(worker):
                self.dismissed(at, worker)
            case _:
                pass

    def seen(self, worker: WorkerId) -> None:
        """It has spoken."""
        self._here.add(worker)

    def left(self, at: float, worker: WorkerId, seconds: float | None = None) -> None:
        """It has said goodbye, after so many seconds by its own count if it tells, and is about to end."""
        self._here.discard(worker)
        if self._ends == "untold":
            if seconds is None:
                self._meter.ended(at + TAIL, worker)
            else:
                self._meter.reported(worker, seconds)
            return
        if worker in self._twins:  # how many more ends will be told is not known
            self._twins.discard(worker)
            self._meter.ended(at, worker)
            self._paid.add(worker)

    def sent_away(self, worker: WorkerId) -> None:
        """Another delivery of it was told to leave; where nobody tells of its end, it is billed to its timeout."""
        if self._ends == "untold" and worker.pool in self._memory:
            self._meter.unexpected(worker.pool, self._memory[worker.pool], self._timeout[worker.pool])

    def dismissed(self, at: float, worker: WorkerId) -> None:
        """A delivery of it was told to leave when it said hello, and is about to end; which of several is not known.

        There may be no bill for it: it was delivered though nobody had asked, and nothing but its end is known.
        """
        if self._meter.bills(worker) <= (worker in self._here):
            self.sent_away(worker)
        elif self._ends == "untold":
            self._meter.ended(at + TAIL, worker)

    def awaits(self, since: float) -> bool:
        """Whether a worker was asked for after ``since`` of whose end only itself can tell, and it has not spoken."""
        return self._ends == "untold" and any(worker not in self._here for worker in self._meter.open(since))

    def exited(self, at: float, worker: WorkerId, cause: Cause, seconds: float, *, alone: bool = False) -> None:
        """A process of that name, which lived so long, has ended; ``alone``: no other of that name was running then.

        Where that is not known: who works says goodbye before its end, unless it was killed, or its line had gone.
        """
        if worker in self._here and cause == "finished" and not alone:  # it was sent away
            self._twins.add(worker)
            self._meter.unexpected(worker.pool, self._memory.get(worker.pool, 0), seconds)
            return
        self._here.discard(worker)
        self._twins.discard(worker)
        if worker in self._paid:
            self._paid.discard(worker)
        elif not self._meter.ended(at, worker):
            self._meter.unexpected(worker.pool, self._memory.get(worker.pool, 0), seconds)
