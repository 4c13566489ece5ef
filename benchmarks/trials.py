"""A hundred trials at once on one shard: their memory, how fast they learn together, and what is left when they end.

    python -m benchmarks.trials

Trials of 2^18 weights with AdaGrad's state, each with a worker of its own, against one trial alone with such a worker
and with as many as this machine can make use of, in turn. Rates are rows learnt from per second while all of them
learn, from the moment when the last worker has come; processor time and memory are those of the same while. Memory is
that of the shard's process beyond what it has without tables; when trials end there is a copy of everything as well,
for a snapshot.
"""

from __future__ import annotations

import asyncio
import contextlib
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median

import psutil

import cirrus
from benchmarks.setting import setting, write
from cirrus import events
from cirrus.pipeline import Pipeline, Train, Tune
from cirrus.search import log_uniform
from cirrus.testing.data import criteo_like
from cirrus.until import epochs

TRIALS = 100
CORES = 2
"""Workers of the trial that has the machine for itself: as many as there are cores."""

BITS = 18
ROWS = 20_000
PASSES = 12
ROUNDS = 3
LEARNING = 0.9
"""Of all rows: until then no trial has come to its end, and is being saved and measured."""

BYTES = 8
"""Of a weight and AdaGrad's state."""


@dataclass(frozen=True)
class Seen:
    """Rows a second, microseconds of the shard's and the workers' processors a row, and MB of the shard.

    MB are those without tables, with all of them, and after they were dropped.
    """

    rate: float
    shard_us: float
    workers_us: float
    without: float
    full: float
    after: float


@dataclass(frozen=True)
class Point:
    """Rows that were learnt from at a second of the run, and seconds that processors have worked for it until then."""

    at: float
    rows: int
    shard: float
    workers: float


def pipeline(path: Path, trials: int, workers: int, passes: int) -> Pipeline:
    """As many trials at once, and a stage after them that lasts long enough to see what is left."""
    train = Train(until=epochs(passes), workers=workers, evaluate=3600.0, snapshot=3600.0)
    tune = Tune(train, space={"optimizer.rate": log_uniform(0.05, 0.15)}, trials=trials, at_once=trials)
    prepare = cirrus.Prepare(steps=(cirrus.Bucket(), cirrus.Hash(bits=BITS)), test=cirrus.every(5, at=4))
    return Pipeline(
        name="trials", data=cirrus.criteo(str(path)),
        stages=(prepare, tune, replace(train, until=epochs(300), workers=2, name="after")),
    )  # fmt: skip


def worked(processes: list[psutil.Process]) -> float:
    """Seconds that processors have worked for them."""
    times = [one.cpu_times() for one in processes]
    return sum(one.user + one.system for one in times)


async def seen(made: Pipeline, folder: Path, workers: int) -> Seen:
    """Run it and look."""
    points: list[Point] = []
    memory: dict[str, list[tuple[float, float]]] = {"prepare": [], "tune": [], "after": []}
    stage, shards = "prepare", list[psutil.Process]()
    here = list[psutil.Process]()
    async with cirrus.start(made, on=cirrus.local(folder)) as run:
        async for event in run.events():
            match event:
                case events.StageStarted(stage=stage):
                    pass
                case events.ShardStarted(pid=pid):
                    shards.append(psutil.Process(pid))
                case events.WorkerStarted(stage=pool, pid=pid) if ".trial" in pool:
                    here.append(psutil.Process(pid))
                case events.StageProgress(stage="tune", at=at, rows=rows) if len(here) == workers:
                    with contextlib.suppress(psutil.NoSuchProcess):  # then not all of them learn any more
                        points.append(Point(at, rows, worked(shards), worked(here)))
                case events.TrialFinished():
                    workers = -1  # from now on not all of them learn
                case events.ResourcesReported(at=at, shard_mb=shard_mb):
                    memory[stage].append((at, shard_mb))
                case _:
                    pass
        await run.result()
    first = points[1]
    last = [one for one in points if one.rows < LEARNING * points[-1].rows][-1]
    rows = last.rows - first.rows
    return Seen(
        rate=rows / (last.at - first.at),
        shard_us=(last.shard - first.shard) / rows * 1e6,
        workers_us=(last.workers - first.workers) / rows * 1e6,
        without=memory["prepare"][-1][1],
        full=median(mb for at, mb in memory["tune"] if first.at <= at <= last.at),
        after=memory["after"][-1][1],
    )


async def main() -> None:
    """Take turns, print and write."""
    begun = setting()
    kinds = ((1, CORES, PASSES * 20), (1, 1, PASSES * 12), (TRIALS, TRIALS, PASSES))
    taken: dict[tuple[int, int], list[Seen]] = {(trials, workers): [] for trials, workers, _ in kinds}
    with tempfile.TemporaryDirectory(prefix="cirrus-trials-") as folder:
        path = Path(folder) / "clicks.tsv"
        criteo_like(path, ROWS, seed=0)
        for turn in range(ROUNDS):
            for trials, workers, passes in kinds:
                place = Path(folder) / f"{turn}-{trials}-{workers}"
                taken[trials, workers].append(await seen(pipeline(path, trials, workers, passes), place, workers))
                print(trials, workers, taken[trials, workers][-1], flush=True)
    rates = [
        {
            "trials": trials,
            "workers": workers,
            "rows_per_second": round(median(one.rate for one in found)),
            "shard_us": round(median(one.shard_us for one in found), 2),
            "workers_us": round(median(one.workers_us for one in found), 2),
        }
        for (trials, workers), found in taken.items()
    ]
    together = taken[TRIALS, TRIALS]
    found = {
        "rates": rates,
        "computed_mb": round(TRIALS * BYTES * 2**BITS / 2**20),
        "used_mb": round(median(one.full - one.without for one in together)),
        "left_mb": round(median(one.after - one.without for one in together)),
    }
    print(found)
    write("trials", begun, found)


if __name__ == "__main__":
    asyncio.run(main())
