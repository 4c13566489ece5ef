"""A run ends at any moment, by cancellation, by order, by its host's failure or by its budget, and leaves nothing."""

import asyncio
import json
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from cirrus.errors import BudgetExceeded, Killed
from cirrus.events import (
    Event,
    LossReported,
    RowsPrepared,
    RunFinished,
    RunStarted,
    ShardStarted,
    StageFinished,
    StageProgress,
    StageStarted,
    WorkerStarted,
)
from cirrus.pipeline import Budget, Pipeline
from cirrus.results import Result
from cirrus.runs import Run, run, start
from tests.api.household import Household
from tests.chaos.ground import Oracle, store_in

POINTS: dict[str, Callable[[Event], bool]] = {
    "the run exists": lambda event: isinstance(event, RunStarted),
    "a shard answers": lambda event: isinstance(event, ShardStarted),
    "preparation begins": lambda event: isinstance(event, StageStarted),
    "a worker prepares": lambda event: isinstance(event, WorkerStarted),
    "a unit is prepared": lambda event: isinstance(event, StageProgress),
    "rows are committed": lambda event: isinstance(event, RowsPrepared),
    "training begins": lambda event: isinstance(event, StageStarted) and event.stage == "train",
    "a worker trains": lambda event: isinstance(event, WorkerStarted) and event.stage == "train",
    "the evaluator is here": lambda event: isinstance(event, WorkerStarted) and event.stage == "train.eval",
    "training gets on": lambda event: isinstance(event, StageProgress) and event.stage == "train" and event.rows > 0,
    "the model is measured": lambda event: isinstance(event, LossReported),
}
AT_THE_END: dict[str, Callable[[Event], bool]] = {
    "training is over": lambda event: isinstance(event, StageFinished) and event.stage == "train",
    "the run is over": lambda event: isinstance(event, RunFinished),
}
TURNS = (0, 1, 2, 3, 5, 8, 13, 21, 34, 55, 89, 144, 233, 377)
"""Of the loop, after which a run that is only just beginning is ended."""


def pipeline(folder: Path, passes: int = 3) -> Pipeline:
    oracle = Oracle(rows=1600, passes=passes)
    folder.mkdir(exist_ok=True)
    made = oracle.pipeline(folder, replace(oracle.train(workers=1), evaluate=0.1))
    return replace(made, stages=(replace(made.prepare, test=0.1), *made.trains))


@dataclass(slots=True)
class Going:
    """A run in a task of its own, as ``cirrus.run`` has it; ``events`` are those that were heard."""

    folder: Path
    run: Run | None = None
    events: list[Event] = field(default_factory=list)

    async def whole(self) -> Result:
        async with start(pipeline(self.folder), on=store_in(self.folder)) as self.run:
            return await self.run.result()

    async def reach(self, point: Callable[[Event], bool]) -> None:
        """Follow the run to that point."""
        while self.run is None:
            await asyncio.sleep(0)
        async for event in self.run.events():
            self.events.append(event)
            if point(event):
                return
        pytest.fail("the run ended before that")

    @property
    def outcomes(self) -> list[str]:
        """How the runs of the store ended, those that have begun and have no end left out."""
        return [json.loads(one.read_text())["outcome"] for one in self.folder.glob("store/runs/*/result.json")]


@pytest.mark.parametrize("point", [*POINTS, *AT_THE_END])
@pytest.mark.asyncio(loop_factories=["asyncio"])
async def test_a_run_that_is_cancelled_leaves_nothing_running_and_is_parked(tmp_path: Path, point: str) -> None:
    before = await Household.warm()
    going = Going(tmp_path)
    task = asyncio.ensure_future(going.whole())
    await going.reach((POINTS | AT_THE_END)[point])
    early = task.cancel()
    await asyncio.wait((task,))
    assert task.cancelled()
    assert early
    assert before.changes() == []
    if point in POINTS:
        assert going.outcomes == ["parked"]
    elif point == "the run is over":
        assert going.outcomes == ["done"]


@pytest.mark.parametrize("turns", TURNS)
async def test_a_run_that_is_cancelled_as_it_begins_leaves_nothing_running(tmp_path: Path, turns: int) -> None:
    before = await Household.warm()
    going = Going(tmp_path)
    task = asyncio.ensure_future(going.whole())
    for _ in range(turns):
        await asyncio.sleep(0)
    task.cancel()
    await asyncio.wait((task,))
    assert task.cancelled()
    assert before.changes() == []
    known = [] if going.run is None else [event async for event in going.run.events()]
    if any(isinstance(event, RunStarted) for event in known):
        assert going.outcomes == ["parked"]


@pytest.mark.parametrize("point", POINTS)
@pytest.mark.asyncio(loop_factories=["uvloop"])
async def test_a_run_that_is_killed_leaves_nothing_running_and_says_so(tmp_path: Path, point: str) -> None:
    before = await Household.warm()
    async with start(pipeline(tmp_path), on=store_in(tmp_path)) as run:
        going = Going(tmp_path, run)
        await going.reach(POINTS[point])
        await run.kill(reason="seen enough")
        assert [one for one in before.changes() if "process" in one] == []
        with pytest.raises(Killed, match="seen enough"):
            await run.result()
        await run.kill()
        last = [event async for event in run.events()][-1]
    assert before.changes() == []
    assert isinstance(last, RunFinished)
    assert (last.outcome, last.reason) == ("killed", "seen enough")
    assert going.outcomes == ["killed"]


async def test_two_kills_at_once_are_one(tmp_path: Path) -> None:
    before = await Household.warm()
    async with start(pipeline(tmp_path), on=store_in(tmp_path)) as run:
        going = Going(tmp_path, run)
        await going.reach(POINTS["a worker prepares"])
        await asyncio.gather(*(run.kill(reason=f"order {number}") for number in range(3)))
        assert run.workers == ()
    assert before.changes() == []
    assert going.outcomes == ["killed"]
    with pytest.raises(Killed, match="order 0"):
        await run.result()


@pytest.mark.asyncio(loop_factories=["asyncio"])
async def test_a_stage_that_is_killed_ends_the_run_by_its_name_and_one_that_is_over_is_not_killed(
    tmp_path: Path,
) -> None:
    async with start(pipeline(tmp_path), on=store_in(tmp_path)) as run:
        await run.kill(stage="train", reason="not wanted")
    with pytest.raises(Killed, match="stage 'train' was killed: not wanted"):
        await run.result()
    async with start(pipeline(tmp_path), on=store_in(tmp_path)) as run:
        result = await run.result()
        await run.kill()
        assert await run.result() is result


@pytest.mark.asyncio(loop_factories=["uvloop"])
async def test_a_failure_inside_the_block_ends_the_workers_and_comes_through_as_itself(tmp_path: Path) -> None:
    before = await Household.warm()
    going = Going(tmp_path)
    failure = ZeroDivisionError("the host's own")
    with pytest.raises(ZeroDivisionError) as caught:  # noqa: PT012  what is raised is the block's own
        async with start(pipeline(tmp_path), on=store_in(tmp_path)) as going.run:
            await going.reach(POINTS["a worker trains"])
            raise failure
    assert caught.value is failure
    assert before.changes() == []
    assert going.outcomes == ["parked"]


@pytest.mark.asyncio(loop_factories=["asyncio"])
async def test_a_budget_that_is_reached_ends_the_run(tmp_path: Path) -> None:
    before = await Household.warm()
    task = replace(pipeline(tmp_path, passes=10_000), budget=Budget(minutes=2.5 / 60))
    with pytest.raises(BudgetExceeded, match="minutes") as caught:
        await run(task, on=store_in(tmp_path))
    assert caught.value.kind == "minutes"
    assert caught.value.spent > caught.value.limit == 2.5 / 60
    assert before.changes() == []
    assert Going(tmp_path).outcomes == ["parked"]


async def test_a_run_that_is_cancelled_again_and_again_leaves_nothing_running(tmp_path: Path) -> None:
    before = await Household.warm()
    going = Going(tmp_path)
    task = asyncio.ensure_future(going.whole())
    await going.reach(POINTS["a worker trains"])
    while not task.done():
        task.cancel()
        await asyncio.sleep(0.01)
    assert task.cancelled()
    assert before.changes() == []
    assert going.outcomes == ["parked"]
