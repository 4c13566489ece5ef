"""How near ``cirrus estimate`` comes: the demo's pipeline estimated, and then run and metered at the same prices.

    python -m benchmarks.estimates [rows] [rounds]

At each place the two take turns, so that both meet the same neighbours; what counts are the medians. Places are the
processes of this machine, billed as functions of AWS would be, and functions on the emulator.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
from collections import defaultdict
from pathlib import Path
from statistics import median

import uvloop

from benchmarks.setting import setting, write
from cirrus.cli.demo import demo_pipeline
from cirrus.clock import SystemClock
from cirrus.cloud.places import Local
from cirrus.cloud.prices import function_price, read_prices
from cirrus.core.terms import Terms
from cirrus.emulator.place import Emulated
from cirrus.estimates import Rehearsal, estimate
from cirrus.pipeline import Pipeline
from cirrus.runs import run
from cirrus.testing.data import criteo_like

ROWS = 200_000
ROUNDS = 5
REGION = "us-east-1"
MEMORY = 1024


def places(folder: Path) -> dict[str, Local]:
    """Where it is tried, by name; objects are below the folder."""
    price = function_price(REGION, "x86_64", read_prices(REGION))
    return {
        "processes": Rehearsal(folder / "processes", terms=Terms(price=price, memory=MEMORY)),
        "emulator": Emulated(folder / "emulator", memory=MEMORY, region=REGION),
    }


async def estimated(pipeline: Pipeline, place: Local) -> float:
    """Dollars that it would come to."""
    return (await estimate(pipeline, place, SystemClock())).dollars


async def metered(pipeline: Pipeline, place: Local) -> float:
    """Dollars that it came to."""
    return (await run(pipeline, on=place)).cost.dollars


async def main(rows: int, rounds: int) -> None:
    before = setting()
    seen: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    with tempfile.TemporaryDirectory(prefix="cirrus-estimates-") as name:
        path = Path(name) / "clicks.tsv"
        await asyncio.to_thread(criteo_like, path, rows, 0)
        pipeline = demo_pipeline(str(path))
        for number in range(rounds):
            for what, place in places(Path(name)).items():
                for measure in (estimated, metered) if number % 2 == 0 else (metered, estimated):
                    dollars = await measure(pipeline, place)
                    seen[what][measure.__name__].append(dollars)
                    print(f"{what:10} {measure.__name__:10} {dollars:.6f}", flush=True)
    found = [
        {
            "what": what,
            "rows": rows,
            **{f"{name}_dollars": round(median(values), 8) for name, values in of.items()},
            "ratio": round(median(a / b for a, b in zip(of["estimated"], of["metered"], strict=True)), 3),
            "rounds": of,
        }
        for what, of in seen.items()
    ]
    print(*[f"{one['what']}: estimated / metered {one['ratio']}" for one in found], sep="\n")
    write("estimates", before, found)


if __name__ == "__main__":
    words = [int(word) for word in sys.argv[1:]]
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main(*words, *(ROWS, ROUNDS)[len(words) :]))
