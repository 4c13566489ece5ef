"""Trials go on under another driver and over the deaths of shards and workers: none is repeated, none comes back."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from cirrus.attached import kill
from cirrus.store.opening import open_store
from tests.chaos.clicks import gate
from tests.chaos.drive import Task
from tests.chaos.drivers import DriverProcess, driver
from tests.chaos.ground import store_in
from tests.chaos.trials import journal

WORKERS = 3
TRIALS = set(range(6))


def started(process: DriverProcess) -> list[int]:
    """The trials that a driver has begun or gone on with."""
    return [one["trial"] for one in process.said if one.get("event") == "TrialStarted"]


def ended(process: DriverProcess) -> dict[int, str]:
    """How trials have ended under a driver."""
    return {one["trial"]: one["outcome"] for one in process.said if one.get("event") == "TrialFinished"}


@pytest.mark.parametrize("shards", [1, 2])
@pytest.mark.asyncio(loop_factories=["asyncio"])
async def test_a_driver_dies_in_the_middle_and_nothing_is_repeated_or_revived(tmp_path: Path, shards: int) -> None:
    task = Task(str(tmp_path), what="tune", workers=WORKERS, shards=shards)
    store = open_store((tmp_path / "store").as_uri())
    async with driver(task) as first:
        assert await first.until(lambda one: one.get("event") == "LossReported" and one["trial"] == 1)
        await kill(first.run_id, trial=1, reason="not wanted", on=store_in(tmp_path))
        gate(tmp_path).touch()
        assert await first.until(lambda one: one.get("event") == "TrialFinished" and one["outcome"] == "pruned")
        first.send(signal.SIGKILL)
        await first.end()
        await first.gone(60)
    over = {
        one["fields"]["trial"]: one["fields"]["outcome"]
        for one in await journal(store, first.run_id)
        if one["kind"] == "trial_over"
    }
    assert over[1] == "killed"
    assert len(over) >= 2
    async with driver(Task(str(tmp_path), run=first.run_id, what="tune")) as second:
        await second.end()
        assert second.ended == "done", second.said[-1]
    assert not set(started(second)) & over.keys(), "what had ended is not begun again"
    assert set(started(second)) | over.keys() == TRIALS
    assert len(started(second)) == len(set(started(second)))
    decided = [one["fields"]["trial"] for one in await journal(store, first.run_id) if one["kind"] == "trial_over"]
    assert sorted(decided) == sorted(TRIALS), "each has ended once"
    figures = second.said[-1]
    assert figures["trials"] == len(TRIALS)
    assert figures["best"] != 1
    assert figures["log_loss"] == figures[f"trial {figures['best']:.0f}"]
    await store.close()


@pytest.mark.asyncio(loop_factories=["uvloop"])
async def test_shards_and_workers_die_and_the_best_model_has_counted_every_step_once(tmp_path: Path) -> None:
    async with driver(Task(str(tmp_path), what="tune", workers=WORKERS, shards=2)) as process:
        assert await process.until(lambda one: one.get("event") == "LossReported")
        for shard in range(2):
            pid = next(
                one["pid"] for one in process.said if one.get("event") == "ShardStarted" and one["shard"] == shard
            )
            os.kill(pid, signal.SIGKILL)
            assert await process.until(lambda one: one.get("event") == "ShardRestarted")
        assert await process.until(lambda one: one.get("event") == "WorkerStarted" and ".trial" in one["stage"])
        os.kill(process.said[-1]["pid"], signal.SIGKILL)
        assert await process.until(lambda one: one.get("event") == "WorkerReplaced")
        gate(tmp_path).touch()
        await process.end()
        assert process.ended == "done", process.said[-1]
    assert set(ended(process)) == TRIALS
    assert "done" in ended(process).values()
