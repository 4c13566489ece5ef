"""What a training step costs a shard: one worker without arithmetic against one shard process on this machine.

    python -m benchmarks.step

Writes, for several numbers of rows a step, the processor time of shard and worker a step and the rate, with compiled
loops and with numpy's. What neighbours do to the caches only adds to it, so that the least is the steadiest figure.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import tempfile
import time
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from statistics import median

import aiohttp
import numpy as np
import psutil
import uvloop

from benchmarks.setting import setting, switch, write
from cirrus.actors.link import Dial
from cirrus.actors.steps import Ask, StepClient
from cirrus.clock import SystemClock
from cirrus.cloud.processes import CHILD_ENVIRONMENT
from cirrus.learn.base import TableSpec
from cirrus.learn.rows import Floats, Keys
from cirrus.optimizers import Adagrad
from cirrus.wire.specs import spec_to_json
from cirrus.wire.tokens import Claims, Role, issue

ROWS = 2**20
KEY = bytes(range(16))
SPEC = TableSpec("weights", ROWS, 1, Adagrad(0.1), stale="damp")
KEYS = (100, 700, 1000, 4000, 40_000)
SECONDS = 0.5
REPEATS = 7


@dataclass(frozen=True)
class Pace:
    """How many steps are in flight, and how many frames go in a message."""

    depth: int
    group: int


PACES = (Pace(1, 1), Pace(2, 1), Pace(4, 2), Pace(8, 4))


@dataclass(frozen=True)
class Work:
    """Steps that all push the same gradient."""

    asks: list[Ask]
    gradient: Floats
    pace: Pace


def bearer(role: Role) -> str:
    return issue(KEY, Claims("bench", 0, role, "train", 0, 0, SystemClock().wall() + 3600))


def batches(keys: int, rows: int = ROWS, count: int = 64) -> list[Keys]:
    """So many different rows for each of ``count`` steps, ascending."""
    chance = np.random.default_rng(keys)
    drawn = (np.unique(chance.integers(0, rows, 2 * keys)) for _ in range(count))
    return [np.sort(chance.choice(some, keys, replace=False)).astype(np.uint32) for some in drawn]


async def steps(client: StepClient, unit: int, work: Work) -> int:
    """Do steps for about ``SECONDS``; returns how many."""
    end, asks, depth, gradient = time.perf_counter() + SECONDS, work.asks, work.pace.depth, (work.gradient,)
    await client.open(unit, 0)
    for step in range(depth):
        await client.pull(asks[step % len(asks)])
    step = 0
    while time.perf_counter() < end:
        for _ in range(20):
            await client.rows()
            await client.push_pull(step, gradient, asks[(step + depth) % len(asks)])
            step += 1
    for _ in range(depth):
        await client.rows()
        await client.push(step, gradient)
        step += 1
    await client.flush()
    return step


async def one_run(client: StepClient, shard: psutil.Process, unit: int, work: Work) -> tuple[float, float, float]:
    """Steps a second, and microseconds of processor time a step of the shard and of this process."""
    before, mine, begin = shard.cpu_times(), time.process_time(), time.perf_counter()
    count = await steps(client, unit, work)
    seconds, ours, after = time.perf_counter() - begin, time.process_time() - mine, shard.cpu_times()
    theirs = after.user + after.system - before.user - before.system
    return count / seconds, theirs / count * 1e6, ours / count * 1e6


@asynccontextmanager
async def shard_process(spec: TableSpec = SPEC) -> AsyncIterator[tuple[str, psutil.Process]]:
    """A shard with the table, its address and its process."""
    with tempfile.TemporaryDirectory() as folder:
        shard = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "cirrus.actors.shard_process", stdin=PIPE, stdout=PIPE,
            env={**os.environ, **CHILD_ENVIRONMENT},
        )  # fmt: skip
        assert shard.stdin is not None
        assert shard.stdout is not None
        told = {"run_id": "bench", "epoch": 0, "key": KEY.hex(), "shard": 0, "shards": 1, "store": f"file://{folder}"}
        shard.stdin.write(json.dumps({**told, "prefix": "shards/0"}).encode() + b"\n")
        url = f"http://127.0.0.1:{json.loads(await shard.stdout.readline())['port']}"
        headers = {"Authorization": f"Bearer {bearer('driver')}"}
        async with (
            aiohttp.ClientSession() as session,
            session.post(f"{url}/tables", json=[spec_to_json(spec)], headers=headers) as answer,
        ):
            answer.raise_for_status()
        try:
            yield url, psutil.Process(shard.pid)
        finally:
            await shard.communicate(b"")  # the end of its input ends it


async def measure(loops: str) -> list[dict[str, object]]:
    """The figures of all numbers of keys and paces."""
    switch(loops)
    found: list[dict[str, object]] = []
    async with shard_process() as (url, shard), aiohttp.ClientSession() as session:
        dial = Dial((url,), bearer("worker"), session, SystemClock(), np.random.default_rng(0))
        unit = 0
        for keys in KEYS:
            for pace in PACES:
                client = await StepClient.connect(dial, ["weights"], pace.group)
                asks = [client.ask([one]) for one in batches(keys)]
                work = Work(asks, np.full((keys, 1), 1e-4, np.float32), pace)
                runs = [await one_run(client, shard, unit := unit + 1, work) for _ in range(REPEATS)]
                await client.close()
                found.append(figures(loops, keys, pace, runs))
    return found


def figures(loops: str, keys: int, pace: Pace, runs: list[tuple[float, float, float]]) -> dict[str, object]:
    rates, shard, worker = zip(*runs, strict=True)
    print(f"{loops:8} {keys:6} {pace.depth:5} {pace.group:5} {max(rates):8.0f} {min(shard):9.1f} {min(worker):9.1f}")
    return {
        "loops": loops,
        "keys": keys,
        "depth": pace.depth,
        "group": pace.group,
        "steps_per_second": round(median(rates)),
        "shard_us": {"least": round(min(shard), 1), "median": round(median(shard), 1)},
        "worker_us": {"least": round(min(worker), 1), "median": round(median(worker), 1)},
    }


async def main() -> None:
    before = setting()
    print("loops      keys depth group  steps/s  shard us worker us")
    write("step", before, [*await measure("compiled"), *await measure("numpy")])


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main())
