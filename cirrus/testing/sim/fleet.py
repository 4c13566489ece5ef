"""The shards of a simulated driver, kept as ``cirrus.actors.fleet`` keeps them, and what it asks of all of them."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any, TypeVar

from cirrus.actors.seats import BACKOFF, RESTARTS, TRIES, WINDOW
from cirrus.actors.shards import BACKOFF as PAUSE
from cirrus.actors.shards import PATIENCE
from cirrus.core.ledger import Ledger
from cirrus.core.restarts import RestartBudget
from cirrus.errors import OutsideError, RunError, WireError
from cirrus.learn.base import TableSpec
from cirrus.testing.sim.shards import Held, ShardNode, Site
from cirrus.testing.sim.world import Process, Wait

T = TypeVar("T")

GRACE = 5.0


class SimFleet:
    """Starts the shards, starts dead ones again, and asks them for things; ``back`` hears of those that came back."""

    def __init__(self, driver: Process, site: Site, back: Callable[[], None]) -> None:
        self._driver = driver
        self._site = site
        self._back = back
        self.nodes: list[ShardNode] = []
        driver.when_ended.append(lambda _: self._orphaned())

    async def start(self, *, restore: bool) -> None:
        """Start all shards side by side."""
        self.nodes = [self._node(number, restore=restore) for number in range(self._site.shards)]
        for node in self.nodes:
            await node.ready
        for node in self.nodes:
            self._driver.spawn(self._keep(node))

    def stop(self, *, save: bool) -> None:
        """Tell all shards to end, and see to it that they do."""
        for node in self.nodes:
            node.stop("the driver ends", save=save)
            self._driver.after(GRACE, node.process.kill)

    async def create(self, spec: TableSpec) -> None:
        """Make a table on every shard that lacks it."""
        for number in range(self._site.shards):
            await self._persist(number, lambda node: node.create(spec))

    async def ledgers(self, line: int) -> list[Ledger]:
        """What every shard has applied."""
        return [await self._persist(number, lambda node: node.ledger(line)) for number in range(self._site.shards)]

    async def save(self, line: int) -> list[Held]:
        """Have every shard write a snapshot."""
        return [await self._persist(number, lambda node: node.save(line)) for number in range(self._site.shards)]

    def address(self, number: int) -> str:
        """Where a shard listens."""
        return f"{self._site.name}/shard-{number}"

    async def _persist(self, number: int, ask: Callable[[ShardNode], Coroutine[Any, Any, T]]) -> T:
        failures, deadline = 0, self._site.world.now + PATIENCE
        while True:
            node = self.nodes[number]
            try:
                return await self._site.network.call(self._driver, self.address(number), partial(ask, node))
            except OutsideError as error:
                failures += 1
                if isinstance(error, WireError) or self._site.world.now > deadline:
                    raise
            await self._driver.sleep(PAUSE.delay(failures, 0.0))

    async def _keep(self, node: ShardNode) -> None:
        budget = RestartBudget(RESTARTS, WINDOW)
        while True:
            gone: Wait[None] = Wait()
            if node.process.alive:
                node.process.when_ended.append(partial(self._hear, gone))
                await gone
            if not budget.spend(self._site.world.now):
                raise RunError(f"shard {node.number} ended {RESTARTS + 1} times within {WINDOW:g} s")
            node = await self._again(node.number)
            self._back()

    async def _again(self, number: int) -> ShardNode:
        for failures in range(1, TRIES + 1):
            node = self.nodes[number] = self._node(number, restore=True)
            try:
                await node.ready
            except OutsideError:
                if failures == TRIES:
                    raise
            else:
                return node
            await self._driver.sleep(BACKOFF.delay(failures, 0.0))
        raise AssertionError("the last try either returned or raised")

    def _hear(self, gone: Wait[None], _silently: bool) -> None:  # noqa: FBT001  the way in which a shard has ended
        self._driver.after(0.1, partial(gone.keep, None))

    def _node(self, number: int, *, restore: bool) -> ShardNode:
        node = ShardNode(self._site, number, f"{self._driver.host}/shard", restore=restore)
        self._site.watcher.begins(node)
        return node

    def _orphaned(self) -> None:
        """The driver is dead: the shards notice that their input has ended."""
        for node in self.nodes:
            node.process.after(0.5, partial(node.stop, "the driver is gone", save=True))
