"""Workers that pass their limits, or whose parent is gone, leave; what they were at is done by others, once."""

import asyncio
import sys
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from cirrus.cloud.processes import FORKS
from cirrus.errors import StageFailed
from cirrus.events import Event, StageProgress, WorkerReplaced
from cirrus.runs import resume, start
from tests.chaos.costly import Costly
from tests.chaos.ground import Oracle, kill, store_in, worker_pids

ROOT = Path(__file__).parents[2]
DRIVER = """
import asyncio, sys
from pathlib import Path
from cirrus.runs import start
from tests.chaos.ground import store_in
from tests.chaos.test_limits import ORPHANED, training_goes_on
async def main():
    folder = Path(sys.argv[1])
    async with start(ORPHANED.pipeline(folder, ORPHANED.train(workers=2, shards=2)), on=store_in(folder)) as run:
        async for event in run.events():
            if training_goes_on(event):
                print(run.run_id, flush=True)
                break
        await run.result()
asyncio.run(main())
"""
ORPHANED = Oracle(passes=12)


def training_goes_on(event: Event) -> bool:
    return isinstance(event, StageProgress) and event.stage == "train" and event.done > ORPHANED.units // 4


@pytest.mark.asyncio(loop_factories=["uvloop"])
async def test_workers_whose_time_is_up_hand_back_what_they_hold_and_are_replaced(tmp_path: Path) -> None:
    oracle = Oracle(rows=1600, passes=5)
    slow = Costly(room=oracle.steps + 5, seconds=0.006)
    stage = replace(oracle.train(workers=2, timeout=4.0), model=slow)
    async with start(oracle.pipeline(tmp_path, stage), on=store_in(tmp_path)) as run:
        replaced = [event async for event in run.events() if isinstance(event, WorkerReplaced)]
        result = await run.result()
    oracle.check(result)
    reasons = {one.reason for one in replaced}
    assert "deadline: its time is nearly up" in reasons
    assert reasons <= {"deadline: its time is nearly up", "timeout: still running after its 4 s"}, "it had no time left"


@pytest.mark.asyncio(loop_factories=["asyncio"])
async def test_a_worker_over_its_memory_is_reported_as_such_and_the_second_in_a_row_ends_the_stage(
    tmp_path: Path,
) -> None:
    oracle = Oracle(rows=1600, minibatch=2, passes=100)
    stage = replace(oracle.train(workers=1, memory=128), model=Costly(room=oracle.steps + 5, size=1 << 20))
    async with start(oracle.pipeline(tmp_path, stage), on=store_in(tmp_path)) as run:
        replaced = [event async for event in run.events() if isinstance(event, WorkerReplaced)]
        with pytest.raises(StageFailed, match="ran out of memory in slot 0; give the stage more memory") as failed:
            await run.result()
    assert "MB resident, more than its 128 MB" in failed.value.evidence
    assert [one.reason.partition(": ")[0] for one in replaced] == ["memory"]
    assert replaced[0].reason.splitlines()[0].endswith("MB resident, more than its 128 MB")


@pytest.mark.asyncio(loop_factories=["asyncio"])
async def test_whoever_is_orphaned_leaves_and_another_driver_goes_on_with_the_run(tmp_path: Path) -> None:
    command = (sys.executable, "-c", DRIVER, str(tmp_path))
    driver = await asyncio.create_subprocess_exec(*command, cwd=ROOT, stdout=asyncio.subprocess.PIPE)
    assert driver.stdout is not None
    run_id = (await driver.stdout.readline()).decode().strip()
    orphans = psutil.Process(driver.pid).children(recursive=True)
    assert len(orphans) == 4 + FORKS  # two workers, two shards, and what workers are forked from
    assert len(worker_pids("train", driver.pid)) == 2
    assert kill(driver.pid)
    await driver.wait()
    _, left = await asyncio.to_thread(psutil.wait_procs, orphans, 10.0)
    assert left == []
    ORPHANED.check(await resume(run_id, on=store_in(tmp_path)))
