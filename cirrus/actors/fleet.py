"""The shards of a run as the driver keeps them: started side by side, and told of whenever one was started again."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

from cirrus import events
from cirrus.actors.bus import EventBus
from cirrus.actors.kernel import Kernel
from cirrus.actors.seats import Answering, Seat


class Fleet:
    """Starts the shards in their seats, and watches them; ``began`` is the clock's time at the run's start."""

    def __init__(self, kernel: Kernel, seats: Sequence[Seat], bus: EventBus, began: float) -> None:
        self._kernel = kernel
        self._seats = tuple(seats)
        self._bus = bus
        self._began = began
        self._first: tuple[Answering, ...] = ()

    async def start(self) -> tuple[str, ...]:
        """Start all shards side by side, and return their URLs; ``InvokeError`` where one does not come up."""
        starting = [
            self._kernel.task(seat.start(), name=f"start shard {number}") for number, seat in enumerate(self._seats)
        ]
        self._first = tuple([await one.wait() for one in starting])
        return tuple(one.url for one in self._first)

    def keep(self, back: Callable[[int], Awaitable[None]]) -> None:
        """Watch all of them from now on; ``back`` is told the number of each that was started again."""
        for number, (seat, first) in enumerate(zip(self._seats, self._first, strict=True)):
            self._bus.publish(events.ShardStarted(at=self._at, shard=number, address=first.url, pid=first.pid))
            self._skipped(number, first)
            self._kernel.task(self._keep(number, seat, back), name=f"shard {number}")

    async def _keep(self, number: int, seat: Seat, back: Callable[[int], Awaitable[None]]) -> None:
        while True:
            now = await seat.again()
            self._bus.publish(events.ShardRestarted(at=self._at, shard=number, pid=now.pid, reason=now.reason))
            self._skipped(number, now)
            await back(number)

    def _skipped(self, number: int, now: Answering) -> None:
        for key, problem in now.skipped:
            self._bus.publish(events.SnapshotSkipped(at=self._at, shard=number, key=key, problem=problem))

    @property
    def _at(self) -> float:
        return self._kernel.clock.monotonic() - self._began
