"""A worker whose store is far away: whatever it reads comes late, over a line that is its own, and is not kept.

    python -m benchmarks.far_worker LATENCY RATE ROOM

It waits for so many seconds at each request, lets so many bytes a second through, and keeps blocks in such a share of
its memory.
"""

from __future__ import annotations

import asyncio
import sys

from cirrus.actors import train_job, worker, worker_process
from cirrus.store.base import ObjectStore
from cirrus.store.opening import open_store
from cirrus.testing.stores import MeddledStore, Request


class Far(MeddledStore):
    """What several requests ask for at a time shares the line."""

    def __init__(self, inner: ObjectStore, latency: float, rate: float) -> None:
        super().__init__(inner, self._wait)
        self._latency = latency
        self._rate = rate
        self._line = asyncio.Lock()

    async def get(self, key: str, start: int = 0, stop: int | None = None) -> bytes:
        data = await super().get(key, start, stop)
        async with self._line:
            await asyncio.sleep(len(data) / self._rate)
        return data

    async def _wait(self, _request: Request) -> None:
        await asyncio.sleep(self._latency)


def main() -> None:
    latency, rate, room = (float(one) for one in sys.argv[1:4])  # what follows tells people which worker it is
    vars(worker)["open_store"] = lambda url: Far(open_store(url), latency, rate)
    vars(train_job)["ROOM"] = room
    worker_process.main()


if __name__ == "__main__":
    main()
