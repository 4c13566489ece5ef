"""The number of worker processes follows the wish within seconds, up and down, and training stays exact."""

import asyncio
import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from cirrus.events import StageFinished, WorkersScaled, WorkerStarted
from cirrus.runs import Run, start
from tests.chaos.ground import Oracle, store_in, worker_pids

WISHES = (6, 0, 3)
LIMIT = float(os.environ.get("CIRRUS_SCALE_SECONDS", "15"))
"""Five seconds is what is promised on a machine that has nothing else to do."""


async def follows(run: Run, wish: int) -> float:
    """Seconds until the system shows as many worker processes as wished for, and all of them have spoken."""
    began = time.monotonic()
    await run.scale("train", wish)
    while (found := (len(worker_pids("train")), running(run))) != (wish, wish):
        await asyncio.sleep(0.02)
        seconds = time.monotonic() - began
        assert seconds < LIMIT, f"{found[0]} processes, {found[1]} at work after {seconds:.1f} s; the wish is {wish}"
    return time.monotonic() - began


def running(run: Run) -> int:
    return sum(one.stage == "train" and one.state == "running" for one in run.workers)


@pytest.mark.asyncio(loop_factories=["uvloop"])
async def test_processes_follow_the_wish_from_one_to_six_to_none_to_three(
    tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    oracle = Oracle(passes=25)
    async with start(oracle.pipeline(tmp_path, oracle.train(workers=1)), on=store_in(tmp_path)) as run:
        events = run.events()
        async for event in events:
            if isinstance(event, WorkerStarted) and event.stage == "train":
                break
        assert len(worker_pids("train")) == 1
        for wish in WISHES:
            seconds = await follows(run, wish)
            record_property(f"seconds to {wish} workers", seconds)
            print(f"{wish} workers after {seconds:.2f} s")
        rest = [event async for event in events]
        result = await run.result()
    oracle.check(result)
    kinds = [type(event) for event in rest if isinstance(event, WorkersScaled | StageFinished)]
    assert kinds == [WorkersScaled] * len(WISHES) + [StageFinished], "the stage was over before it was scaled"


@pytest.mark.asyncio(loop_factories=["asyncio"])
async def test_a_wish_of_none_holds_training_up_until_there_is_another(tmp_path: Path) -> None:
    oracle = Oracle(passes=1)
    async with start(oracle.pipeline(tmp_path, oracle.train(workers=0)), on=store_in(tmp_path)) as run:
        async for event in run.events():
            match event:
                case WorkersScaled():
                    break
                case StageFinished(stage="prepare"):
                    await run.scale("train", 2)
                case _:
                    assert not worker_pids("train")
        result = await run.result()
    oracle.check(result)
    journal = tmp_path / "store" / "runs" / run.run_id / "journal"
    decided = sorted(journal.iterdir())
    await run.scale("train", 3)
    assert sorted(journal.iterdir()) == decided, "nothing is decided of a run that is over"
