"""Workers die at any moment of a training, and every minibatch still counts exactly once."""

import asyncio
import os
import signal
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pytest

from cirrus.core.slots import PoolPolicy
from cirrus.events import StageProgress, WorkerReplaced, WorkerStarted
from cirrus.runs import Run, start
from cirrus.testing.places import Troubled
from tests.chaos.ground import Oracle, kill, store_in, worker_pids

DEATHS = 10


@dataclass(slots=True)
class Killer:
    """Kills ``DEATHS`` workers, each a random while after a random moment of the stage; remembers what was told."""

    oracle: Oracle
    chance: np.random.Generator
    killed: list[int] = field(default_factory=list)
    heard: set[int] = field(default_factory=set)
    replaced: list[WorkerReplaced] = field(default_factory=list)

    async def follow(self, run: Run) -> None:
        """Do it while the run goes on."""
        moments = sorted(self.chance.integers(1, self.oracle.units * 4 // 5, DEATHS))
        async for event in run.events():
            match event:
                case WorkerReplaced():
                    self.replaced.append(event)
                case WorkerStarted(pid=pid):
                    self.heard.add(pid)
                case StageProgress(stage="train", done=done):
                    while len(self.killed) < DEATHS and done >= moments[len(self.killed)]:
                        await asyncio.sleep(self.chance.uniform(0.0, 0.3))
                        self._kill_one()
                case _:
                    pass

    def _kill_one(self) -> None:
        """Any of the processes that are there, those that are still starting included, but not three such in a row."""
        young = not self.heard.intersection(self.killed[-2:]) and self.killed
        living = [pid for pid in worker_pids("train") if pid in self.heard or not young]
        victim = int(self.chance.choice(living)) if living else 0
        if victim and victim not in self.killed and kill(victim):
            self.killed.append(victim)


async def ten_die(folder: Path, oracle: Oracle, shards: int) -> None:
    killer = Killer(oracle, np.random.default_rng(shards))
    async with start(oracle.pipeline(folder, oracle.train(workers=3, shards=shards)), on=store_in(folder)) as run:
        await killer.follow(run)
        result = await run.result()
    oracle.check(result)
    assert len(killer.killed) == DEATHS
    assert [one.reason.splitlines()[0] for one in killer.replaced] == ["killed: SIGKILL"] * DEATHS


@pytest.mark.asyncio(loop_factories=["asyncio"])
async def test_ten_workers_die_and_every_minibatch_counts_once(tmp_path: Path) -> None:
    await ten_die(tmp_path, Oracle(passes=30, pause=0.001), shards=1)


@pytest.mark.asyncio(loop_factories=["uvloop"])
async def test_ten_workers_of_three_shards_die_and_every_minibatch_counts_once_on_each(tmp_path: Path) -> None:
    await ten_die(tmp_path, Oracle(passes=20, pause=0.001), shards=3)


@pytest.mark.asyncio(loop_factories=["asyncio"])
async def test_what_holds_the_model_is_kept_while_a_worker_that_hangs_is_waited_for(tmp_path: Path) -> None:
    oracle = Oracle(passes=6)
    stage = replace(oracle.train(workers=3), snapshot=0.1, staleness=6)
    place = Troubled(tmp_path / "store", patience=PoolPolicy(drain_deadline=3.0))
    stopped = 0
    async with start(oracle.pipeline(tmp_path, stage), on=place) as run:
        async for event in run.events():
            if isinstance(event, StageProgress) and event.stage == "train" and event.done > 60 and not stopped:
                stopped = worker_pids("train")[0]
                os.kill(stopped, signal.SIGSTOP)
        result = await run.result()
    oracle.check(result)
    assert stopped
