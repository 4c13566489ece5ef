"""Rows of the fault matrix about the driver: it dies, sleeps, is raced, loses the store, is told to end."""

import asyncio
import json
import os
import signal
import sys
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import psutil
import pytest

from cirrus import runs, tenure
from cirrus.actors.kernel import Kernel
from cirrus.actors.scheduler import GRACE
from cirrus.clock import SystemClock
from cirrus.errors import Killed, RunBusy, StoreError
from cirrus.events import Event, InvokeFailed, StageProgress, StageResumed, WorkerStarted
from cirrus.results import Result
from cirrus.runs import resume, run, start
from cirrus.store import holding
from cirrus.store.base import ObjectStore
from cirrus.testing.places import Troubled
from cirrus.testing.proxy import proxied
from cirrus.testing.stores import MeddledStore, Request
from tests.chaos.census import census
from tests.chaos.drive import Task
from tests.chaos.drivers import TREE, driver
from tests.chaos.ground import WORKER, Oracle, kill, store_in, worker_pids
from tests.chaos.marks import MARK

asyncio_only = pytest.mark.asyncio(loop_factories=["asyncio"])
uvloop_only = pytest.mark.asyncio(loop_factories=["uvloop"])


def record(folder: Path, run_id: str, name: str) -> Mapping[str, object]:
    """One of a run's JSON objects."""
    found: Mapping[str, object] = json.loads((folder / "store" / "runs" / run_id / name).read_bytes())
    return found


def journal(folder: Path, run_id: str) -> list[str]:
    """The kinds of a run's decisions."""
    entries = sorted((folder / "store" / "runs" / run_id / "journal").glob("*.json"))
    return [json.loads(one.read_bytes())["kind"] for one in entries]


WRITES = [
    "run.json",
    "holder.json",
    "prepare/work.json",
    "encoding.json",
    "manifest.json",
    "00000000.json",  # prepared
    "train/work.json",
    "model.safetensors",
    "00000001.json",  # finished
    "result.json",
]


@pytest.mark.parametrize("written", WRITES)
@asyncio_only
async def test_row_16_the_driver_is_killed_right_after_a_write_and_the_run_goes_on_and_costs_what_it_did(
    tmp_path: Path, written: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = Task(str(tmp_path), fall_after=written)
    async with driver(task) as first:
        monkeypatch.setenv(MARK, first.mark)
        with census(first.mark, WORKER) as workers:
            assert await first.end() == -signal.SIGKILL
            (found,) = (tmp_path / "store" / "runs").iterdir()
            result = await resume(found.name, on=store_in(tmp_path))
        task.oracle.check(result)
        assert result.cost.worker_seconds >= workers.seconds > 0
        assert result.run_id == found.name
        assert record(tmp_path, found.name, "result.json")["outcome"] == "done"
        kinds = [kind for kind in journal(tmp_path, found.name) if kind != "taken"]
        assert kinds == ["prepared", "finished"], "each decision was made once"
        await first.gone(10)


@uvloop_only
async def test_row_16_a_kill_that_was_written_down_holds_though_the_driver_died_of_it(tmp_path: Path) -> None:
    async with driver(Task(str(tmp_path), kill=True, fall_after="00000000.json")) as first:
        assert await first.end() == -signal.SIGKILL
        assert journal(tmp_path, first.run_id) == ["killed"]
        with pytest.raises(Killed, match="enough"):
            await resume(first.run_id, on=store_in(tmp_path))
        assert record(tmp_path, first.run_id, "result.json")["outcome"] == "killed"


@asyncio_only
async def test_row_17_a_driver_that_is_gone_for_good_leaves_a_parked_run_and_no_process(tmp_path: Path) -> None:
    task = Task(str(tmp_path), rows=3200, passes=14, shards=2)
    async with driver(task) as first:
        assert await first.learnt(units=110)
        assert len(first.left()) >= 5
        first.send(signal.SIGKILL)
        await first.process.wait()
        await first.gone(60)
        listed = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "cirrus", "ls", "--store", str(tmp_path / "store"), "--json",
            stdout=asyncio.subprocess.PIPE, cwd=TREE,
        )  # fmt: skip
        told, _ = await listed.communicate()
        assert [(one["run_id"], one["outcome"]) for one in json.loads(told)] == [(first.run_id, "parked")]
        said: list[Event] = []
        async with start(first.run_id, on=store_in(tmp_path)) as again:
            said = [event async for event in again.events()]
            task.oracle.check(await again.result())
        (resumed,) = [one for one in said if isinstance(one, StageResumed)]
        assert resumed.units >= 100, "all that had been learnt was saved"


@uvloop_only
async def test_row_18_of_two_resumes_at_once_one_goes_on_and_the_other_hears_who_has_the_run(tmp_path: Path) -> None:
    task = Task(str(tmp_path), passes=4)
    async with driver(task) as first:
        assert await first.learnt(units=5)
        first.send(signal.SIGKILL)
        await first.process.wait()
        run_id = first.run_id
    outcomes = await asyncio.gather(
        *[resume(run_id, on=store_in(tmp_path)) for _ in range(4)], return_exceptions=True
    )
    (result,) = [one for one in outcomes if isinstance(one, Result)]
    task.oracle.check(result)
    busy = [one for one in outcomes if isinstance(one, RunBusy)]
    assert len(busy) == 3
    assert all(f"process {os.getpid()} on" in one.holder and one.seconds < 30 for one in busy)


@asyncio_only
async def test_row_19_a_driver_that_slept_finds_that_it_was_replaced_and_stops_acting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(holding, "PATIENCE", 1.0)
    monkeypatch.setattr(holding, "LOOK", 0.1)
    task = Task(str(tmp_path), rows=1600, passes=30)
    async with driver(task) as sleeper:
        assert await sleeper.learnt(units=20)
        sleeper.send(signal.SIGSTOP)
        await asyncio.sleep(1.2)
        async with start(sleeper.run_id, on=store_in(tmp_path)) as again:
            async for event in again.events():
                if isinstance(event, StageProgress) and event.done > 60:
                    break
            sleeper.send(signal.SIGCONT)
            assert await sleeper.end() == 0
            assert sleeper.ended == "RunBusy"
            await sleeper.gone(20)
            result = await again.result()
        task.oracle.check(result)
        assert record(tmp_path, sleeper.run_id, "result.json")["outcome"] == "done"
        assert journal(tmp_path, sleeper.run_id) == ["prepared", "taken", "finished"]


@uvloop_only
async def test_row_20_partitions_of_workers_and_driver_from_the_control_actor_heal_by_themselves(
    tmp_path: Path,
) -> None:
    oracle = Oracle(passes=12, pause=0.001)
    async with Kernel(SystemClock()) as kernel, proxied(kernel) as theirs, proxied(kernel) as ours:
        place = Troubled(tmp_path / "store", worker_proxies=(theirs,), driver_proxies=(ours,))
        cut = 0
        async with start(oracle.pipeline(tmp_path, oracle.train(workers=2)), on=place) as going:
            async for event in going.events():
                if isinstance(event, StageProgress) and event.stage == "train" and event.done > 100 * (cut + 1):
                    proxy = (ours, theirs, ours, theirs)[cut % 4]
                    match cut:
                        case 0 | 1:
                            proxy.hold("up", "down")
                            await asyncio.sleep(1.0)
                            proxy.go_on("up", "down")
                        case 2 | 3:
                            proxy.hold("down")
                            await asyncio.sleep(0.5)
                            proxy.go_on("down")
                        case 4:
                            ours.refuse()
                            await asyncio.sleep(0.5)
                            ours.accept()
                        case _:
                            continue
                    cut += 1
            result = await going.result()
    oracle.check(result)
    assert cut == 5


class Unwritable:
    """A store that takes none of the driver's next ``most`` writes while ``shut``."""

    def __init__(self, most: int = 10**9) -> None:
        self.shut = False
        self.most = most
        self.refused = 0

    def meddle(self, store: ObjectStore) -> ObjectStore:
        return MeddledStore(store, self._before)

    async def _before(self, request: Request) -> None:
        if self.shut and request.writes and self.refused < self.most:
            self.refused += 1
            raise StoreError(request.key, "403 Forbidden: no permission to write")


@asyncio_only
async def test_row_20_a_store_that_cannot_be_written_for_a_while_does_not_end_a_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tenure, "RENEW", 0.1)
    door = Unwritable(most=5)
    oracle = Oracle(passes=10, pause=0.0005)
    place = Troubled(tmp_path / "store", meddle=door.meddle)
    async with start(oracle.pipeline(tmp_path, oracle.train(workers=2)), on=place) as going:
        async for event in going.events():
            if isinstance(event, StageProgress) and event.stage == "train":
                door.shut = True
        result = await going.result()
    oracle.check(result)
    assert door.refused == 5


@asyncio_only
async def test_row_20_nobody_is_started_while_nothing_can_be_written_down(tmp_path: Path) -> None:
    door = Unwritable()
    oracle = Oracle(passes=8, pause=0.001)
    place = Troubled(tmp_path / "store", meddle=door.meddle)
    refused, second = 0, []
    async with start(oracle.pipeline(tmp_path, oracle.train(workers=2)), on=place) as going:
        async for event in going.events():
            match event:
                case StageProgress(stage="train", done=done) if done > 20 and not door.shut and not refused:
                    door.shut = True
                    assert kill(worker_pids("train")[0])
                case InvokeFailed(stage="train", reason=reason):
                    refused += 1
                    assert "403 Forbidden" in reason
                    assert len(worker_pids("train")) == 1, "one has died, and nobody has taken its place"
                    door.shut = refused < 3
                case WorkerStarted(stage="train", attempt=2):
                    second.append(refused)
                case _:
                    pass
        result = await going.result()
    oracle.check(result)
    assert second == [3]


@uvloop_only
async def test_row_28_without_permission_to_write_the_run_is_parked_and_says_what_it_lacks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tenure, "RENEW", 0.1)
    monkeypatch.setattr(tenure, "SILENT", 0.5)
    monkeypatch.setattr(holding, "PATIENCE", 0.1)
    monkeypatch.setattr(holding, "LOOK", 0.0)
    door = Unwritable()
    oracle = Oracle(passes=200)
    place = Troubled(tmp_path / "store", meddle=door.meddle)
    said: list[Event] = []
    async with start(oracle.pipeline(tmp_path, oracle.train(workers=2)), on=place) as going:
        async for event in going.events():
            said.append(event)
            if isinstance(event, StageProgress) and event.stage == "train" and event.done > 20:
                door.shut = True
        with pytest.raises(StoreError, match=r"runs/.*/holder\.json: 403 Forbidden"):
            await going.result()
    assert getattr(said[-1], "outcome", "") == "parked"
    assert psutil.Process().children(recursive=True) == []
    async with start(going.run_id, on=store_in(tmp_path)) as again:
        async for event in again.events():
            if isinstance(event, StageResumed):
                assert event.units > 20
                break
        await again.kill()


class Shifted(SystemClock):
    """A clock whose wall time is set as an administrator would."""

    shift = 0.0

    def wall(self) -> float:
        return super().wall() + Shifted.shift


@uvloop_only
async def test_row_23_wall_clocks_may_jump_by_an_hour_for_leases_do_not_look_at_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runs, "SystemClock", Shifted)
    monkeypatch.setattr(Shifted, "shift", 0.0)
    oracle = Oracle(passes=8, pause=0.001)
    stage = oracle.train(workers=2)
    late = stage.timeout + GRACE + 240.0
    shifts = [3600.0, -240.0, -late, 3600.0]  # from the last to the first
    third = False
    async with start(oracle.pipeline(tmp_path, stage), on=store_in(tmp_path)) as going:
        async for event in going.events():
            match event:
                case StageProgress(stage="train", done=done) if done > 60 and shifts:
                    Shifted.shift = shifts.pop()
                    if len(shifts) == 2:
                        await going.scale("train", 3)
                case WorkerStarted(stage="train", slot=2):
                    third = True
                case _:
                    pass
        result = await going.result()
    oracle.check(result)
    assert not shifts
    assert third, "whose token was four minutes too old by the shards' clocks when it was issued"


@pytest.mark.parametrize("skew", [-3600.0, 3600.0])
async def test_row_23_a_living_driver_whose_clock_is_wrong_keeps_its_run(skew: float, tmp_path: Path) -> None:
    store = store_in(tmp_path).open()
    now = 1_800_000_000.0
    held = await holding.Holding.take(store, "a", "one", now + skew)

    async def renewed(_seconds: float) -> None:
        await held.renew(now + skew + 5, holding.Spent())

    with pytest.raises(RunBusy, match="held by one"):
        await holding.Holding.take(store, "a", "two", now, sleep=renewed)
    assert (await holding.Holding.take(store, "a", "two", now)).epoch == 2, "once nothing is heard of it any more"
    await store.close()


@asyncio_only
async def test_row_37_kill_and_double_kill_at_any_moment_hold_and_leave_nothing(tmp_path: Path) -> None:
    chance = np.random.default_rng(37)
    oracle = Oracle(rows=640, passes=30, pause=0.002)
    pipeline = oracle.pipeline(tmp_path, oracle.train(workers=2))
    recorded = 0
    for moment in sorted(chance.uniform(0.0, 2.5, 7)):
        async with start(pipeline, on=store_in(tmp_path)) as going:
            await asyncio.sleep(moment)
            await asyncio.gather(*[going.kill(reason=f"{k} is enough") for k in range(3)])
            assert psutil.Process().children(recursive=True) == []
            assert going.workers == (), "nobody is billed any more"
            await going.kill()
            with pytest.raises(Killed, match="0 is enough"):
                await going.result()
        if (tmp_path / "store" / "runs" / going.run_id / "run.json").exists():
            recorded += 1
            assert journal(tmp_path, going.run_id).count("killed") == 1
            with pytest.raises(Killed, match="0 is enough"):
                await resume(going.run_id, on=store_in(tmp_path))
    assert recorded > 3


@uvloop_only
async def test_row_38_cancelled_at_any_request_to_the_store_a_run_leaves_nothing_and_goes_on_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(holding, "PATIENCE", 0.0)
    monkeypatch.setattr(holding, "LOOK", 0.0)
    oracle = Oracle(rows=640, passes=2)
    pipeline = oracle.pipeline(tmp_path, oracle.train(workers=1))
    at, seen, task = 0, 0, asyncio.current_task()

    async def cancel(request: Request) -> None:
        nonlocal seen
        seen += 1
        if seen == at and task is not None:
            task.cancel()

    def meddle(store: ObjectStore) -> ObjectStore:
        return MeddledStore(store, cancel, cancel)

    place = Troubled(tmp_path / "store", meddle=meddle)
    before = asyncio.all_tasks()
    for at in (1, 3, 6, 10, 15, 21):  # noqa: B007  ``cancel`` looks at it
        seen = 0
        with pytest.raises(asyncio.CancelledError):
            await run(pipeline, on=place)
        assert task is not None
        task.uncancel()
        assert psutil.Process().children(recursive=True) == []
        assert asyncio.all_tasks() == before
    for found in sorted((tmp_path / "store" / "runs").iterdir())[-1:]:
        oracle.check(await resume(found.name, on=store_in(tmp_path)))
