"""A driver's hold on its run: taken, kept, decided under, ended. Another driver may have it in between."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping

from cirrus.actors.records import Metrics, Records
from cirrus.clock import Clock
from cirrus.core.cost import Cost
from cirrus.errors import BudgetExceeded, Killed, OutsideError
from cirrus.store.fields import JSON
from cirrus.store.holding import Spent

RENEW = 5.0
"""Seconds between two signs of life in the store."""

SILENT = 20.0
"""Seconds without one after which the run is parked, for soon another driver may take it."""


class Tenure:
    """The time for which one driver holds a run; ``cost`` says what the run has cost until now."""

    def __init__(self, clock: Clock, cost: Callable[[], Cost]) -> None:
        self._clock = clock
        self._cost = cost
        self._records: Records | None = None
        self._taken: asyncio.Event | None = None
        self._renewing = asyncio.Lock()

    @property
    def spent(self) -> Spent:
        """What the run had cost before."""
        return Spent() if self._records is None else self._records.spent

    async def begin(self, holding: Awaitable[Records]) -> Records:
        """Hold the run; who asks whether that is settled meanwhile waits."""
        self._taken = asyncio.Event()
        try:
            self._records = await holding
        finally:
            self._taken.set()
        return self._records

    async def settled(self) -> None:
        """Return when the run is held, cannot be, or is not being taken at all."""
        if self._taken is not None:
            await self._taken.wait()

    async def decide(self, kind: str, fields: Mapping[str, JSON]) -> int:
        """Make a decision durable; its number, 0 where no run is held. ``RunBusy`` where another driver has it."""
        return 0 if self._records is None else await self._records.decide(kind, fields)

    async def cover(self) -> None:
        """Have it written down what those who are billed may come to cost; many that ask at once have one answer."""
        if self._records is not None:
            async with self._renewing:
                await self._records.cover(self._cost())

    async def stay_alive(self) -> None:
        """Say from time to time that this driver holds the run; where another does, or none can, this one is over."""
        since = self._clock.monotonic()
        while self._records is not None:
            await self._clock.sleep(RENEW)
            try:
                async with self._renewing:
                    await self._records.renew(self._cost())
            except OutsideError:
                if self._clock.monotonic() - since > SILENT:
                    raise
            else:
                since = self._clock.monotonic()

    async def close(self, outcome: str, reason: str, metrics: Mapping[str, Metrics]) -> None:
        """Write down how the run ended, and let go of it; nothing where it was never held."""
        if self._records is not None:
            await self._records.close(outcome, reason, metrics, self._cost())


def ending(error: BaseException, cancelled: str) -> str:
    """The outcome of a run that ended so; ``cancelled``: what a cancellation means.

    What fails outside of the run parks it, and so does its budget: it may go on when that is mended.
    """
    match error:
        case asyncio.CancelledError():
            return cancelled
        case Killed():
            return "killed"
        case OutsideError() | BudgetExceeded():
            return "parked"
        case _:
            return "failed"
