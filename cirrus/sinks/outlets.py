"""The sinks of one run: opened before it says anything, and closed, within a bounded time, when it is over."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

from cirrus.actors.bus import EventBus
from cirrus.actors.kernel import Kernel, Task, undisturbed
from cirrus.clock import Clock
from cirrus.core.views import SinkView
from cirrus.sinks.base import Outlet, Sink

FLUSH = 10.0
"""Seconds that a run's end waits for its sinks."""


@dataclass(frozen=True, slots=True)
class _Open:
    sink: Sink
    outlet: Outlet
    following: Task[None]
    pouring: Task[None]


class Outlets:
    """The sinks as they are."""

    def __init__(self, kernel: Kernel, bus: EventBus, sinks: Sequence[Sink]) -> None:
        self._kernel = kernel
        self._bus = bus
        self._open = [self._opened(sink) for sink in sinks]

    @property
    def views(self) -> tuple[SinkView, ...]:
        """Each sink, and what did not reach it."""
        return tuple(SinkView(one.sink.name, one.outlet.dropped, one.outlet.problem) for one in self._open)

    async def close(self) -> None:
        """Bring the rest to each sink, within ``FLUSH`` seconds for all together."""
        self._bus.close()
        for one in self._open:
            await one.following.wait()
            one.outlet.finish()
        with contextlib.suppress(TimeoutError):
            await self._kernel.within(FLUSH, self._poured())
        for one in self._open:
            await one.pouring.cancel()

    def _opened(self, sink: Sink) -> _Open:
        outlet = sink.outlet(self._kernel)
        following = self._kernel.task(outlet.follow(self._bus.subscribe()), name=f"events to {sink.name}")
        return _Open(sink, outlet, following, self._kernel.task(outlet.pour(), name=sink.name))

    async def _poured(self) -> None:
        for one in self._open:
            await one.pouring.wait()


@asynccontextmanager
async def outlets(bus: EventBus, sinks: Sequence[Sink], clock: Clock) -> AsyncIterator[Outlets]:
    """Bring what the bus says to the sinks; at the end, warn of those that something did not reach."""
    async with Kernel(clock) as kernel:
        opened = Outlets(kernel, bus, sinks)
        try:
            yield opened
        finally:
            await undisturbed(opened.close())
            for view in opened.views:
                _warn(view)


def _warn(view: SinkView) -> None:
    if view.dropped:
        with contextlib.suppress(RuntimeWarning):  # where warnings are errors, the run's own end comes first
            said = f"{view.dropped} events did not reach {view.name}: {view.problem or 'it was too slow'}"
            warnings.warn(said, RuntimeWarning, stacklevel=2)
