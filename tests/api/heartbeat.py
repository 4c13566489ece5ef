"""Whether a loop goes on turning."""

from __future__ import annotations

import asyncio
import time

BEAT = 0.005


class Heartbeat:
    """Measures the loop's turns: the longest pause between two, and the most that its thread computed in one."""

    def __init__(self) -> None:
        self.longest = 0.0
        self.busiest = 0.0

    async def beat(self) -> None:
        wall, used = time.perf_counter(), time.thread_time()
        while True:
            await asyncio.sleep(BEAT)
            wall, earlier, used, before = time.perf_counter(), wall, time.thread_time(), used
            self.longest = max(self.longest, wall - earlier - BEAT)
            self.busiest = max(self.busiest, used - before)
