"""A place whose workers are processes of this machine, have a price, and are all written down."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

from cirrus.clock import Clock
from cirrus.cloud.base import Assignment, Exit, Invoker
from cirrus.cloud.places import Local
from cirrus.core.cost import Price
from cirrus.core.ids import WorkerId
from cirrus.core.slots import PoolPolicy
from cirrus.core.terms import Ends, Terms
from cirrus.testing.chaos import ChaosInvoker, Odds

PRICE = Price(name="a test's list", per_gb_second=1e-3, per_invocation=1e-5, dated="2026-11-24")


@dataclass(slots=True)
class Trace:
    """What truly happened: requests that the provider accepted or may have, processes that began, how each ended."""

    memory: int = 1024
    price: Price = PRICE
    requests: list[tuple[float, Assignment]] = field(default_factory=list)
    began: list[tuple[float, Assignment]] = field(default_factory=list)
    ended: list[tuple[float, Exit]] = field(default_factory=list)
    invokers: list[ChaosInvoker] = field(default_factory=list)

    @property
    def true_dollars(self) -> float:
        """Every process by its milliseconds, and each that began."""
        assert len(self.ended) == len(self.began), "somebody is not accounted for"
        return sum(self.worked(gone.seconds) for _, gone in self.ended) + len(self.began) * self.price.per_invocation

    @property
    def unknown(self) -> Counter[WorkerId]:
        """Workers of whom no end can have been told, how many of each name: requests, or processes, without goodbye."""
        asked = Counter(one.worker for _, one in self.requests)
        came = Counter(one.worker for _, one in self.began)
        well = {gone.worker for _, gone in self.ended if gone.cause == "finished"}
        return Counter({who: max(asked[who], came[who]) - (who in well) for who in asked | came})

    def worked(self, seconds: float) -> float:
        """Dollars of that time."""
        return math.ceil(seconds * 1000) / 1000 * self.memory / 1024 * self.price.per_gb_second


class TracedInvoker:
    """Writes down what ``inner`` does, and tells ends only where its terms say so."""

    def __init__(self, inner: Invoker, clock: Clock, terms: Terms, trace: Trace) -> None:
        self._inner = inner
        self._clock = clock
        self._terms = terms
        self._trace = trace

    async def terms(self) -> Terms:
        return self._terms

    async def invoke(self, assignment: Assignment) -> None:
        await self._inner.invoke(assignment)
        self._trace.began.append((self._clock.monotonic(), assignment))

    async def stop(self, worker: WorkerId) -> None:
        if self._terms.ends == "told":
            await self._inner.stop(worker)

    async def exits(self) -> AsyncIterator[Exit]:
        async for gone in self._inner.exits():
            self._trace.ended.append((self._clock.monotonic(), gone))
            if self._terms.ends == "told":
                yield gone

    async def watch(self) -> None:
        await self._inner.watch()

    async def close(self) -> None:
        await self._inner.close()
        async for gone in self._inner.exits():
            self._trace.ended.append((self._clock.monotonic(), gone))


class Door:
    """Stands before everything else, and writes down when a request comes."""

    def __init__(self, inner: Invoker, clock: Clock, trace: Trace) -> None:
        self._inner = inner
        self._clock = clock
        self._trace = trace
        self.terms, self.stop, self.exits = inner.terms, inner.stop, inner.exits
        self.watch, self.close = inner.watch, inner.close

    async def invoke(self, assignment: Assignment) -> None:
        self._trace.requests.append((self._clock.monotonic(), assignment))
        await self._inner.invoke(assignment)


@dataclass(frozen=True, slots=True)
class Priced(Local):
    """``cirrus.local()`` at a price; ``trace`` is empty at first."""

    trace: Trace = field(default_factory=Trace)
    ends: Ends = "told"
    odds: Odds | None = None
    timeout: float | None = None
    patience: PoolPolicy = field(default_factory=PoolPolicy)
    command: tuple[str, ...] = ()

    @property
    def policy(self) -> PoolPolicy:
        return self.patience

    def invoker(self, command: tuple[str, ...], clock: Clock, grace: float) -> Invoker:
        trace = self.trace
        terms = Terms(price=trace.price, memory=trace.memory, timeout=self.timeout, ends=self.ends)
        local = Local(self.store).invoker(self.command or command, clock, grace)
        invoker: Invoker = TracedInvoker(local, clock, terms, trace)
        if self.odds is not None:
            chaos = ChaosInvoker(invoker, clock, self.odds)
            trace.invokers.append(chaos)
            invoker = chaos
        return Door(invoker, clock, trace)
