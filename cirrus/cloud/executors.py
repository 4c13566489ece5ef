"""Any ``concurrent.futures.Executor`` as the place of a run's workers: a Dask cluster, a batch system, a pool."""

from __future__ import annotations

from concurrent.futures import Executor
from dataclasses import dataclass, field
from pathlib import Path

from cirrus import checks
from cirrus.clock import Clock
from cirrus.cloud.base import Invoker
from cirrus.cloud.places import Local
from cirrus.core.cost import FREE, Price
from cirrus.core.slots import PoolPolicy

START = 300.0
"""Seconds for a worker to speak: an executor may have others to serve first."""


@dataclass(frozen=True, slots=True)
class Executed(Local):
    """Workers as calls of ``executor``, objects in ``store`` as for ``cirrus.local``; a worker costs ``price``."""

    executor: Executor = field(kw_only=True)
    price: Price = FREE

    def __post_init__(self) -> None:
        checks.instance("executor", self.executor, Executor, "a concurrent.futures.Executor")
        checks.instance("price", self.price, Price, "a cirrus.Price")

    @property
    def policy(self) -> PoolPolicy:
        """How patient the pools of workers are here."""
        return PoolPolicy(start_deadline=START)

    def invoker(self, command: tuple[str, ...], clock: Clock, grace: float) -> Invoker:
        """What starts workers: each as a call that starts ``command``, wherever the executor makes it."""
        from cirrus.cloud.executor_invoker import ExecutorInvoker  # noqa: PLC0415  not with the package

        return ExecutorInvoker(self.executor, command, clock, grace, self.price)


def executor(executor: Executor, *, store: str | Path | None = None, price: Price = FREE) -> Executed:
    """Run workers on a ``concurrent.futures.Executor``; shards and the driver stay on this machine.

    Where the executor's processes are on other machines, they need cirrus installed, have to reach this one, and
    ``store`` is a folder that all of them see, or a store's URL. The executor stays the caller's: it is not shut down.
    """
    return Executed(store, executor=executor, price=price)
