"""Rows of the fault matrix about workers: requests that go astray, workers that hang, are slow, or cannot begin."""

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from itertools import groupby
from pathlib import Path

import psutil
import pytest

from cirrus.actors import learning
from cirrus.core.ledger import Ledger
from cirrus.core.slots import PoolPolicy
from cirrus.errors import StageFailed
from cirrus.events import Event, InvokeFailed, StageProgress, WorkerReplaced, WorkerStarted
from cirrus.results import Result
from cirrus.runs import start
from cirrus.store.checkpoints import newest_snapshot
from cirrus.store.opening import open_store
from cirrus.testing.chaos import ChaosInvoker, Odds
from cirrus.testing.places import Troubled
from tests.chaos.census import census
from tests.chaos.ground import WORKER, Oracle, store_in, worker_pids
from tests.chaos.marks import MARK

asyncio_only = pytest.mark.asyncio(loop_factories=["asyncio"])
uvloop_only = pytest.mark.asyncio(loop_factories=["uvloop"])


@dataclass
class Account:
    """What became of a run: everything that it said, its result, and its invoker."""

    said: list[Event] = field(default_factory=list)
    results: list[Result] = field(default_factory=list)
    invokers: list[ChaosInvoker] = field(default_factory=list)

    @property
    def started(self) -> list[WorkerStarted]:
        return [one for one in self.said if isinstance(one, WorkerStarted) and one.stage == "train"]

    @property
    def replaced(self) -> list[WorkerReplaced]:
        return [one for one in self.said if isinstance(one, WorkerReplaced)]

    def did(self, what: str) -> int:
        return self.invokers[0].did[what]


async def through(
    folder: Path, oracle: Oracle, odds: Odds, workers: int = 4, policy: PoolPolicy | None = None
) -> Account:
    """A run whose requests go astray like that; its counts are exact."""
    account = Account()
    place = Troubled(folder / "store", odds=odds, patience=policy, invokers=account.invokers)
    async with start(oracle.pipeline(folder, oracle.train(workers=workers)), on=place) as run:
        account.said = [event async for event in run.events()]
        account.results.append(await run.result())
    oracle.check(account.results[0])
    assert psutil.Process().children(recursive=True) == []
    return account


@asyncio_only
async def test_row_04_every_event_is_delivered_twice_and_the_second_leaves_and_is_paid(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(MARK, "row 4")
    odds = Odds(seed=4, duplicate=1.0, by=2.0)
    with census("row 4", WORKER) as workers:
        account = await through(tmp_path, Oracle(passes=12, pause=0.001), odds, workers=2)
    assert account.did("duplicate") == 3
    assert [(one.slot, one.attempt) for one in sorted(account.started, key=lambda one: one.slot)] == [(0, 1), (1, 1)]
    assert account.replaced == []
    cost = account.results[0].cost
    assert cost.invocations > 3, "deliveries too many are counted as well"
    assert cost.worker_seconds >= workers.seconds


@uvloop_only
async def test_row_05_events_are_lost_or_come_late_and_others_take_their_place(tmp_path: Path) -> None:
    odds = Odds(seed=33, lose=0.3, late=0.4, by=8.0)
    policy = PoolPolicy(start_deadline=4.0)
    account = await through(tmp_path, Oracle(passes=24, pause=0.002), odds, workers=4, policy=policy)
    assert account.did("lose") >= 2
    assert account.did("late") >= 2
    assert any("no sign of life" in one.reason for one in account.replaced)
    by_slot = sorted(account.started, key=lambda one: one.slot)  # and each slot's as they came
    for slot, started in groupby(by_slot, key=lambda one: one.slot):
        attempts = [one.attempt for one in started]
        assert attempts == sorted(attempts), f"in slot {slot} one that was late worked after its successor"


@uvloop_only
async def test_row_07_an_invoke_that_is_not_answered_has_run_all_the_same(tmp_path: Path) -> None:
    account = await through(tmp_path, Oracle(passes=2), Odds(seed=7, unanswered=0.7), workers=3)
    failed = [one for one in account.said if isinstance(one, InvokeFailed)]
    assert len(failed) >= 3
    assert {one.attempt for one in failed} == {1}, "the same attempt is asked for again"
    assert {one.attempt for one in account.started} == {1}
    assert account.replaced == []


@asyncio_only
async def test_row_08_workers_that_cannot_import_end_the_stage_after_three_with_their_traceback(tmp_path: Path) -> None:
    oracle = Oracle(rows=640, passes=1)
    command = (sys.executable, "-c", "import cirrus.not_in_the_bundle")
    place = Troubled(tmp_path / "store", command=command)
    said: list[Event] = []
    async with start(oracle.pipeline(tmp_path, oracle.train(workers=2)), on=place) as run:
        said = [event async for event in run.events()]
        with pytest.raises(StageFailed, match="3 workers in a row failed in the same way") as failed:
            await run.result()
    assert "ModuleNotFoundError: No module named 'cirrus.not_in_the_bundle'" in failed.value.evidence
    assert sum(isinstance(one, WorkerReplaced) for one in said) == 2


async def newest_leases(folder: Path, run_id: str, line: int = 1) -> int:
    """The highest lease under which anything was learnt, which is how often units went out."""
    store = open_store(store_in(folder).url)
    try:
        newest = await newest_snapshot(store, f"runs/{run_id}/shards/000")
    finally:
        await store.close()
    assert newest.snapshot is not None
    ledgers = newest.snapshot.header["ledgers"]
    assert isinstance(ledgers, Mapping)
    dump = ledgers[str(line)]
    assert isinstance(dump, list)
    return Ledger.load([one for one in dump if isinstance(one, int)]).highest


@asyncio_only
async def test_row_10_a_worker_that_hangs_loses_its_lease_and_is_fenced_when_it_wakes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(learning, "LEASE_SECONDS", 2.0)
    oracle = Oracle(passes=30)
    stage = replace(oracle.train(workers=3), staleness=200)
    stopped = 0
    async with start(oracle.pipeline(tmp_path, stage), on=store_in(tmp_path)) as run:
        async for event in run.events():
            if isinstance(event, StageProgress) and event.stage == "train" and event.done > 100 and not stopped:
                stopped = worker_pids("train")[0]
                os.kill(stopped, signal.SIGSTOP)
            if isinstance(event, WorkerReplaced):
                assert "nothing was heard of it for too long" in event.reason
                os.kill(stopped, signal.SIGCONT)
                break
        assert stopped
        async with asyncio.timeout(10):
            while psutil.pid_exists(stopped):
                await asyncio.sleep(0.02)
        result = await run.result()
    oracle.check(result)


@uvloop_only
async def test_row_11_a_straggler_is_relieved_by_an_idle_worker(tmp_path: Path) -> None:
    oracle = Oracle(passes=10)
    stage = replace(oracle.train(workers=3), staleness=6)
    stopped = 0
    replaced: list[WorkerReplaced] = []
    async with start(oracle.pipeline(tmp_path, stage), on=store_in(tmp_path)) as run:
        async for event in run.events():
            match event:
                case StageProgress(stage="train", done=done, total=total) if done == total:
                    os.kill(stopped, signal.SIGCONT)  # after all is done without it
                case StageProgress(stage="train", done=done) if done > 60 and not stopped:
                    stopped = worker_pids("train")[0]
                    os.kill(stopped, signal.SIGSTOP)
                case WorkerReplaced():
                    replaced.append(event)
                case _:
                    pass
        result = await run.result()
    oracle.check(result)
    assert replaced == [], "it was replaced as a dead one is, after half a minute"
    assert oracle.units < await newest_leases(tmp_path, run.run_id) <= oracle.units * 1.1 + 1


async def slowed(pids: list[int]) -> None:
    """Let the first of these processes run for a tenth of the time, until it is gone."""
    with contextlib.suppress(ProcessLookupError):
        while pids and psutil.pid_exists(pids[0]):
            os.kill(pids[0], signal.SIGSTOP)
            await asyncio.sleep(0.18)
            os.kill(pids[0], signal.SIGCONT)
            await asyncio.sleep(0.02)


@asyncio_only
async def test_row_11_a_worker_that_is_ten_times_slow_costs_no_more_than_a_tenth_again(tmp_path: Path) -> None:
    oracle = Oracle(passes=5)
    stage = replace(oracle.train(workers=3), staleness=6)
    async with (
        asyncio.TaskGroup() as group,
        start(oracle.pipeline(tmp_path, stage), on=store_in(tmp_path)) as run,
    ):
        slowing = None
        async for event in run.events():
            if isinstance(event, StageProgress) and event.stage == "train" and slowing is None:
                slowing = group.create_task(slowed(worker_pids("train")))
        result = await run.result()
    oracle.check(result)
    assert await newest_leases(tmp_path, run.run_id) <= oracle.units * 1.1 + 1
