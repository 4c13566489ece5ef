"""cirrus itself, as users start it, with four local workers; the variant is the depth, if it is not the default.

A stage until the loss is near enough, whose workers are called when there is one that measures; time counts from when
the first of them comes until the driver is told of the loss. Then a stage that learns for as long as it is told, whose
steps count from when all workers learn.
"""

from __future__ import annotations

import asyncio
import tempfile
from dataclasses import dataclass, field, replace
from math import inf
from pathlib import Path

from psutil import Process

from benchmarks.peers.task import MINIBATCH, WORKERS, Outcome, Task, age, family, processor_time, tell
from benchmarks.rows import STEPS
from cirrus.cloud.places import local
from cirrus.events import Event, LossReported, StageFinished, StageProgress, StageStarted, WorkerStarted
from cirrus.pipeline import Pipeline, Prepare, Train
from cirrus.runs import start
from cirrus.sources import criteo
from cirrus.steps import every
from cirrus.until import loss_below, minutes

STARTING = 1.5
"""Seconds until all workers learn."""

OFTEN, NEVER = 0.02, 1e6
"""Seconds between two evaluations or snapshots."""


@dataclass(frozen=True)
class Point:
    """How far the stage ``rate`` was at a time, and the processor time of all processes until then."""

    at: float
    steps: int
    processor: float


@dataclass
class Seen:
    """What the events of a run told of its stages."""

    task: Task
    began: float = inf
    family: list[Process] = field(default_factory=list)
    points: list[Point] = field(default_factory=list)
    prepared: float = 0.0
    came: float | None = None
    near: tuple[float | None, float | None] = None, None

    def see(self, event: Event) -> None:
        match event:
            case StageFinished(stage="prepare", seconds=seconds):
                self.prepared = seconds
            case WorkerStarted(stage="near", at=at) if self.came is None:
                self.came = at
            case LossReported(stage="near", loss=loss, at=at) if loss <= self.task.goal and self.near[0] is None:
                assert self.came is not None
                self.near = at - self.came, age() - self.prepared
            case StageStarted(stage="rate", at=at):
                self.began = at
            case StageProgress(stage="rate", at=at, steps=steps) if at > self.began + STARTING:
                self.family = self.family or family()  # looking for them each time would cost more than they do
                self.points.append(Point(at, steps, processor_time(self.family)))
            case _:
                pass

    def outcome(self) -> Outcome:
        first, *_, last, _ = self.points  # the very last is told when the workers have stopped
        steps, seconds = last.steps - first.steps, last.at - first.at
        return Outcome(steps, steps, seconds, last.processor - first.processor, *self.near)


async def run(task: Task) -> Outcome:
    limit = minutes((STARTING + task.seconds) / 60)
    rate = Train(minibatch=MINIBATCH, workers=WORKERS, evaluate=NEVER, snapshot=NEVER, until=limit, name="rate")
    if task.variant:
        rate = replace(rate, depth=int(task.variant))
    near = replace(rate, workers=0, evaluate=OFTEN, until=loss_below(task.goal) | limit, name="near")
    stages = (Prepare(steps=STEPS, test=every(5, at=4)), near, rate)
    pipeline = Pipeline(name="peers", data=criteo(task.folder / "rows.tsv"), stages=stages)
    seen = Seen(task)
    with tempfile.TemporaryDirectory(prefix="cirrus-peers-") as store:
        async with start(pipeline, on=local(Path(store))) as running:
            async for event in running.events():
                seen.see(event)
                if isinstance(event, WorkerStarted) and event.stage == "near.eval":
                    await running.scale("near", WORKERS)
    return seen.outcome()


if __name__ == "__main__":
    tell(asyncio.run(run(Task.given())))
