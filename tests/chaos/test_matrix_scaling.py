"""The row of the fault matrix about scaling: any number of workers, to none and back, while workers and shards die."""

import asyncio
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from cirrus.events import ShardRestarted, ShardStarted, StageProgress
from cirrus.runs import start
from tests.chaos.ground import Oracle, kill, store_in, worker_pids


@pytest.mark.asyncio(loop_factories=["uvloop"])
async def test_row_40_any_wish_at_any_time_under_faults_is_exact(tmp_path: Path) -> None:
    oracle = Oracle(passes=16)
    stage = replace(oracle.train(workers=2, shards=2), snapshot=1.0)
    chance = np.random.default_rng(40)
    shards: dict[int, int] = {}
    wishes: list[int] = []
    deaths = 0
    at = 0
    async with start(oracle.pipeline(tmp_path, stage), on=store_in(tmp_path)) as run:
        async for event in run.events():
            match event:
                case ShardStarted(shard=shard, pid=pid) | ShardRestarted(shard=shard, pid=pid):
                    shards[shard] = pid
                case StageProgress(stage="train", done=done) if done >= at:
                    at = done + int(chance.integers(40, 120))
                    wishes.append(int(chance.choice([0, 1, 2, 3, 4])))
                    await run.scale("train", wishes[-1])
                    living = worker_pids("train")
                    if living:
                        deaths += kill(int(chance.choice(living)))
                    if len(wishes) == 3:
                        deaths += kill(shards[int(chance.integers(2))])
                    if wishes[-1] == 0:
                        await asyncio.sleep(0.5)
                        await run.scale("train", 3)
                case _:
                    pass
        result = await run.result()
    oracle.check(result)
    assert deaths > 4
    assert 0 in wishes
