"""The course of a training stage: tables on the shards, workers on units, evaluations, and the model at its end."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass

from cirrus import events
from cirrus.actors.crew import Crew
from cirrus.actors.evaluator import Evaluator
from cirrus.actors.learning import Job, Training
from cirrus.errors import OutsideError
from cirrus.pipeline import Train


@dataclass(frozen=True, slots=True)
class Learnt:
    """What a training stage has come to: the tables' names on the shards, figures, and the shards' snapshots."""

    tables: dict[str, str]
    metrics: dict[str, float]
    snapshots: tuple[str, ...]


async def train(crew: Crew, job: Job) -> Learnt:
    """Run the stage until its condition is met, measure the model on every test row, and snapshot it."""
    stage = job.stage
    crew.bus.publish(events.StageStarted(at=crew.at, stage=stage.name, workers=stage.workers))
    training = Training(crew, job)
    evaluator = Evaluator(crew, stage, stage.name, training.key)
    await training.open(evaluator if job.dataset.test else None)
    if job.dataset.test:
        await evaluator.open(training.mailbox)
    saving = crew.kernel.task(save_regularly(crew, stage, job.line), name=f"{stage.name}.snapshots")
    snapshots = await training.learn(saving)
    metrics = await training.finish()
    if job.dataset.test:
        await evaluator.close()
    crew.bus.publish(events.StageFinished(at=crew.at, stage=stage.name, seconds=training.seconds))
    return Learnt(training.tables, metrics, snapshots)


async def save_regularly(crew: Crew, stage: Train, line: int) -> None:
    """Have the shards write a snapshot from time to time, for ever."""
    while True:
        await crew.kernel.clock.sleep(stage.snapshot)
        with contextlib.suppress(OutsideError):  # the next one will do; the last of the stage may not fail
            await crew.shards.snapshot(line)
