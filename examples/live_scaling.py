"""Change the number of workers while they train: 1, then 6, then none at all, then 3.

    python examples/live_scaling.py

``scale`` is a wish, and returns at once; workers come and go as the events say. Nothing that was learnt is lost on the
way: the weights are in the shards, which stay.
"""

from __future__ import annotations

import asyncio
import tempfile
from argparse import ArgumentParser
from pathlib import Path

import cirrus
from cirrus import Bucket, Hash, Pipeline, Prepare, Train, epochs
from cirrus.testing.data import criteo_like


def clicks(path: str, times: int) -> Pipeline:
    """A training stage that begins with one worker and goes over the rows so many times."""
    return Pipeline(
        name="scaling",
        data=cirrus.criteo(path),
        stages=(
            Prepare(steps=(Bucket(), Hash(bits=18)), workers=2, block=1024),
            Train(until=epochs(times), workers=1),
        ),
    )


async def steer(run: cirrus.Run) -> None:
    """Follow the events, and wish for the next number whenever the last wish has come true."""
    here: set[int] = set()
    wishes = [6, 0, 3]
    wished = 1
    async for event in run.events():
        match event:
            case cirrus.WorkerStarted(stage="train", slot=slot):
                here.add(slot)
            case cirrus.WorkerStopped(stage="train", slot=slot) | cirrus.WorkerReplaced(stage="train", slot=slot):
                here.discard(slot)
            case cirrus.WorkersScaled(stage="train", workers=workers):
                print(f"{event.at:6.1f} s  {workers} workers are wished for")
                continue
            case cirrus.LossReported(loss=loss, samples=samples):
                print(f"{event.at:6.1f} s  log loss {loss:.4f} after {samples:,} samples, {len(here)} workers")
                continue
            case _:
                continue
        print(f"{event.at:6.1f} s  {len(here)} workers are here")
        if len(here) == wished and wishes:
            wished = wishes.pop(0)
            await run.scale("train", wished)


async def scaled(rows: int, times: int, store: Path | None) -> None:
    """Run the pipeline on made-up rows."""
    with tempfile.TemporaryDirectory() as folder:
        path = f"{folder}/rows.tsv"
        await asyncio.to_thread(criteo_like, path, rows)
        async with cirrus.start(clicks(path, times), on=cirrus.local(store)) as run:
            await steer(run)
            result = await run.result()
    print(f"{result.metrics['train']['samples']:,.0f} samples, {result.cost.invocations} workers in all")


def main() -> None:
    """Read the command line."""
    parser = ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=100_000, help="how many rows to make up (100000)")
    parser.add_argument("--epochs", type=int, default=12, help="how many times to learn from each (12)")
    parser.add_argument("--store", type=Path, help="the folder of the run's objects (~/.cirrus)")
    words = parser.parse_args()
    asyncio.run(scaled(words.rows, words.epochs, words.store))


if __name__ == "__main__":
    main()
