"""The person whose run it is: starts it, resumes it whenever its driver is gone, scales it, and perhaps kills it."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

from cirrus.errors import CirrusError
from cirrus.testing.sim.driver import Ground, SimDriver
from cirrus.testing.sim.world import Process

FINAL = ("done", "killed", "budget")
MACHINES = 2
MOST = 5
SOON = 5.0
"""Seconds after which a person looks whether an order was carried out."""

Order = Callable[[SimDriver], Coroutine[Any, Any, None]]
Then = Callable[[], None]


class User:
    """Does what people do; ``outcome`` is how the run ended for good."""

    def __init__(self, ground: Ground) -> None:
        self.outcome = ""
        self.ended_at = 0.0
        self.drivers: list[SimDriver] = []
        self.ends: list[tuple[float, str]] = []
        self._ground = ground
        self._world = ground.world
        self._skews = [0.0, ground.world.chance.between(-1.0, 1.0) * ground.plan.skew]
        self._started = 0
        self._wanted = 0
        self.start(0.0)
        chance, until = self._world.chance, ground.plan.until
        for _ in range(chance.whole(0, 4)):
            self._world.after(chance.between(2.0, max(until, 10.0)), self._scale)
        if chance.hits(0.15):
            self._world.after(chance.between(1.0, max(until, 30.0)), self._kill)
        if chance.hits(ground.plan.second_driver):
            self._world.after(chance.between(1.0, max(until, 2.0)), lambda: self.start(0.0))

    @property
    def living(self) -> list[SimDriver]:
        """Drivers that have not ended."""
        return [one for one in self.drivers if one.process.alive and not one.over]

    def start(self, seconds: float) -> None:
        """Start a driver in a while."""
        self._wanted += 1
        self._world.after(seconds, self._start)

    def _start(self) -> None:
        self._wanted -= 1
        if self.outcome:
            return
        machine = self._world.chance.whole(0, MACHINES - 1)
        self._started += 1
        name = f"driver-{self._started}"
        process = Process(self._world, name, f"machine-{machine}", self._skews[machine])
        self._world.tell(name, f"starts on {process.host}")
        self.drivers.append(SimDriver(self._ground, process, self._gone_from(process), self._ended))

    def _gone_from(self, process: Process) -> Callable[[str], bool]:
        """Who is known to be dead: processes of the same machine."""

        def gone(name: str) -> bool:
            return any(
                one.process.name == name and one.process.host == process.host and not one.process.alive
                for one in self.drivers
            )

        return gone

    def _ended(self, driver: SimDriver, outcome: str) -> None:
        if driver not in self.drivers:
            return
        self.drivers.remove(driver)
        self.drivers.append(driver)  # it stays known, as the name of one that is dead
        if outcome == "died" and any(name == driver.process.name for _, name in self.ends):
            return
        self.ends.append((self._world.now, driver.process.name))
        self._world.tell("user", f"hears that {driver.process.name} ended: {outcome}")
        if outcome in FINAL and not self.outcome:
            self.outcome, self.ended_at = outcome, self._world.now
        elif not self.outcome and self._wanted == 0:
            self.start(self._world.chance.between(0.5, 20.0) if self._world.now < self._ground.plan.until else 5.0)
            if self._world.now < self._ground.plan.until and self._world.chance.hits(self._ground.plan.second_driver):
                self.start(self._world.chance.between(0.5, 3.0))

    def _scale(self) -> None:
        workers = self._world.chance.whole(0, MOST)
        self._order(lambda driver: driver.scale(workers), then=self._scale_up)

    def _scale_up(self) -> None:
        """There would be no end without workers."""
        workers = self._world.chance.whole(1, MOST)
        self._order(lambda driver: driver.scale(workers), again=self._scale_up)

    def _kill(self) -> None:
        self._order(lambda driver: driver.kill(), again=self._kill)

    def _order(self, order: Order, again: Then | None = None, then: Then | None = None) -> None:
        """Have some driver do something, and ``then`` something else; ``again``: should it not be done."""
        task, done = None, False

        async def ordered(driver: SimDriver) -> None:
            nonlocal done
            try:
                await order(driver)
            except CirrusError as error:
                self._world.tell("user", f"is told by {driver.process.name}: {error!r}")
            else:
                done = True

        def look() -> None:
            following = then if done or again is None else again
            if task is not None and not task.over:
                self._world.after(SOON, look)
            elif following is not None and not self.outcome:
                following()

        living = self.living
        if living:
            driver = self._world.chance.pick(living)
            task = driver.process.spawn(ordered(driver))
        self._world.after(SOON, look)
