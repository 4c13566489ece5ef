"""What a key costs a shard by the size of its table, and how much memory a shard needs.

    python -m benchmarks.keys

One worker that computes nothing, two steps in flight, against one shard process with an AdaGrad table of 2^18 to 2^24
rows. Steps of 4,000 keys each go all over the table, so that of a large one hardly a row is in a cache: beside it, what
reading eight bytes at the same places costs numpy, which has nothing but the caches to grow by. Sizes take turns; least
processor time of the shard, since neighbours only add to it.
"""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from contextlib import AsyncExitStack
from dataclasses import replace
from statistics import median

import aiohttp
import numpy as np
import psutil
import uvloop

from benchmarks.setting import setting, write
from benchmarks.step import SPEC, Pace, Work, batches, bearer, one_run, shard_process
from cirrus.actors.link import Dial
from cirrus.actors.steps import StepClient
from cirrus.clock import SystemClock

BITS = (18, 20, 22, 24)
KEYS = 4000
SETS = 1000
"""Different sets of keys, four million keys in all."""

ROUNDS = 7
PACE = Pace(2, 1)
BYTES = 8
"""Of a weight and AdaGrad's state."""

MB = 2**20


class Shard:
    """A shard process with a table of so many rows, and a worker's line to it."""

    def __init__(self, process: psutil.Process, client: StepClient, rows: int) -> None:
        self._process = process
        self._client = client
        self._unit = 0
        self._keys = batches(KEYS, rows, SETS)
        self._table = np.ones(rows, np.complex64)  # eight bytes a row
        asks = [client.ask([one]) for one in self._keys]
        self._work = Work(asks, np.full((KEYS, 1), 1e-4, np.float32), PACE)

    async def measure(self) -> float:
        """Microseconds of the shard's processor time a step."""
        self._unit += 1
        return (await one_run(self._client, self._process, self._unit, self._work))[1]

    def gather(self) -> float:
        """Microseconds that numpy needs to read the rows of a step."""
        begin = time.process_time()
        for one in self._keys:
            self._table.take(one, mode="clip")
        return 1e6 * (time.process_time() - begin) / SETS

    def memory(self) -> int:
        """Bytes in memory now."""
        return int(self._process.memory_info().rss)


async def started(stack: AsyncExitStack, bits: int) -> Shard:
    """A shard that lasts as long as the stack."""
    url, process = await stack.enter_async_context(shard_process(replace(SPEC, rows=2**bits)))
    session = await stack.enter_async_context(aiohttp.ClientSession())
    dial = Dial((url,), bearer("worker"), session, SystemClock(), np.random.default_rng(0))
    client = await StepClient.connect(dial, ["weights"], PACE.group)
    stack.push_async_callback(client.close)
    return Shard(process, client, 2**bits)


async def main() -> None:
    before = setting()
    spent: dict[int, list[float]] = defaultdict(list)
    read: dict[int, list[float]] = defaultdict(list)
    async with AsyncExitStack() as stack:
        shards = {bits: await started(stack, bits) for bits in BITS}
        for shard in shards.values():
            await shard.measure()  # to warm up
        for _ in range(ROUNDS):
            for bits, shard in shards.items():
                spent[bits].append(await shard.measure())
                read[bits].append(shard.gather())
        found = [figures(bits, spent[bits], read[bits], shard.memory()) for bits, shard in shards.items()]
    for one in found:
        print(one)
    write("keys", before, {"keys": KEYS, "sizes": found})


def figures(bits: int, spent: list[float], read: list[float], memory: int) -> dict[str, object]:
    table = BYTES * 2**bits / MB
    return {
        "bits": bits,
        "key_ns": round(1e3 * min(spent) / KEYS, 1),
        "median_ns": round(1e3 * median(spent) / KEYS, 1),
        "gather_ns": round(1e3 * min(read) / KEYS, 1),
        "table_mb": round(table),
        "memory_mb": round(memory / MB),
        "allowed_mb": round(1.3 * table + 60),
    }


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main())
