"""A hundred trials at once on one shard: their memory, how fast they learn together, and what is left when they end.

    python -m benchmarks.trials

Trials of 2^18 weights with AdaGrad's state, each with a worker of its own, against one trial that has all the workers
that this machine can make use of, in turn. Rates are rows learnt from per second while all of them learn, from the
moment when the last worker has come. Memory is that of the shard's process beyond what it has without tables, in the
middle of what was seen: while a snapshot is taken there is a copy of everything as well.
"""

from __future__ import annotations

import asyncio
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median

import cirrus
from benchmarks.setting import setting, write
from cirrus import events
from cirrus.pipeline import Pipeline, Train, Tune
from cirrus.search import log_uniform
from cirrus.testing.data import criteo_like
from cirrus.until import epochs

TRIALS = 100
ALONE = 2
"""Workers of the trial that is alone: as many as there are cores."""

BITS = 18
ROWS = 20_000
PASSES = 12
ROUNDS = 3
BYTES = 8
"""Of a weight and AdaGrad's state."""


@dataclass(frozen=True)
class Seen:
    """Rows a second, and MB of the shard without tables, with all of them, and after they were dropped."""

    rate: float
    without: float
    full: float
    after: float


def pipeline(path: Path, trials: int, workers: int, passes: int) -> Pipeline:
    """As many trials at once, and a stage after them that lasts long enough to see what is left."""
    train = Train(until=epochs(passes), workers=workers, evaluate=3600.0, snapshot=3600.0)
    tune = Tune(train, space={"optimizer.rate": log_uniform(0.05, 0.15)}, trials=trials, at_once=trials)
    prepare = cirrus.Prepare(steps=(cirrus.Bucket(), cirrus.Hash(bits=BITS)), test=cirrus.every(5, at=4), block=1000)
    return Pipeline(
        name="trials", data=cirrus.criteo(str(path)),
        stages=(prepare, tune, replace(train, until=epochs(60), workers=2, name="after")),
    )  # fmt: skip


async def seen(made: Pipeline, folder: Path, workers: int) -> Seen:
    """Run it and look."""
    points: list[tuple[float, int]] = []
    memory: dict[str, list[float]] = {"prepare": [0.0], "tune": [], "after": []}
    stage, here = "prepare", 0
    async with cirrus.start(made, on=cirrus.local(folder)) as run:
        async for event in run.events():
            match event:
                case events.StageStarted(stage=stage):
                    pass
                case events.WorkerStarted(stage=pool) if ".trial" in pool:
                    here += 1
                case events.StageProgress(stage="tune", at=at, rows=rows) if here >= workers:
                    points.append((at, rows))
                case events.TrialFinished():
                    here = -workers  # from now on not all of them learn
                case events.ResourcesReported(shard_mb=shard_mb):
                    memory[stage].append(shard_mb)
                case _:
                    pass
        await run.result()
    (first, before), (last, after) = points[1], points[-1]
    return Seen((after - before) / (last - first), memory["prepare"][-1], median(memory["tune"]), memory["after"][-1])


async def main() -> None:
    """Take turns, print and write."""
    begun = setting()
    alone: list[Seen] = []
    together: list[Seen] = []
    with tempfile.TemporaryDirectory(prefix="cirrus-trials-") as folder:
        path = Path(folder) / "clicks.tsv"
        criteo_like(path, ROWS, seed=0)
        for turn in range(ROUNDS):
            alone.append(await seen(pipeline(path, 1, ALONE, PASSES * 20), Path(folder) / f"a{turn}", ALONE))
            together.append(await seen(pipeline(path, TRIALS, TRIALS, PASSES), Path(folder) / f"b{turn}", TRIALS))
            print("alone   ", alone[-1])
            print("together", together[-1])
    computed = TRIALS * BYTES * 2**BITS / 2**20
    found = {
        "trials": TRIALS,
        "rows_per_second_alone": round(median(one.rate for one in alone)),
        "rows_per_second_together": round(median(one.rate for one in together)),
        "computed_mb": round(computed),
        "used_mb": round(median(one.full - one.without for one in together)),
        "left_mb": round(median(one.after - one.without for one in together)),
    }
    print(found)
    print(f"together / alone: {found['rows_per_second_together'] / found['rows_per_second_alone']:.2f}")
    write("trials", begun, found)


if __name__ == "__main__":
    asyncio.run(main())
