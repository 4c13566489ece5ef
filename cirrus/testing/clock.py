"""A clock that a test moves: an hour of waiting takes no time."""

from __future__ import annotations

import asyncio
import heapq
from itertools import count

YIELDS = 20
"""Turns of the loop that tasks get before time moves on: how far a chain of wake-ups can run at one moment."""


class ManualClock:
    """A ``Clock`` that stands still until ``advance``; ``set_wall`` and ``drift`` set the two times apart."""

    def __init__(self, wall: float = 1_700_000_000.0, monotonic: float = 1_000.0) -> None:
        """Start at those two times, in seconds."""
        self._wall = wall
        self._monotonic = monotonic
        self._sleepers: list[tuple[float, int, asyncio.Future[None]]] = []
        self._order = count()

    def monotonic(self) -> float:
        """Seconds, moved by ``advance``."""
        return self._monotonic

    def wall(self) -> float:
        """Seconds since the Unix epoch, moved by ``advance`` and ``set_wall``."""
        return self._wall

    @property
    def sleeping(self) -> int:
        """How many tasks sleep on this clock."""
        return sum(not wake.done() for _, _, wake in self._sleepers)

    async def sleep(self, seconds: float) -> None:
        """Wait until the clock has been moved that far; other tasks get a turn in any case."""
        if seconds <= 0:
            await self._turn()
            return
        wake: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._sleepers, (self._monotonic + seconds, next(self._order), wake))
        await wake

    async def advance(self, seconds: float) -> None:
        """Move both times on, waking sleepers in the order of their time, and let tasks run between."""
        end = self._monotonic + seconds
        await self.settle()
        while self._sleepers and self._sleepers[0][0] <= end:
            due, _, wake = heapq.heappop(self._sleepers)
            if wake.done():  # its task was cancelled
                continue
            self._move_to(due)
            wake.set_result(None)
            await self.settle()
        self._move_to(end)
        await self.settle()

    def set_wall(self, seconds: float) -> None:
        """Set the wall clock alone, as an administrator would: forwards or back; nobody wakes."""
        self._wall = seconds

    def drift(self, seconds: float) -> None:
        """Move the monotonic time alone, forwards, as while a machine sleeps; sleepers wake at the next ``advance``."""
        if seconds < 0:
            raise ValueError("monotonic time never goes back")
        self._monotonic += seconds

    async def settle(self) -> None:
        """Let all tasks run until they wait for something, as far as a fixed number of turns can tell."""
        for _ in range(YIELDS):
            await self._turn()

    async def _turn(self) -> None:
        await asyncio.sleep(0)  # noqa: TID251  a turn of the loop, not a wait

    def _move_to(self, monotonic: float) -> None:
        step = max(0.0, monotonic - self._monotonic)
        self._monotonic += step
        self._wall += step
