"""Whoever starts workers in a simulation: at least once, perhaps twice or late, perhaps never; and their true cost.

``local``: workers are processes of the driver's host, whose ends it always learns of, and which end with it.
Otherwise they are functions somewhere: their ends are told now and then, and they outlive the driver.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from functools import partial
from typing import Any

from cirrus.cloud.base import Exit
from cirrus.core.ids import WorkerId
from cirrus.core.slots import Cause
from cirrus.errors import InvokeError, Throttled
from cirrus.testing.sim.faults import FaultPlan
from cirrus.testing.sim.world import Process, World

LATE = 60.0
STOPPED = 5.0
"""Seconds within which a worker ends that is told to, by its provider."""


class Unreachable(InvokeError):
    """The provider did not answer; the worker may have been started."""


@dataclass(frozen=True, slots=True)
class Call:
    """A request for a worker: who it is, for how long it may run, which addresses it is told, and what it does."""

    worker: WorkerId
    driver: Process
    timeout: float
    addresses: tuple[str, ...]
    body: Callable[[Process, Call], Coroutine[Any, Any, None]]
    told: Callable[[Exit], None]


@dataclass(slots=True, eq=False)
class Instance:
    """One delivery of a request that runs, or has run."""

    call: Call
    process: Process
    began: float
    first: bool  # of all deliveries of this worker
    ended: float | None = None
    told: bool = False  # the driver has heard of its end
    lost: bool = False  # it hangs for good


class Provider:
    """Starts workers, and knows the truth about them."""

    def __init__(self, world: World, plan: FaultPlan, *, local: bool) -> None:
        self.instances: list[Instance] = []
        self._known: set[tuple[Process, WorkerId]] = set()
        self._world = world
        self._plan = plan
        self._local = local

    @property
    def running(self) -> list[Instance]:
        """Who runs now."""
        return [one for one in self.instances if one.ended is None]

    def seconds(self, driver: Process) -> float:
        """How long all workers of which a driver can know have run so far, together.

        Of a second delivery it knows nothing before it is told of its end; and which of two has ended it cannot know.
        """
        over = {(one.call.driver, one.call.worker) for one in self.instances if one.told}
        mine = [
            one for one in self.instances
            if one.call.driver is driver and (one.told or (one.first and (driver, one.call.worker) not in over))
        ]
        return sum((self._world.now if one.ended is None else one.ended) - one.began for one in mine)

    async def invoke(self, call: Call) -> None:
        """Ask for a worker; ``Throttled``, ``Unreachable``."""
        chance, plan = self._world.chance, self._plan
        await call.driver.sleep(chance.between(0.02, 0.2))
        if self._strikes(plan.throttled):
            raise Throttled("slow down")
        if self._strikes(plan.unreachable):
            if chance.hits(0.5):
                self._start_in(chance.between(0.1, 3.0), call)
            raise Unreachable("no answer")
        if self._strikes(plan.lost):
            self._world.tell("provider", f"loses {_name(call.worker)}")
            return
        self._start_in(LATE if self._strikes(plan.late) else chance.between(0.1, 1.0), call)
        if self._strikes(plan.twice):
            self._start_in(LATE if chance.hits(0.3) else chance.between(0.1, 3.0), call)

    def stop(self, worker: WorkerId, driver: Process) -> None:
        """End a worker, sooner or later; functions cannot be ended."""
        if not self._local:
            return
        for one in self.running:
            if one.call.worker == worker and one.call.driver is driver:
                self._world.after(self._world.chance.between(0.1, STOPPED), partial(self._end, one, "killed"))

    def end_all(self, driver: Process) -> None:
        """The driver ends, and with it the processes that it has started."""
        for one in self.running:
            if self._local and one.call.driver is driver:
                self._world.after(self._world.chance.between(0.1, STOPPED), partial(self._end, one, "killed"))

    def kill_one(self) -> Instance | None:
        """Kill some worker; the network may or may not tell those who are connected with it."""
        running = self.running
        if not running:
            return None
        one = self._world.chance.pick(running)
        self._end(one, "crashed", silently=self._world.chance.hits(0.2))
        return one

    def _start_in(self, seconds: float, call: Call) -> None:
        self._world.after(seconds, lambda: self._start(call))

    def _start(self, call: Call) -> None:
        if self._local and not call.driver.alive:
            return
        number = len(self.instances)
        host = call.driver.host if self._local else f"cloud-{number % 3}"
        process = Process(self._world, f"{_name(call.worker)}#{number}", host)
        one = Instance(call, process, self._world.now, first=(call.driver, call.worker) not in self._known)
        self._known.add((call.driver, call.worker))
        self.instances.append(one)
        self._world.tell(process.name, "starts")
        process.spawn(self._lived(one))
        process.when_ended.append(lambda _: self._ended(one, "crashed"))
        self._world.after(call.timeout, lambda: self._end(one, "timeout"))

    async def _lived(self, one: Instance) -> None:
        await one.call.body(one.process, one.call)
        one.process.after(0.0, lambda: self._end(one, "finished"))

    def _end(self, one: Instance, cause: Cause, *, silently: bool = False) -> None:
        if one.ended is None:
            self._ended(one, cause)
            one.process.kill(silently=silently)

    def _ended(self, one: Instance, cause: Cause) -> None:
        if one.ended is not None:
            return
        one.ended = self._world.now
        self._world.tell(one.process.name, f"ends: {cause}")
        seconds = one.ended - one.began
        alone = self._local and all(
            (other.call.driver, other.call.worker) != (one.call.driver, one.call.worker) for other in self.running
        )
        gone = Exit(one.call.worker, cause, f"after {seconds:.1f} s", seconds, alone)
        if self._local or self._world.chance.hits(0.5):
            one.call.driver.after(self._world.chance.between(0.01, 0.5), lambda: self._tell(one, gone))

    def _tell(self, one: Instance, gone: Exit) -> None:
        one.call.told(gone)
        one.told = True

    def _strikes(self, probability: float) -> bool:
        return self._world.now < self._plan.until and self._world.chance.hits(probability)


def _name(worker: WorkerId) -> str:
    return f"{worker.pool}/{worker.slot}.{worker.attempt}"
