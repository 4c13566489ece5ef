"""Everything dies, again and again, and the model comes out as if nothing had happened."""

import asyncio
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from cirrus.actors.preparing import TIMEOUT as PREPARING
from cirrus.runs import run
from tests.chaos.census import census
from tests.chaos.clicks import TIMEOUT, check, clicks, gate
from tests.chaos.drive import Task
from tests.chaos.drivers import DriverProcess, driver
from tests.chaos.ground import WORKER, store_in
from tests.chaos.reaper import Reaper, Victim

WORKERS, SHARDS = 6, 3
DEATHS: list[Victim] = [("worker", slot) for slot in range(WORKERS)] * 5
DEATHS += [("shard", shard) for shard in range(SHARDS)] * 2

UNKNOWN = max((WORKERS + 1) * TIMEOUT, PREPARING)
"""Seconds of workers whose end nobody tells of when the driver dies: those that learn and the one that evaluates.

What may still be written down is what the worker that prepared could have taken, if that is more: a promise that covers
those after it is renewed every few seconds.
"""


async def all_die(reaper: Reaper, driver: DriverProcess, victims: list[Victim], chance: np.random.Generator) -> None:
    for victim in victims:
        await reaper.reap(driver, victim)
        await asyncio.sleep(chance.uniform(0.0, 0.2))


@pytest.mark.timeout(240)
@pytest.mark.asyncio(loop_factories=["asyncio"])
async def test_each_worker_dies_five_times_each_shard_twice_and_the_driver_once(
    tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    chance = np.random.default_rng(2019)
    reaper = Reaper()
    deaths = [DEATHS[k] for k in chance.permutation(len(DEATHS))]
    half = len(deaths) // 2
    task = Task(str(tmp_path), what="clicks", workers=WORKERS, shards=SHARDS, restarts=1000)
    async with driver(task) as first:
        with census(first.mark, WORKER) as before:
            await all_die(reaper, first, deaths[:half], chance)
            first.send(signal.SIGKILL)
            await first.process.wait()
            await first.gone(30)
    reaper.living.clear()
    async with driver(replace(task, run=first.run_id)) as second:
        with census(second.mark, WORKER) as after:
            await all_die(reaper, second, deaths[half:], chance)
            gate(tmp_path).touch()
            assert await second.end() == 0
            assert second.ended == "done", second.said[-1]  # by then it has seen that each minibatch counted ten times
            await second.gone(10)
    assert sorted(reaper.killed) == sorted(DEATHS)
    assert len(before) + len(after) > len(DEATHS) - 2 * SHARDS
    lived = before.seconds + after.seconds
    reported = float(second.said[-1]["worker_seconds"])
    print(f"{reported:.3f} worker-seconds reported; {len(before) + len(after)} processes lived for {lived:.3f} s")
    assert lived <= reported <= lived + UNKNOWN
    disturbed = float(second.said[-1]["log_loss"])
    place = store_in(tmp_path / "undisturbed")
    result = await run(clicks(tmp_path, WORKERS, SHARDS), on=place)
    store = place.open()
    await check(store, result)
    await store.close()
    undisturbed = result.metrics["train"]["log_loss"]
    record_property("log loss with 37 deaths", disturbed)
    record_property("log loss with none", undisturbed)
    print(f"log loss {disturbed:.5f} with {len(DEATHS) + 1} deaths, {undisturbed:.5f} with none")
    assert abs(disturbed - undisturbed) <= 0.003
