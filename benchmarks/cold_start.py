"""How long a worker takes to come: from the making of its process to its first lease.

    python -m benchmarks.cold_start

Workers have a bundle and nothing else: as plain processes, as functions under AWS's own runtime client in a new
interpreter, and forked by the emulator's server. Singles come one after the other; then many are asked for at once.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import json
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import uvloop

from benchmarks.setting import setting, write
from cirrus.bundle.building import Wish, build, machine
from cirrus.bundle.unpacking import unpack
from cirrus.clock import Clock, SystemClock
from cirrus.cloud.aws import LambdaFunction
from cirrus.cloud.base import Invoker
from cirrus.cloud.lambda_code import Code, create
from cirrus.cloud.lambda_invoker import LambdaInvoker, open_client
from cirrus.cloud.places import Local
from cirrus.emulator.emulator import Options, emulator
from cirrus.emulator.identity import NAME, ROLE
from cirrus.errors import Killed
from cirrus.pipeline import Pipeline, Prepare, Train
from cirrus.runs import start
from cirrus.sources import libsvm
from cirrus.until import epochs

TIMED = Path(__file__).with_name("timed.py")
sys.path.insert(0, str(TIMED.parent))  # the model is in the module ``timed``, here as in bundles
Waiting = importlib.import_module("timed").Waiting
SINGLES = 20
MANY = 60
BLOCK = 64
LOOK = 0.1
SLOW = 1.0
"""Seconds for a unit, so that those of many workers that come first leave the processors to the others."""

Figures = dict[str, float]


@dataclass(frozen=True, slots=True)
class Processes(Local):
    """Workers as processes that import from the bundle in ``task``, and tell it in the file ``told``."""

    task: Path = Path()
    told: Path = Path()

    def invoker(self, command: tuple[str, ...], clock: Clock, grace: float) -> Invoker:  # noqa: ARG002  another one
        words = (sys.executable, "-I", "-S", "-B", str(TIMED), str(self.task), str(self.told))
        return Local.invoker(self, words, clock, grace)


@dataclass(frozen=True, slots=True)
class Functions(Local):
    """Workers as invocations of a function on an emulator."""

    at: LambdaFunction | None = None

    def invoker(self, command: tuple[str, ...], clock: Clock, grace: float) -> Invoker:  # noqa: ARG002  no command
        assert self.at is not None
        return LambdaInvoker(self.at, clock)


@asynccontextmanager
async def functions(data: bytes, store: Path, preload: tuple[str, ...]) -> AsyncIterator[tuple[Local, Path]]:
    """A place with an emulator, and the file in which its functions tell."""
    async with emulator(Options(preload=preload)) as found:
        at = LambdaFunction(
            name=NAME, region=found.options.region, endpoint_url=found.endpoint, credentials=found.options.credentials
        )  # fmt: skip
        code = Code(
            data=data, handler="timed.handler", python=f"{sys.version_info.major}.{sys.version_info.minor}",
            architecture=machine(), memory=600, timeout=120, role=ROLE,
        )  # fmt: skip
        client = await open_client(at)
        await create(client, code, SystemClock())
        await client.close()
        yield Functions(store, at=at), found.log(NAME)


def one_by_one(rows: Path) -> Pipeline:
    """A stage for each worker."""
    stages = [Train(Waiting(0.0), workers=1, minibatch=BLOCK, until=epochs(1), name=f"s{n}") for n in range(SINGLES)]
    return Pipeline(name="singles", data=libsvm(rows, features=1), stages=(Prepare(test=0.0, workers=1), *stages))


def at_once(rows: Path) -> Pipeline:
    """One stage for all workers."""
    stage = Train(Waiting(SLOW), workers=MANY, minibatch=BLOCK, until=epochs(1000), staleness=1_000_000)
    return Pipeline(
        name="many", data=libsvm(rows, features=1), stages=(Prepare(test=0.0, workers=1, block=BLOCK), stage)
    )  # fmt: skip


async def leases(pipeline: Pipeline, place: Local, told: Path, most: int | None = None) -> list[Figures]:
    """What the training workers of a run told of their first leases; it ends after ``most`` of them."""
    before = len(lines(told))
    with contextlib.suppress(Killed):
        async with start(pipeline, on=place) as going:
            if most is not None:
                while len(lines(told)) < before + most:  # noqa: ASYNC110  a file has no events
                    await asyncio.sleep(LOOK)
                await going.kill()
            await going.result()
    return [json.loads(line)["lease"] for line in lines(told)[before:]]


def lines(told: Path) -> list[str]:
    """Of what was told, that which is about leases."""
    told.touch()
    return [line for line in told.read_text().splitlines() if line.startswith('{"lease"')]


async def measure(what: str, folder: Path, place: Local, told: Path, *, many: bool) -> dict[str, object]:
    """All figures of a place, in milliseconds."""
    rows = folder / "rows.libsvm"
    rows.write_text("0 1:1\n" * BLOCK)
    found = await leases(one_by_one(rows), place, told)
    line: dict[str, object] = {"what": what, "singles": len(found)}
    for name, figure in (("wall_ms", "age"), ("processor_ms", "processor")):
        values = [one[figure] * 1000 for one in found]
        line[name] = {"least": round(min(values)), "median": round(median(values))}
    if many:
        rows.write_text("0 1:1\n" * BLOCK * MANY)
        found = await leases(at_once(rows), place, told, MANY)
        begin = min(one["at"] - one["age"] for one in found)
        line["many"] = {"workers": MANY, "seconds": round(max(one["at"] for one in found) - begin, 2)}
    print(line, flush=True)
    return line


async def main() -> None:
    before, found = setting(), []
    built = build(Wish.here((str(TIMED),)))
    with tempfile.TemporaryDirectory(prefix="cirrus-cold-start-") as name:
        folder = Path(name)
        task, told, store = folder / "task", folder / "told", folder / "store"
        task.mkdir()
        unpack(built.data, task)
        found.append(await measure("process", folder, Processes(store, task=task, told=told), told, many=False))
        for what, preload in (("new interpreter", ()), ("forked", ("timed",))):
            async with functions(built.data, store, preload) as (place, log):
                found.append(await measure(what, folder, place, log, many=bool(preload)))
    write("cold_start", before, found)


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main())
