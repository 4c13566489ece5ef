"""What snapshots cost those who push meanwhile: round trips of paced workers without and with snapshots being taken.

    python -m benchmarks.snapshots

One shard process with an AdaGrad table of 2^24 rows, its state and its penalties' clocks, 192 MB, two workers that do
a step of 100 rows every two milliseconds, and a store in a folder of this machine. Periods without snapshots and with
one after the other take turns, so that both meet the same neighbours; what counts are the medians over the periods.
"""

from __future__ import annotations

import asyncio
import gc
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from time import perf_counter

import aiohttp
import numpy as np
import psutil
import uvloop

from benchmarks.setting import setting, write
from benchmarks.step import bearer, shard_process
from cirrus.actors.link import Dial
from cirrus.actors.steps import StepClient
from cirrus.clock import SystemClock
from cirrus.learn.base import TableSpec
from cirrus.optimizers import Adagrad

ROWS = 2**24
KEYS = 100
WORKERS = 2
PAUSE = 0.002
"""Seconds from one step's beginning to the next one's, or to its answer where that takes longer."""

SECONDS = 5.0
ROUNDS = 7
SPEC = TableSpec("weights", ROWS, 1, Adagrad(0.1), l2=1e-8, stale="damp")


@dataclass
class Period:
    """Round trips in milliseconds, and how many snapshots were taken meanwhile."""

    trips: list[float] = field(default_factory=list)
    snapshots: int = 0

    def figures(self) -> dict[str, float]:
        half, nearly_all = np.percentile(self.trips, (50, 99))
        found = {"p50": half, "p99": nearly_all, "longest": max(self.trips)}
        return {name: round(float(value), 3) for name, value in found.items()} | {"snapshots": self.snapshots}


async def work(client: StepClient, unit: int, end: float, trips: list[float]) -> None:
    """Steps of one worker until ``end``, whose round trips it notes."""
    chance = np.random.default_rng(unit)
    asks = [client.ask([np.unique(chance.integers(0, ROWS, KEYS)).astype(np.uint32)]) for _ in range(500)]
    gradients = [np.full((one.counts[0], 1), 1e-3, np.float32) for one in asks]
    await client.open(unit, 0)
    await client.pull(asks[0])
    await client.rows()
    step, due = 0, perf_counter()
    while due < end:
        begin = perf_counter()
        await client.push_pull(step, (gradients[step % len(asks)],), asks[(step + 1) % len(asks)])
        await client.rows()
        trips.append(1e3 * (perf_counter() - begin))
        step += 1
        due = max(due + PAUSE, perf_counter())
        await asyncio.sleep(due - perf_counter())
    await client.push(step, (gradients[step % len(asks)],))
    await client.flush()


async def snapshots(session: aiohttp.ClientSession, url: str, end: float) -> int:
    """Have one snapshot after the other taken until ``end``; says how many."""
    count = 0
    while perf_counter() < end:
        headers = {"Authorization": f"Bearer {bearer('driver')}"}
        async with session.post(f"{url}/snapshot", headers=headers) as answer:
            answer.raise_for_status()
        count += 1
    return count


@dataclass
class Bench:
    """A shard, those who push to it, and the last unit that was worked on."""

    url: str
    session: aiohttp.ClientSession
    clients: list[StepClient]
    unit: int = 0

    async def period(self, kind: str) -> Period:
        """One period of that kind."""
        found, end = Period(), perf_counter() + SECONDS
        async with asyncio.TaskGroup() as group:
            for client in self.clients:
                self.unit += 1
                group.create_task(work(client, self.unit, end, found.trips))
            if kind == "with":
                found.snapshots = await snapshots(self.session, self.url, end)
        return found


def summed(periods: list[dict[str, float]]) -> dict[str, float]:
    """The medians of a kind's periods; ``longest`` of them all; how many snapshots."""
    middle = {f"{name}_ms": round(median(one[name] for one in periods), 3) for name in ("p50", "p99")}
    longest = {"longest_ms": max(one["longest"] for one in periods)}
    return {**middle, **longest, "snapshots": sum(one["snapshots"] for one in periods)}


def peak(shard: psutil.Process) -> int:
    """The most bytes that the process has ever had in memory."""
    lines = Path(f"/proc/{shard.pid}/status").read_text().splitlines()
    return next(1024 * int(line.split()[1]) for line in lines if line.startswith("VmHWM"))


async def main() -> None:
    before = setting()
    kinds: dict[str, list[dict[str, float]]] = {"without": [], "with": []}
    async with shard_process(SPEC) as (url, shard), aiohttp.ClientSession() as session:
        dial = Dial((url,), bearer("worker"), session, SystemClock(), np.random.default_rng(0))
        bench = Bench(url, session, [await StepClient.connect(dial, ["weights"]) for _ in range(WORKERS)])
        gc.freeze()
        await bench.period("without")  # to warm up
        quiet = shard.memory_info().rss
        for number in range(ROUNDS):
            for kind in sorted(kinds, reverse=number % 2 == 0):
                kinds[kind].append((await bench.period(kind)).figures())
                print(f"{kind:8} {kinds[kind][-1]}", flush=True)
        memory = {"quiet_mb": round(quiet / 2**20), "peak_mb": round(peak(shard) / 2**20)}
        for client in bench.clients:
            await client.close()
    found = {kind: summed(periods) for kind, periods in kinds.items()}
    ratio = round(found["with"]["p99_ms"] / found["without"]["p99_ms"], 2)
    print(found, f"p99 with / without: {ratio}", memory, sep="\n")
    write("snapshots", before, {**found, "p99_ratio": ratio, **memory, "periods": kinds})


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main())
