"""What makes trouble in a simulation: strikes at the rates of the plan, until the faults stop."""

from __future__ import annotations

import math
from collections.abc import Callable

from cirrus.testing.sim.driver import Ground, SimDriver
from cirrus.testing.sim.network import NOTICE
from cirrus.testing.sim.shards import ShardNode
from cirrus.testing.sim.world import Process

FOR_GOOD = 0.1
"""The share of hanging workers that never wake."""


class Trouble:
    """Strikes workers, shards, drivers, connections and hosts."""

    def __init__(
        self, ground: Ground, drivers: Callable[[], list[SimDriver]], nodes: Callable[[], list[ShardNode]]
    ) -> None:
        self._ground = ground
        self._world = ground.world
        self._drivers = drivers
        self._nodes = nodes
        plan = ground.plan
        for rate, strike in (
            (plan.kill_worker, self._kill_worker),
            (plan.hang_worker, self._hang_worker),
            (plan.kill_shard, self._kill_shard),
            (plan.hang_shard, self._hang_shard),
            (plan.kill_driver, self._kill_driver),
            (plan.hang_driver, self._hang_driver),
            (plan.reset, self._reset),
            (plan.partition, self._part),
        ):
            if rate > 0.0:
                self._again(rate, strike)

    def _again(self, rate: float, strike: Callable[[], None]) -> None:
        """Strike at that rate."""

        def struck() -> None:
            strike()
            self._again(rate, strike)

        wait = self._world.chance.waiting(rate)
        if self._world.now + wait < self._ground.plan.until:
            self._world.after(wait, struck)

    def _kill_worker(self) -> None:
        self._ground.provider.kill_one()

    def _hang_worker(self) -> None:
        running = self._ground.provider.running
        if running:
            one = self._world.chance.pick(running)
            if self._world.chance.hits(FOR_GOOD):
                one.lost = True
                self._world.tell(one.process.name, "hangs for good")
                one.process.hang(math.inf)
            else:
                self._hang(one.process)

    def _kill_shard(self) -> None:
        nodes = [one for one in self._nodes() if one.process.alive]
        if nodes:
            node = self._world.chance.pick(nodes)
            self._world.tell(node.process.name, "is killed")
            node.process.kill(silently=self._world.chance.hits(0.2))

    def _hang_shard(self) -> None:
        nodes = [one for one in self._nodes() if one.process.alive]
        if nodes:
            self._hang(self._world.chance.pick(nodes).process)

    def _kill_driver(self) -> None:
        drivers = self._drivers()
        if drivers:
            process = self._world.chance.pick(drivers).process
            self._world.tell(process.name, "is killed")
            process.kill(silently=self._world.chance.hits(0.2))

    def _hang_driver(self) -> None:
        drivers = self._drivers()
        if drivers:
            self._hang(self._world.chance.pick(drivers).process)

    def _hang(self, process: Process) -> None:
        """Stop a process for a while; who is connected with it may give it up meanwhile."""
        plan, chance, now = self._ground.plan, self._world.chance, self._world.now
        seconds = min(chance.between(0.5, plan.hang), max(plan.until - now, 0.5))
        self._world.tell(process.name, f"hangs for {seconds:.1f} s")
        process.hang(seconds)
        for end in [one for one in self._ground.network.ends if one.process is process]:
            patience = chance.between(*NOTICE)
            if patience < seconds and chance.hits(0.7):
                self._world.after(patience, end.reset)

    def _reset(self) -> None:
        end = self._ground.network.reset_one()
        if end is not None:
            self._world.tell("network", f"resets {end.process.name} - {end.peer.process.name}")

    def _part(self) -> None:
        plan, chance = self._ground.plan, self._world.chance
        ends = list(self._ground.network.ends)
        if not ends:
            return
        end = chance.pick(ends)
        one, other = end.process.host, end.peer.process.host
        seconds = min(chance.between(0.5, plan.hang), max(plan.until - self._world.now, 0.5))
        both = chance.hits(0.6)
        self._world.tell("network", f"parts {one} and {other} {'' if both else 'one way '}for {seconds:.1f} s")
        self._ground.network.part(one, other, seconds)
        if both:
            self._ground.network.part(other, one, seconds)
