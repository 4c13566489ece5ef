"""Does fetching ahead hide the store? Training from a store that is far away, beside training from memory.

    python -m benchmarks.prefetch

Four local workers, minibatch 100, 100,000 Criteo-shaped rows: with their blocks in memory, and with a store that
answers 20 ms late and hands each worker 50 MB a second: once so that all blocks are fetched again in each pass, and
once so that they are kept, as they are if memory allows. The three take turns.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
from collections import defaultdict
from pathlib import Path
from statistics import median

from benchmarks.setting import setting, write
from benchmarks.throughput import cirrus
from cirrus.actors.train_job import ROOM
from cirrus.cloud.places import Local, local
from cirrus.testing.data import criteo_like
from cirrus.testing.places import Troubled

ROWS = 100_000
MINIBATCH = 100
WORKERS = 4
LATENCY = 0.02
RATE = 50e6
ROUNDS = 5


def places(folder: Path) -> dict[str, Local]:
    """Where runs take place."""

    def far(room: float) -> Local:
        command = (sys.executable, "-m", "benchmarks.far_worker", str(LATENCY), str(RATE), str(room))
        return Troubled(folder, command=command)

    return {"memory": local(folder), "far": far(0.0), "far, kept": far(ROOM)}


async def main() -> None:
    before = setting()
    rates: dict[str, list[float]] = defaultdict(list)
    with tempfile.TemporaryDirectory(prefix="cirrus-prefetch-") as name:
        data = Path(name) / "rows.tsv"
        criteo_like(data, ROWS)
        for number in range(ROUNDS):
            for where, place in places(Path(name) / f"store{number}").items():
                (steps,) = (await cirrus(data, place, [(MINIBATCH, WORKERS)])).values()
                rates[where].append(steps * MINIBATCH)
            print({where: f"{values[-1]:,.0f}" for where, values in rates.items()}, flush=True)
    found = {
        where: {
            "rows_per_second": round(median(values)),
            "ratio": round(median(one / near for one, near in zip(values, rates["memory"], strict=True)), 2),
            "runs": [round(one) for one in values],
        } for where, values in rates.items()
    }  # fmt: skip
    print(found)
    write("prefetch", before, found)


if __name__ == "__main__":
    asyncio.run(main())
