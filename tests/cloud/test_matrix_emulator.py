"""Rows of the fault matrix that belong to a provider of functions, through the emulator, with the counting oracle."""

from __future__ import annotations

import asyncio
import os
from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cirrus.actors.kernel import Kernel
from cirrus.clock import SystemClock
from cirrus.core.slots import PoolPolicy
from cirrus.core.tally import Tally
from cirrus.emulator.emulator import Emulator
from cirrus.emulator.faults import Crash, Duplicate, Fault, Late, Lose, Throttle, scripted
from cirrus.errors import BudgetExceeded, InvokeError, PipelineError, StageFailed, StoreError
from cirrus.events import Event, InvokeFailed, RowsPrepared, RunFinished, WorkerReplaced, WorkerStarted
from cirrus.pipeline import Budget, Train
from cirrus.results import Result
from cirrus.runs import resume, run, start
from cirrus.sentences import sentence
from cirrus.store import holding
from cirrus.testing.proxy import proxied
from tests.chaos.costly import Costly
from tests.chaos.ground import Oracle
from tests.cloud.lambda_ground import Ground, Place, function_of
from tests.store.troubled_s3 import Refuse, Swallow, TroubledS3, troubled

asyncio_only = pytest.mark.asyncio(loop_factories=["asyncio"])
uvloop_only = pytest.mark.asyncio(loop_factories=["uvloop"])
pytestmark = pytest.mark.timeout(300)

LATE = float(os.environ.get("CIRRUS_LATE_SECONDS") or 1.0)
"""How late a second delivery comes; a function that ``cirrus deploy`` has made never gets one of more than a minute."""

FIRST = 3
"""The number of the first request for a worker that trains: the function is asked once, and one worker prepares."""


@dataclass
class Account:
    """What became of a run: everything that it said, and its result."""

    said: list[Event] = field(default_factory=list)
    results: list[Result] = field(default_factory=list)

    @property
    def started(self) -> list[WorkerStarted]:
        return [one for one in self.said if isinstance(one, WorkerStarted) and one.stage == "train"]

    @property
    def replaced(self) -> list[WorkerReplaced]:
        return [one for one in self.said if isinstance(one, WorkerReplaced)]

    @property
    def failed(self) -> list[InvokeFailed]:
        return [one for one in self.said if isinstance(one, InvokeFailed)]


async def through(folder: Path, oracle: Oracle, place: Place, train: Train) -> Account:
    """A run at the place; its counts are exact."""
    account = Account()
    async with start(oracle.pipeline(folder, train), on=place) as going:
        account.said = [event async for event in going.events()]
        account.results.append(await going.result())
    oracle.check(account.results[0])
    return account


def billed(found: Emulator) -> float:
    """Gigabytes for seconds that were truly paid for."""
    return sum(one.gb_seconds for one in found.reports)


@uvloop_only
async def test_row_03_workers_leave_before_their_function_times_out_and_others_go_on_at_their_step(
    tmp_path: Path, ground: Ground
) -> None:
    oracle = Oracle(rows=640, passes=3, pause=0.01)
    async with ground.function(timeout=3) as found:
        place = ground.place(found, patience=PoolPolicy(start_deadline=6.0))
        account = await through(tmp_path, oracle, place, oracle.train(workers=1))
        assert {one.outcome for one in found.reports} <= {"done", "timeout"}
        assert billed(found) <= account.results[0].cost.gb_seconds
    assert "deadline: its time is nearly up" in {one.reason for one in account.replaced}
    pids = [one.pid for one in account.started]
    assert len(pids) >= 3
    assert all(one != other for one, other in pairwise(pids)), "who comes behind a worker that has left is in its place"
    steps = account.results[0].metrics["train"]["steps"]
    assert steps == oracle.passes * oracle.steps, "none was done by both"


@asyncio_only
async def test_row_04_every_event_is_delivered_twice_and_the_second_leaves_and_is_paid(
    tmp_path: Path, ground: Ground
) -> None:
    oracle = Oracle(rows=640, passes=6 + round(1.3 * LATE), pause=0.01)
    plan = scripted({FIRST: Duplicate(), FIRST + 1: Duplicate(LATE)})
    async with ground.function(plan, timeout=300) as found:
        account = await through(tmp_path, oracle, ground.place(found), oracle.train(workers=2))
        while len(found.delivered) < FIRST + 2:
            await asyncio.sleep(0.01)
        numbers = [one.number for one in found.reports]
        assert [numbers.count(one) for one in (FIRST, FIRST + 1)] == [2, 2]
        for number in (FIRST, FIRST + 1):
            second, first = sorted(one.seconds for one in found.reports if one.number == number)
            assert second < first / 2
        assert billed(found) <= account.results[0].cost.gb_seconds
        assert account.results[0].cost.invocations == len(found.reports)
    assert sorted((one.slot, one.attempt) for one in account.started) == [(0, 1), (1, 1)]
    assert account.replaced == []


@uvloop_only
async def test_row_05_events_are_lost_or_come_late_and_others_take_their_place(tmp_path: Path, ground: Ground) -> None:
    oracle = Oracle(rows=640, passes=12, pause=0.01)
    plan = scripted({FIRST: Lose(), FIRST + 1: Late(5.0)})
    async with ground.function(plan) as found:
        place = ground.place(found, patience=PoolPolicy(start_deadline=3.0))
        account = await through(tmp_path, oracle, place, oracle.train(workers=4))
        assert "lost" in [one.ended for one in found.delivered]
    assert sum("no sign of life" in one.reason for one in account.replaced) >= 2
    seen = {(one.slot, one.attempt) for one in account.started}
    late = {(one.slot, one.attempt - 1) for one in account.replaced if "no sign of life" in one.reason}
    assert not seen & late, "who came too late is fenced"


@asyncio_only
async def test_row_06_more_workers_than_may_run_are_refused_before_any_is_asked_for(
    tmp_path: Path, ground: Ground
) -> None:
    oracle = Oracle(rows=640, passes=1)
    async with ground.function(concurrency=10) as found:
        with pytest.raises(PipelineError, match="at most 9: 10 may run at a time here"):
            await run(oracle.pipeline(tmp_path, oracle.train(workers=50)), on=ground.place(found))
        assert [one.number for one in found.reports] == [1]


@asyncio_only
async def test_row_06_where_10_of_50_find_room_the_others_are_asked_for_more_slowly_and_it_is_shown(
    tmp_path: Path, ground: Ground
) -> None:
    oracle = Oracle(rows=1600, passes=3, pause=0.05)
    asked: list[int] = []
    taken: list[int] = []
    books: list[Emulator] = []

    def plan(number: int) -> Fault | None:
        """Ten of those who were accepted may be there at a time."""
        asked.append(number)
        if number >= FIRST and len(taken) - (len(books[0].delivered) - FIRST + 2) >= 10:
            return Throttle()
        taken.extend([number] * (number >= FIRST))
        return None

    tally, shown, hands = Tally(), [0], set[str]()
    async with ground.function(plan, memory=256) as found:
        books.append(found)
        account = await through(tmp_path, oracle, ground.place(found), oracle.train(workers=50))
    for event in account.said:
        tally.take(event)
        if isinstance(event, WorkerStarted):
            shown.append(tally.workers(event.stage))
        hands.update(sight.hands for sight in tally.stages.values())
    assert (max(shown), tally.stages["train"].wished) == (10, 50)
    assert "10 of 50 workers, throttled" in hands
    assert all(one.throttled and "asks for a slower rate" in sentence(one) for one in account.failed)
    assert 40 <= len(account.failed) < len(asked) < 10 * 50
    assert {one.attempt for one in account.started} == {1}


@asyncio_only
async def test_row_07_an_invoke_that_is_not_answered_has_run_all_the_same(tmp_path: Path, ground: Ground) -> None:
    oracle = Oracle(rows=640, passes=2, pause=0.01)
    lost: list[int] = []
    async with Kernel(SystemClock()) as kernel, proxied(kernel) as proxy:

        def plan(number: int) -> Fault | None:
            """The request is accepted, and the connection on which the answer would come breaks."""
            if FIRST <= number < FIRST + 2:
                lost.append(number)
                proxy.reset()
            return None

        async with ground.function(plan) as found:
            proxy.target = found.endpoint
            place = ground.place(found, endpoint_url=proxy.url)
            account = await through(tmp_path, oracle, place, oracle.train(workers=2))
            numbers = [one.number for one in found.reports]
            assert set(lost) <= set(numbers), "who was accepted has run"
            assert billed(found) <= account.results[0].cost.gb_seconds
    assert len(account.failed) >= len(lost) == 2
    assert {one.attempt for one in account.failed} == {1}, "the same attempt is asked for again"
    assert {one.attempt for one in account.started} == {1}
    assert account.replaced == []


@uvloop_only
async def test_row_08_a_kernel_that_the_bundle_has_not_ends_the_stage_after_three_with_its_traceback(
    tmp_path: Path, ground: Ground
) -> None:
    oracle = Oracle(rows=640, passes=1)
    said: list[Event] = []
    train = oracle.train(workers=2)
    async with (
        ground.function(extra=()) as found,
        start(oracle.pipeline(tmp_path, train), on=ground.place(found)) as going,
    ):
        said = [event async for event in going.events()]
        with pytest.raises(StageFailed, match="3 workers in a row failed in the same way") as failed:
            await going.result()
    assert "can be imported (ModuleNotFoundError: No module named 'cirrus.testing')" in failed.value.evidence
    assert 1 <= sum(isinstance(one, WorkerReplaced) for one in said) <= 2


@asyncio_only
async def test_row_08_a_handler_that_cannot_be_imported_is_told_before_any_worker_is_asked_for(
    tmp_path: Path, ground: Ground
) -> None:
    oracle = Oracle(rows=640, passes=1)
    async with function_of("import cirrus.not_in_the_bundle") as found:
        with pytest.raises(InvokeError, match=r"ImportModuleError.*No module named 'cirrus'"):
            await run(oracle.pipeline(tmp_path, oracle.train(workers=2)), on=ground.place(found))
        assert [one.number for one in found.reports] == [1]


@uvloop_only
async def test_row_09_a_worker_that_needs_too_much_memory_says_so_and_the_second_ends_the_stage(
    tmp_path: Path, ground: Ground
) -> None:
    oracle = Oracle(rows=1600, minibatch=2, passes=100)
    train = replace(oracle.train(workers=1), model=Costly(room=oracle.steps + 5, size=1 << 18, seconds=0.01))
    replaced: list[WorkerReplaced] = []
    async with (
        ground.function(memory=256) as found,
        start(oracle.pipeline(tmp_path, train), on=ground.place(found)) as going,
    ):
        replaced = [event async for event in going.events() if isinstance(event, WorkerReplaced)]
        with pytest.raises(StageFailed, match="ran out of memory in slot 0; give the stage more memory") as failed:
            await going.result()
    assert "nearly all of its 256 MB" in failed.value.evidence
    assert [one.reason.partition(": ")[0] for one in replaced] == ["memory"]


@uvloop_only
async def test_a_worker_that_is_killed_is_neither_out_of_time_nor_of_memory(tmp_path: Path, ground: Ground) -> None:
    oracle = Oracle(rows=640, passes=6, pause=0.01)
    async with ground.function(scripted({FIRST: Crash(2.0)})) as found:
        account = await through(tmp_path, oracle, ground.place(found), oracle.train(workers=2))
        assert [one.number for one in found.reports if one.outcome == "crashed"] == [FIRST]
        assert billed(found) <= account.results[0].cost.gb_seconds
    assert [one.reason.partition(": ")[0] for one in account.replaced] == ["lost"]


@asyncio_only
async def test_row_24_a_store_that_is_away_three_times_of_ten_is_asked_again(
    tmp_path: Path, ground: Ground, monkeypatch: pytest.MonkeyPatch
) -> None:
    chance, refused = np.random.default_rng(24), Refuse(503, "SlowDown")
    monkeypatch.setattr(TroubledS3, "_next", lambda *_: refused if chance.random() < 0.3 else None)
    oracle = Oracle(rows=640, passes=2)
    async with ground.function() as found, troubled(ground.server.endpoint) as between:
        place = ground.place(found, s3_endpoint_url=between.endpoint)
        await through(tmp_path, oracle, place, oracle.train(workers=2))
        assert len(between.seen) > 40


@uvloop_only
@pytest.mark.parametrize(("status", "code"), [(412, "PreconditionFailed"), (409, "ConditionalRequestConflict")])
async def test_row_25_a_conflict_after_a_write_of_ones_own_is_success(
    tmp_path: Path, ground: Ground, status: int, code: str
) -> None:
    oracle = Oracle(rows=640, passes=2)
    written = ("run.json", "holder.json", "manifest.json", "00000000.json", "model.safetensors", "result.json")
    async with ground.function() as found, troubled(ground.server.endpoint) as between:
        between.plan.extend(("PUT", one, Swallow(status, code)) for one in written)
        place = ground.place(found, s3_endpoint_url=between.endpoint)
        await through(tmp_path, oracle, place, oracle.train(workers=2))
        assert not between.plan, "all of them were met"


@asyncio_only
@pytest.mark.parametrize("code", ["AccessDenied", "ExpiredToken"])
async def test_row_28_credentials_that_are_not_accepted_park_the_run_which_then_goes_on(
    tmp_path: Path, ground: Ground, monkeypatch: pytest.MonkeyPatch, code: str
) -> None:
    monkeypatch.setattr(holding, "PATIENCE", 0.1)  # the store does not take the word that the run is free
    monkeypatch.setattr(holding, "LOOK", 0.0)
    oracle = Oracle(rows=640, passes=6, pause=0.01)
    said: list[Event] = []
    async with ground.function() as found, troubled(ground.server.endpoint) as between:
        place = ground.place(found, s3_endpoint_url=between.endpoint)
        async with start(oracle.pipeline(tmp_path, oracle.train(workers=2)), on=place) as going:
            async for event in going.events():
                said.append(event)
                if isinstance(event, RowsPrepared):
                    between.always = Refuse(403, code)
            with pytest.raises((StoreError, StageFailed)) as failed:
                await going.result()
        between.always = None
        oracle.check(await resume(going.run_id, on=place))
    assert isinstance(failed.value, StoreError)
    assert going.run_id in str(failed.value)
    assert isinstance(said[-1], RunFinished)
    assert said[-1].outcome == "parked"


@uvloop_only
async def test_row_28_lambda_does_not_take_the_credentials(
    tmp_path: Path, ground: Ground, monkeypatch: pytest.MonkeyPatch
) -> None:
    oracle = Oracle(rows=640, passes=1)
    async with ground.function() as found:
        inner = Place.lambda_function.fget  # type: ignore[attr-defined]

        def stranger(place: Place) -> Any:
            keys = replace(found.options.credentials, secret_key="another")
            return replace(inner(place), credentials=keys)

        monkeypatch.setattr(Place, "lambda_function", property(stranger))
        said: list[Event] = []
        async with start(oracle.pipeline(tmp_path, oracle.train(workers=1)), on=ground.place(found)) as going:
            said = [event async for event in going.events()]
            with pytest.raises(InvokeError, match="does not accept the AWS credentials"):
                await going.result()
        assert found.reports == ()
    assert isinstance(said[-1], RunFinished)
    assert said[-1].outcome == "parked"


@uvloop_only
async def test_row_39_a_budget_that_is_reached_parks_the_run_which_goes_on_with_a_higher_one(
    tmp_path: Path, ground: Ground
) -> None:
    oracle = Oracle(rows=640, passes=16, pause=0.01)
    async with ground.function(timeout=4) as found:
        place = ground.place(found)
        pipeline = replace(oracle.pipeline(tmp_path, oracle.train(workers=2)), budget=Budget(dollars=3e-4))
        async with start(pipeline, on=place) as going:
            said = [event async for event in going.events()]
            with pytest.raises(BudgetExceeded) as spent:
                await going.result()
        price = 1.66667e-5
        assert billed(found) * price + len(found.reports) * 2e-7 <= 3e-4
        assert isinstance(said[-1], RunFinished)
        assert (said[-1].outcome, spent.value.limit) == ("parked", 3e-4)
        oracle.check(await resume(going.run_id, on=place, budget=Budget(dollars=1.0)))
