"""What a run on functions says that it has cost, against what was billed for it, where all goes wrong that can."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from pathlib import Path

import pytest

from cirrus.cloud.prices import function_price, read_prices
from cirrus.core.cost import TAIL
from cirrus.core.slots import PoolPolicy
from cirrus.emulator.emulator import Emulator
from cirrus.emulator.faults import Crash, Duplicate, Fault, Late, Lose, scripted
from cirrus.emulator.identity import NAME
from cirrus.events import StageProgress, WorkerStarted
from cirrus.results import Result
from cirrus.runs import start
from tests.chaos.ground import Oracle
from tests.cloud.lambda_ground import Ground, Place

ORACLE = Oracle(rows=960, block=64, passes=2, pause=0.01)
MEMORY, TIMEOUT = 512, 12
FAULTS = scripted({3: Lose(), 4: Crash(0.0), 5: Duplicate(0.5), 6: Late(1.0), 8: Duplicate(0.0)})
"""By the request's number: the function is asked once, and one worker prepares, before those that train."""


async def troubled(folder: Path, place: Place) -> Result:
    """A run of which one training worker is killed and another hangs until its function times out."""
    signals = [signal.SIGKILL, signal.SIGSTOP]
    here: list[int] = []
    async with start(ORACLE.pipeline(folder, ORACLE.train(workers=4)), on=place) as run:
        async for event in run.events():
            match event:
                case WorkerStarted(stage="train", pid=pid):
                    here.append(pid)
                case StageProgress(stage="train") if signals and here:
                    with contextlib.suppress(ProcessLookupError):  # it has left meanwhile
                        os.kill(here.pop(0), signals[0])
                        signals.pop(0)
                case _:
                    pass
        result = await run.result()
    assert not signals
    return result


async def over(found: Emulator) -> None:
    """Wait for those who go on after their run."""
    while found.running(NAME):
        await found.options.clock.sleep(0.05)


@pytest.mark.timeout(300)
@pytest.mark.asyncio(loop_factories=["uvloop"])
async def test_reported_dollars_lie_between_what_was_billed_and_a_timeout_more_per_unknown_end(
    tmp_path: Path, ground: Ground
) -> None:
    patience = PoolPolicy(start_deadline=6.0, alike=1000, restarts=1000)
    async with ground.function(FAULTS, memory=MEMORY, timeout=TIMEOUT) as found:
        result = await troubled(tmp_path, ground.place(found, patience=patience))
        await over(found)
        reports = found.reports
    ORACLE.check(result)
    assert {"done", "crashed", "timeout"} <= {one.outcome for one in reports}
    price = function_price("us-east-1", "x86_64", read_prices("us-east-1"))
    true = sum(one.gb_seconds * price.per_gb_second + price.per_invocation for one in reports)
    known = len({one.number for one in reports if one.outcome == "done" and one.number > 1})  # 1 is the question
    unknown = result.cost.invocations - known
    longest = MEMORY / 1024 * price.per_gb_second
    most = unknown * (TIMEOUT * longest + price.per_invocation) + known * TAIL * longest
    assert unknown >= 4
    store = result.cost.kinds["store"]
    assert store == pytest.approx(result.cost.gets * price.per_get + result.cost.puts * price.per_put)
    assert {one.stage for one in result.cost.parts if one.kind == "store"} == {"", "prepare", "train"}
    assert true <= result.cost.dollars - store <= true + most


@pytest.mark.timeout(300)
@pytest.mark.parametrize("passes", [2, 8], ids=["the run is over", "the run goes on"])
@pytest.mark.asyncio(loop_factories=["uvloop"])
async def test_who_is_not_wanted_any_more_when_it_comes_is_billed_until_then(
    tmp_path: Path, ground: Ground, passes: int
) -> None:
    oracle = Oracle(rows=960, block=64, passes=passes, pause=0.01)
    asked = asyncio.Event()

    def late(number: int) -> Fault | None:
        """The function is asked once, one worker prepares and two train, before four more are asked for."""
        if number == 7:
            asked.set()
        return Late(1.0) if number > 4 else None

    async with ground.function(late, memory=MEMORY, timeout=120) as found:
        async with start(oracle.pipeline(tmp_path, oracle.train(workers=2)), on=ground.place(found)) as run:
            async for event in run.events():
                if isinstance(event, WorkerStarted) and event.stage == "train" and not asked.is_set():
                    await run.scale("train", 6)
                    await asked.wait()
                    await run.scale("train", 2)
            result = await run.result()
        await over(found)
        true = sum(one.gb_seconds for one in found.reports)
        assert sorted(one.number for one in found.reports)[4:] == [5, 6, 7, 8]
        assert result.cost.invocations == len(found.reports) == 8
    oracle.check(result)
    assert true <= result.cost.gb_seconds < true + 120 * MEMORY / 1024, "no one is billed to its timeout"
