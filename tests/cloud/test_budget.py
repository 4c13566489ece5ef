"""At its budget a run asks for nobody any more, and goes on with a higher one."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from cirrus.core.slots import PoolPolicy
from cirrus.errors import BudgetExceeded
from cirrus.events import StageProgress
from cirrus.pipeline import Budget, Pipeline
from cirrus.results import Result
from cirrus.runs import Run, resume, start
from tests.chaos.ground import Oracle, kill, worker_pids
from tests.cloud.priced import PRICE, Priced, Trace

ORACLE = Oracle(rows=640, block=64, passes=2, pause=0.01)
TIMEOUT = 20.0
MOST = TIMEOUT * PRICE.per_gb_second + PRICE.per_invocation
"""What one worker comes to at most."""

STUBBORN = PoolPolicy(alike=1000, restarts=1000)


def pipeline(folder: Path, budget: Budget, workers: int = 1) -> Pipeline:
    stage = replace(ORACLE.train(workers=workers), snapshot=0.5)
    return replace(ORACLE.pipeline(folder, stage), budget=budget)


def place_in(folder: Path) -> Priced:
    return Priced(folder / "store", timeout=TIMEOUT, patience=STUBBORN)


async def follow(going: Run, *, killing: bool) -> Result:
    """To the end; whoever trains is killed as soon as it has finished something."""
    async for event in going.events():
        if killing and isinstance(event, StageProgress) and event.stage == "train":
            for pid in worker_pids("train"):
                kill(pid)
    return await going.result()


def within(trace: Trace, dollars: float) -> None:
    """Whenever somebody was asked for, all that had been, and this one, could not come to more."""
    for at, asked in trace.requests:
        gone = [(when, one.worker, one.seconds) for when, one in trace.ended if when <= at]
        most = 0.0
        for when, one in trace.requests:
            if when > at:
                continue
            known = next((seconds for _, worker, seconds in gone if worker == one.worker), one.timeout)
            most += trace.worked(known) + PRICE.per_invocation
        assert most <= dollars, f"{asked.worker} was asked for at {most:g} dollars"


async def test_no_invoke_is_sent_after_the_cap_and_the_run_goes_on_with_a_higher_one(tmp_path: Path) -> None:
    place = place_in(tmp_path)
    cap = MOST + 0.003
    with pytest.raises(BudgetExceeded, match="dollars reached"):
        async with start(pipeline(tmp_path, Budget(dollars=cap)), on=place) as going:
            await follow(going, killing=True)
    cost = going.cost
    within(place.trace, cap)
    assert place.trace.true_dollars <= cost.dollars <= cap

    before = len(place.trace.requests)
    with pytest.raises(BudgetExceeded):  # it holds for whoever goes on
        await resume(going.run_id, on=place)
    assert len(place.trace.requests) == before

    result = await resume(going.run_id, on=place, budget=Budget(dollars=1.0))
    ORACLE.check(result)
    assert place.trace.true_dollars <= result.cost.dollars <= 1.0
    assert result.cost.kinds["earlier"] == pytest.approx(cost.dollars, abs=2e-9)


@pytest.mark.asyncio(loop_factories=["asyncio"])
async def test_a_budget_that_was_raised_stays_raised(tmp_path: Path) -> None:
    place = place_in(tmp_path)
    with pytest.raises(BudgetExceeded):
        async with start(pipeline(tmp_path, Budget(dollars=1e-9)), on=place) as going:
            await going.result()
    with pytest.raises(BudgetExceeded, match="of 2e-09 dollars"):
        await resume(going.run_id, on=place, budget=Budget(dollars=2e-9))
    with pytest.raises(BudgetExceeded, match="of 2e-09 dollars"):
        await resume(going.run_id, on=place)
    assert not place.trace.requests
    with pytest.raises(BudgetExceeded, match="of 1e-05 minutes"):
        await resume(going.run_id, on=place, budget=Budget(dollars=1.0, minutes=1e-5))


@pytest.mark.asyncio(loop_factories=["uvloop"])
async def test_a_budget_without_room_for_all_workers_is_enough_for_fewer(tmp_path: Path) -> None:
    place = place_in(tmp_path)
    cap = 1.5 * MOST
    async with start(pipeline(tmp_path, Budget(), workers=2), on=place, budget=Budget(dollars=cap)) as going:
        ORACLE.check(await follow(going, killing=False))
    assert len({asked.worker for _, asked in place.trace.requests if asked.worker.pool == "train"}) == 1
    within(place.trace, cap)
