"""What a training step costs: one worker without arithmetic against one shard process on this machine.

Prints, for several numbers of rows a step, the rate and the processor time of shard and worker a step, and the ratio of
both to what the shard's arithmetic alone takes in a loop. Run it on a quiet machine: ``python -m benchmarks.step``.
"""

from __future__ import annotations

import asyncio
import json
import sys
import tempfile
import time
from asyncio.subprocess import PIPE
from contextlib import AsyncExitStack
from dataclasses import dataclass
from statistics import median

import aiohttp
import numpy as np
import psutil
import uvloop

from cirrus.actors.link import Dial
from cirrus.actors.steps import Ask, StepClient
from cirrus.clock import SystemClock
from cirrus.learn.base import TableSpec
from cirrus.learn.rows import Floats
from cirrus.learn.tables import Table
from cirrus.optimizers import Adagrad
from cirrus.wire.specs import spec_to_json
from cirrus.wire.tokens import Claims, Role, issue

ROWS = 2**20
KEY = bytes(range(16))
SPEC = TableSpec("weights", ROWS, 1, Adagrad(0.1))
SECONDS = 1.0
REPEATS = 3


@dataclass(frozen=True)
class Pace:
    """How many steps are in flight, and how many frames go in a message."""

    depth: int
    group: int


PACES = (Pace(1, 1), Pace(2, 1), Pace(8, 4))


def bearer(role: Role) -> str:
    return issue(KEY, Claims("bench", 0, role, "train", 0, 0, SystemClock().wall() + 3600))


def batches(keys: int, count: int = 64) -> list[np.ndarray[tuple[int], np.dtype[np.uint32]]]:
    chance = np.random.default_rng(keys)
    return [np.sort(chance.choice(ROWS, keys, replace=False)).astype(np.uint32) for _ in range(count)]


def floor(keys: int) -> float:
    """Microseconds of one step's arithmetic on the table, without any network."""
    table = Table(SPEC, 0, 1)
    local = [one.astype(np.intp) for one in batches(keys)]
    gradient = np.full((keys, 1), 1e-4, np.float32)
    times = []
    for _ in range(REPEATS):
        begin = time.perf_counter()
        for _ in range(10):
            for one in local:
                table.push(one, gradient)
                table.pull(one)
        times.append((time.perf_counter() - begin) / (10 * len(local)))
    return median(times) * 1e6


async def steps(client: StepClient, unit: int, asks: list[Ask], gradient: Floats, pace: Pace) -> int:
    """Do steps for about ``SECONDS``; returns how many."""
    end = time.perf_counter() + SECONDS
    await client.open(unit, 0)
    for step in range(pace.depth):
        await client.pull(asks[step % len(asks)])
    step = 0
    while time.perf_counter() < end:
        for _ in range(100):
            await client.rows()
            await client.push_pull(step, (gradient,), asks[(step + pace.depth) % len(asks)])
            step += 1
    for _ in range(pace.depth):
        await client.rows()
        await client.push(step, (gradient,))
        step += 1
    await client.flush()
    return step


async def measure(stack: AsyncExitStack) -> None:
    folder = stack.enter_context(tempfile.TemporaryDirectory())
    shard = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "cirrus.actors.shard_process", stdin=PIPE, stdout=PIPE
    )
    assert shard.stdin is not None
    assert shard.stdout is not None
    told = {"run_id": "bench", "epoch": 0, "key": KEY.hex(), "shard": 0, "shards": 1, "store": f"file://{folder}"}
    shard.stdin.write(json.dumps({**told, "prefix": "shards/0"}).encode() + b"\n")
    url = f"http://127.0.0.1:{json.loads(await shard.stdout.readline())['port']}"
    stack.push_async_callback(shard.communicate, b"")  # the end of its input ends it
    session = await stack.enter_async_context(aiohttp.ClientSession())
    headers = {"Authorization": f"Bearer {bearer('driver')}"}
    async with session.post(f"{url}/tables", json=[spec_to_json(SPEC)], headers=headers) as answer:
        answer.raise_for_status()
    print(f"{'keys':>6} {'depth':>5} {'group':>5} {'steps/s':>8} {'shard us':>9} {'worker us':>9} {'shard/floor':>11}")
    dial = Dial((url,), bearer("worker"), session, SystemClock(), np.random.default_rng(0))
    unit = 0
    for keys in (100, 700, 4000):
        alone = floor(keys)
        for pace in PACES:
            client = await StepClient.connect(dial, ["weights"], pace.group)
            asks = [client.ask([one]) for one in batches(keys)]
            gradient = np.full((keys, 1), 1e-4, np.float32)
            found = []
            for _ in range(REPEATS):
                unit += 1
                found.append(await one_run(client, shard.pid, (unit, asks, gradient, pace)))
            rate, theirs, ours = (median(column) for column in zip(*found, strict=True))
            ratio = theirs / alone
            print(f"{keys:6} {pace.depth:5} {pace.group:5} {rate:8.0f} {theirs:9.1f} {ours:9.1f} {ratio:11.1f}")
            await client.close()


async def one_run(
    client: StepClient, pid: int, work: tuple[int, list[Ask], Floats, Pace]
) -> tuple[float, float, float]:
    """Steps a second, and microseconds of processor time a step of the shard and of this process."""
    other = psutil.Process(pid)
    before, mine, begin = other.cpu_times(), time.process_time(), time.perf_counter()
    count = await steps(client, *work)
    seconds, ours, after = time.perf_counter() - begin, time.process_time() - mine, other.cpu_times()
    theirs = after.user + after.system - before.user - before.system
    return count / seconds, theirs / count * 1e6, ours / count * 1e6


async def main() -> None:
    async with AsyncExitStack() as stack:
        await measure(stack)


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main())
