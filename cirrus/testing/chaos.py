"""An invoker that treats requests as the worst of providers would: nothing may rest on its doing better."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from heapq import heappop, heappush

import numpy as np

from cirrus import checks
from cirrus.actors.kernel import Kernel
from cirrus.clock import Clock
from cirrus.cloud.base import Assignment, Exit, Invoker
from cirrus.core.ids import WorkerId
from cirrus.core.terms import Terms
from cirrus.errors import InvokeError, Throttled, Unanswered

TICK = 0.02


@dataclass(frozen=True, slots=True, kw_only=True)
class Odds:
    """What becomes of a request, each with its probability; the same for the same ``seed``.

    ``lose``: it is accepted and nothing comes of it. ``duplicate``: its worker is started twice, the second time up to
    ``by`` seconds later. ``late``: it is started up to ``by`` seconds after it was accepted. ``throttle``: it is
    refused as too fast. ``unanswered``: its worker is started, but whoever asked is told that nobody answered.
    """

    seed: int
    lose: float = 0.0
    duplicate: float = 0.0
    late: float = 0.0
    throttle: float = 0.0
    unanswered: float = 0.0
    by: float = 1.0

    def __post_init__(self) -> None:
        for name in ("lose", "duplicate", "late", "throttle", "unanswered"):
            checks.within(f"odds.{name}", getattr(self, name), 0.0, 1.0)
        checks.positive("odds.by", self.by)


class ChaosInvoker:
    """Passes requests on to ``inner`` as the odds have it, and everything else as it is; counts what it did in ``did``.

    ``watch`` starts what is late; whoever owns the invoker must run it as a task, as for any invoker.
    """

    def __init__(self, inner: Invoker, clock: Clock, odds: Odds) -> None:
        self.did = dict.fromkeys(("lose", "duplicate", "late", "throttle", "unanswered"), 0)
        self._inner = inner
        self._clock = clock
        self._odds = odds
        self._chance = np.random.default_rng(odds.seed)
        self._late: list[tuple[float, int, Assignment]] = []
        self._closed = False

    async def terms(self) -> Terms:
        """Those of ``inner``."""
        return await self._inner.terms()

    async def invoke(self, assignment: Assignment) -> None:
        """Ask for a worker, who may come, come twice, late or never; ``InvokeError``, even where it comes."""
        if self._closed:
            raise InvokeError("nothing is invoked after close")
        if self._happens("throttle"):
            raise Throttled("429: too many requests, says chance")
        if self._happens("lose"):
            return
        if self._happens("late"):
            self._postpone(assignment)
            return
        await self._inner.invoke(assignment)
        if self._happens("duplicate"):
            self._postpone(assignment)
        if self._happens("unanswered"):
            raise Unanswered("no answer within the time, says chance")

    async def stop(self, worker: WorkerId) -> None:
        """Whatever ``inner`` can do."""
        await self._inner.stop(worker)

    async def exits(self) -> AsyncIterator[Exit]:
        """What ``inner`` tells."""
        async for ended in self._inner.exits():
            yield ended

    async def watch(self) -> None:
        """Start what is late when its time has come, until ``close``."""
        async with Kernel(self._clock) as kernel:
            kernel.task(self._inner.watch(), name="chaos.inner")
            while not self._closed:
                while self._late and self._late[0][0] <= self._clock.monotonic():
                    await self._inner.invoke(heappop(self._late)[2])
                await self._clock.sleep(TICK)

    async def close(self) -> None:
        """End everything; what is late never comes."""
        self._closed = True
        self._late.clear()
        await self._inner.close()

    def _happens(self, what: str) -> bool:
        happens = bool(self._chance.random() < getattr(self._odds, what))
        self.did[what] += happens
        return happens

    def _postpone(self, assignment: Assignment) -> None:
        at = self._clock.monotonic() + self._chance.uniform(0.0, self._odds.by)
        heappush(self._late, (at, len(self._late) + sum(self.did.values()), assignment))
