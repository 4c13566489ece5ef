"""What a run says that it has cost, against what its workers' processes truly took, where all goes wrong that can.

Kills, timeouts, start-ups that fail, requests that are lost, late, delivered twice, or seem to fail and do not.
"""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from cirrus.core.cost import TAIL
from cirrus.core.slots import PoolPolicy
from cirrus.core.terms import Ends
from cirrus.events import StageProgress, WorkerStarted
from cirrus.results import Result
from cirrus.runs import start
from cirrus.testing.chaos import Odds
from tests.chaos.ground import Oracle, kill
from tests.cloud.priced import Priced, Trace

ORACLE = Oracle(rows=640, block=64, passes=2, pause=0.01)
TIMEOUT = 12.0
FRAIL = (sys.executable, "-m", "tests.cloud.frail")
ODDS = Odds(seed=11, lose=0.12, duplicate=0.3, late=0.2, throttle=0.1, unanswered=0.2, by=1.5)


async def troubled(folder: Path, place: Priced) -> Result:
    """A run whose first two workers that get something done are killed."""
    pipeline = ORACLE.pipeline(folder, ORACLE.train(workers=4))
    here: list[int] = []
    killed = 0
    async with start(pipeline, on=place) as run:
        async for event in run.events():
            match event:
                case WorkerStarted(stage="train", pid=pid):
                    here.append(pid)
                case StageProgress(stage="train") if killed < 2 and here:
                    killed += kill(here.pop())
                case _:
                    pass
        return await run.result()


def between(trace: Trace, dollars: float) -> None:
    """The true cost, and that and one timeout for each end that nobody could tell."""
    true, unknown = trace.true_dollars, sum(trace.unknown.values())
    known = len(trace.began) - unknown
    most = trace.worked(TIMEOUT) + trace.price.per_invocation
    assert unknown > 0
    assert true <= dollars <= true + unknown * most + max(0, known) * trace.worked(TAIL)


@pytest.mark.asyncio(loop_factories=["asyncio"])
async def test_where_ends_are_told_what_is_reported_is_near_the_truth(tmp_path: Path) -> None:
    await measured(tmp_path, "told")


@pytest.mark.asyncio(loop_factories=["uvloop"])
async def test_where_no_ends_are_told_what_is_reported_is_near_the_truth(tmp_path: Path) -> None:
    await measured(tmp_path, "untold")


async def measured(tmp_path: Path, ends: Ends) -> None:
    """What is reported of a run with all that trouble is between the truth and a timeout more per unknown end."""
    patience = PoolPolicy(start_deadline=6.0, alike=1000, restarts=1000)
    place = Priced(tmp_path / "store", ends=ends, odds=ODDS, timeout=TIMEOUT, patience=patience, command=FRAIL)
    result = await troubled(tmp_path, place)
    ORACLE.check(result)
    (chaos,) = place.trace.invokers
    causes = {gone.cause for _, gone in place.trace.ended}
    assert {"killed", "finished"} < causes, causes
    assert sum(chaos.did.values()) >= 2, chaos.did
    between(place.trace, result.cost.dollars)
    assert sum(result.cost.kinds.values()) == pytest.approx(result.cost.dollars)
    assert set(result.cost.stages) == {"prepare", "train"}
