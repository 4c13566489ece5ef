"""The shards of a run as the driver keeps them: processes of this host that are started again when they die."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace

from cirrus import events
from cirrus.actors.bus import EventBus
from cirrus.actors.kernel import Kernel
from cirrus.actors.shards import Plan, ShardHost, start_shard
from cirrus.cloud.processes import Processes
from cirrus.core.restarts import Backoff, RestartBudget
from cirrus.errors import InvokeError, RunError

RESTARTS = 20  # of one shard
WINDOW = 600.0  # seconds
TRIES = 5  # to start one again in a row
BACKOFF = Backoff(0.1, 2.0, 2.0)


class Fleet:
    """Starts the shards, watches them, and starts a dead one again at its address from its newest snapshot."""

    def __init__(self, kernel: Kernel, processes: Processes, command: tuple[str, ...], plan: Plan) -> None:
        self._kernel = kernel
        self._processes = processes
        self._command = command
        self._plan = plan

    async def start(self) -> tuple[ShardHost, ...]:
        """Start all shards side by side; ``InvokeError`` where one does not come up."""
        starting = [
            self._kernel.task(self._bring_up(self._plan, number, 0), name=f"start shard {number}")
            for number in range(self._plan.shards)
        ]
        return tuple([await one.wait() for one in starting])

    def keep(self, host: ShardHost, bus: EventBus, back: Callable[[int], Awaitable[None]], began: float) -> None:
        """Watch a shard from now on; ``back`` is told its number whenever it was started again."""
        self._kernel.task(self._keep(host, bus, back, began), name=f"shard {host.number}")

    async def _keep(
        self, host: ShardHost, bus: EventBus, back: Callable[[int], Awaitable[None]], began: float
    ) -> None:
        clock, budget = self._kernel.clock, RestartBudget(RESTARTS, WINDOW)
        while True:
            for key, problem in host.skipped:
                bus.publish(
                    events.SnapshotSkipped(
                        at=clock.monotonic() - began, shard=host.number, key=key, problem=problem
                    )
                )
            ended = await host.child.wait()
            reason = f"its process ended with exit code {ended.code}"
            if not budget.spend(clock.monotonic()):
                raise RunError(f"shard {host.number} ended {RESTARTS + 1} times within {WINDOW:g} s\n{ended.evidence}")
            host = await self._again(host)
            bus.publish(
                events.ShardRestarted(
                    at=clock.monotonic() - began, shard=host.number, pid=host.child.pid, reason=reason
                )
            )
            await back(host.number)

    async def _again(self, host: ShardHost) -> ShardHost:
        plan = replace(self._plan, restore=True)
        for failures in range(1, TRIES + 1):
            try:
                return await self._bring_up(plan, host.number, host.port)
            except InvokeError:
                if failures == TRIES:
                    raise
            await self._kernel.clock.sleep(BACKOFF.delay(failures, 0.0))
        raise AssertionError("the last try either returned or raised")

    async def _bring_up(self, plan: Plan, number: int, port: int) -> ShardHost:
        return await start_shard(self._processes, self._command, plan, number, port)
