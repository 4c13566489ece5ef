"""Steps a second of 1, 2 and 4 local workers, beside the same learning in C without a network and the naive design.

    python -m benchmarks.throughput [rows]

Each round measures all of them one after the other, so that all meet the same neighbours; the medians count. What is
measured of cirrus is a whole run as users start it, from when all workers learn: leases, ledger, damping and all.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from statistics import median

from benchmarks import floor, naive
from benchmarks.rows import STEPS, encoded, save
from benchmarks.setting import setting, write
from cirrus.cloud.base import Place
from cirrus.cloud.places import local
from cirrus.events import StageProgress
from cirrus.pipeline import Pipeline, Prepare, Stage, Train
from cirrus.runs import start
from cirrus.sources import criteo
from cirrus.testing.data import criteo_like
from cirrus.until import minutes

MINIBATCHES = (20, 100, 1000)
WORKERS = (1, 2, 4)
SIZES = tuple((size, workers) for size in MINIBATCHES for workers in WORKERS)
ROUNDS = 3
SECONDS = 3.0
STARTING = 3.0
"""Seconds until the last of a stage's workers learns."""

Key = tuple[str, int, int]


def stage(minibatch: int, workers: int) -> Train:
    return Train(
        minibatch=minibatch, workers=workers, until=minutes((STARTING + SECONDS) / 60), snapshot=1e6,
        name=f"of{minibatch}-by{workers}",
    )  # fmt: skip


async def cirrus(data: Path, place: Place, wanted: Iterable[tuple[int, int]] = SIZES) -> dict[Key, float]:
    """Rows that went through in the last ``SECONDS`` of each stage of one run, as steps a second."""
    sizes = {stage(*size).name: size for size in wanted}
    stages: tuple[Stage, ...] = (Prepare(steps=STEPS, test=0.0), *[stage(*size) for size in sizes.values()])
    seen: dict[str, list[StageProgress]] = defaultdict(list)
    pipeline = Pipeline(name="throughput", data=criteo(data), stages=stages)
    async with start(pipeline, on=place) as run:
        async for event in run.events():
            if isinstance(event, StageProgress) and event.stage in sizes:
                seen[event.stage].append(event)
    return {("cirrus", *sizes[name]): rate(events, sizes[name][0]) for name, events in seen.items()}


def rate(events: list[StageProgress], minibatch: int) -> float:
    last = events[-1]
    first = next(event for event in events if event.at >= last.at - SECONDS)
    return (last.rows - first.rows) / (last.at - first.at) / minibatch


async def one_round(data: Path, rows: Path, program: Path, folder: Path) -> dict[Key, float]:
    """Every figure once."""
    found = await cirrus(data, local(folder))
    for size in MINIBATCHES:
        found["C", size, 1] = floor.steps_per_second(program, rows, size, SECONDS)
        for workers in WORKERS:
            found["naive", size, workers] = await naive.steps_per_second(rows, size, workers, SECONDS)
    return found


async def main() -> None:
    before = setting()
    found: dict[Key, list[float]] = defaultdict(list)
    with tempfile.TemporaryDirectory(prefix="cirrus-throughput-") as name:
        folder = Path(name)
        data, rows = folder / "rows.tsv", folder / "rows.bin"
        criteo_like(data, int(sys.argv[1]) if len(sys.argv) > 1 else 100_000)
        save(encoded(data), rows)
        program = floor.built(folder)
        for number in range(ROUNDS):
            for key, value in (await one_round(data, rows, program, folder / str(number))).items():
                found[key].append(value)
            print(f"round {number + 1} of {ROUNDS}", flush=True)
    lines = [
        {"what": what, "minibatch": size, "workers": workers, "steps_per_second": round(median(values)), "runs":
         [round(value) for value in values]} for (what, size, workers), values in sorted(found.items())
    ]  # fmt: skip
    for line in lines:
        print(line)
    write("throughput", before, lines)


if __name__ == "__main__":
    asyncio.run(main())
