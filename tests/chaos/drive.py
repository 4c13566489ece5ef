"""A driver in a process of its own, for tests that kill it: ``python -m tests.chaos.drive``, its task as JSON on stdin.

It prints each event of its run as a line of JSON, and at the end how the run ended.
"""

from __future__ import annotations

import asyncio
import json
import math
import os
import sys
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Literal

from cirrus import driver as driving
from cirrus import tenure
from cirrus.core.slots import PoolPolicy
from cirrus.errors import CirrusError
from cirrus.pipeline import Pipeline
from cirrus.runs import start
from cirrus.sources import libsvm
from cirrus.store.base import ObjectStore
from cirrus.testing.crashing import kill
from cirrus.testing.places import Troubled
from cirrus.testing.stores import MeddledStore, Request
from tests.chaos.clicks import check, clicks, trials
from tests.chaos.doom import DOOM, SHARD, SNAPSHOTS, WORKER, Doom, Doomed
from tests.chaos.ground import Oracle
from tests.chaos.models import Awaiting


@dataclass(frozen=True, slots=True)
class Task:
    """Drive a new run of the oracle, or of the clicks, or go on with ``run``, with objects below ``folder``.

    The process dies as by SIGKILL right after it has written the first object whose key ends in ``fall_after``, or it
    or one that it starts as ``doom`` says. ``store`` is a URL, and ``data`` a path of rows; without them both are made.
    """

    folder: str
    run: str = ""
    what: Literal["oracle", "clicks", "tune"] = "oracle"
    fall_after: str = ""
    doom: str = ""
    store: str = ""
    data: str = ""
    rows: int = 640
    block: int = 64
    passes: int = 2
    pause: float = 0.0
    workers: int = 2
    shards: int = 1
    snapshot: float = 10.0
    kill: bool = False
    restarts: int = 10

    @property
    def oracle(self) -> Oracle:
        """What the run counts."""
        return Oracle(rows=self.rows, block=self.block, passes=self.passes, pause=self.pause)

    @property
    def place(self) -> Path | str:
        """Where the objects are."""
        return self.store or Path(self.folder) / "store"


def _say(line: dict[str, object]) -> None:
    sys.stdout.write(json.dumps(line) + "\n")
    sys.stdout.flush()


async def drive(task: Task) -> dict[str, float]:
    """Take the run to its end, and see that it counted right; figures of what it has learnt."""

    async def fall(request: Request) -> None:
        if task.fall_after and request.writes and request.key.endswith(task.fall_after):
            kill()

    def meddle(store: ObjectStore) -> ObjectStore:
        return MeddledStore(store, after=fall)

    folder = Path(task.folder)
    place = Troubled(task.place, meddle=meddle, patience=PoolPolicy(restarts=task.restarts))
    if task.doom:
        place = doomed(place, Doom.from_json(task.doom))
    async with start(task.run or pipeline(task, folder), on=place) as run:
        async for event in run.events():
            _say({"event": type(event).__name__, **asdict(event)})
            if task.kill and type(event).__name__ == "StageProgress":
                await run.kill(reason="enough")
        result = await run.result()
        figures = {"worker_seconds": result.cost.worker_seconds}
        if task.what == "oracle":
            task.oracle.check(result)
            return figures
        await check(place.open(), result)
        figures |= {f"trial {one.number}": one.loss for one in result.trials if math.isfinite(one.loss)}
        learnt = result.metrics["tune" if task.what == "tune" else "train"]
        return figures | {name: one for name, one in learnt.items() if math.isfinite(one)}


def doomed(place: Troubled, doom: Doom) -> Troubled:
    """The place where this process and all that it starts may die of a write, and none is made by time alone."""
    os.environ[DOOM] = doom.to_json()
    driving.SHARD = SHARD
    tenure.RENEW = 1e6
    return replace(place, command=WORKER, meddle=Doomed(doom, "driver").store)


def pipeline(task: Task, folder: Path) -> Pipeline:
    """What is driven."""
    if task.what == "tune":
        return trials(folder, task.workers, task.shards)
    if task.what == "clicks":
        return clicks(folder, task.workers, task.shards)
    stage = task.oracle.train(workers=task.workers, shards=task.shards)
    if task.doom:
        notes = str(Doom.from_json(task.doom).notes)
        stage = replace(stage, model=Awaiting(task.oracle.steps + 5, notes, SNAPSHOTS[-1], task.pause))
    whole = task.oracle.pipeline(folder, replace(stage, snapshot=task.snapshot))
    return replace(whole, data=libsvm(task.data, features=1)) if task.data else whole


def main() -> None:
    """Drive, and say how it ended."""
    task = Task(**json.loads(sys.stdin.readline()))
    try:
        figures = asyncio.run(drive(task))
    except CirrusError as error:
        _say({"ended": type(error).__name__, "text": str(error)})
    else:
        _say({"ended": "done", **figures})


if __name__ == "__main__":
    main()
