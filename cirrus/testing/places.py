"""A place to run at where things go wrong on purpose: requests for workers, connections, and the store."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from cirrus.clock import Clock
from cirrus.cloud.base import Invoker, Side
from cirrus.cloud.places import Local
from cirrus.core.slots import PoolPolicy
from cirrus.store.base import ObjectStore
from cirrus.testing.chaos import ChaosInvoker, Odds
from cirrus.testing.proxy import Proxy


@dataclass(frozen=True, slots=True)
class Troubled(Local):
    """A place like ``cirrus.local()`` with trouble: ``on=Troubled(folder, odds=Odds(seed=7, lose=0.2))``.

    ``odds`` say what becomes of requests for workers. ``worker_proxies`` and ``driver_proxies`` stand before the
    shards, one each, for workers and for the driver. ``meddle`` makes the driver's store of the true one. ``patience``
    is that of the pools. ``command`` starts workers in place of the right one. ``invokers`` gets every invoker made.
    """

    odds: Odds | None = None
    worker_proxies: tuple[Proxy, ...] = ()
    driver_proxies: tuple[Proxy, ...] = ()
    meddle: Callable[[ObjectStore], ObjectStore] | None = None
    patience: PoolPolicy | None = None
    command: tuple[str, ...] = ()
    invokers: list[ChaosInvoker] = field(default_factory=list)

    @property
    def policy(self) -> PoolPolicy:
        """How patient pools are."""
        return Local().policy if self.patience is None else self.patience

    def invoker(self, command: tuple[str, ...], clock: Clock, grace: float) -> Invoker:
        """What starts workers, or does not."""
        inner = Local(self.store).invoker(self.command or command, clock, grace)
        if self.odds is None:
            return inner
        chaos = ChaosInvoker(inner, clock, self.odds)
        self.invokers.append(chaos)
        return chaos

    def reached(self, shards: tuple[str, ...], side: Side) -> tuple[str, ...]:
        """The proxies before the shards, which from now on lead to these."""
        proxies = self.worker_proxies if side == "worker" else self.driver_proxies
        for proxy, shard in zip(proxies, shards, strict=False):
            proxy.target = shard
        return tuple(proxy.url for proxy in proxies[: len(shards)]) + shards[len(proxies) :]

    def open(self) -> ObjectStore:
        """The driver's store."""
        store = Local(self.store).open()
        return store if self.meddle is None else self.meddle(store)
