"""The stages of a run, one after the other; what an earlier driver has finished is taken from the store."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import partial

from cirrus.actors.assembly import assemble
from cirrus.actors.crew import Crew
from cirrus.actors.learning import Job
from cirrus.actors.preparing import prepare
from cirrus.actors.records import Past, Records, finite
from cirrus.actors.training import train
from cirrus.actors.work import PrepareWork
from cirrus.learn.encoding import Encoder
from cirrus.pipeline import Pipeline
from cirrus.store.datasets import DataSet, decode_dataset
from cirrus.store.fields import JSON
from cirrus.trained import Model


@dataclass(frozen=True, slots=True)
class Task:
    """What is to be done: the pipeline, its records, what was done before, and the preparation unless it was."""

    pipeline: Pipeline
    records: Records
    past: Past
    work: PrepareWork | None


@dataclass(slots=True)
class Outcome:
    """The figures of each stage that is done, and the model of the last that trains."""

    metrics: dict[str, Mapping[str, float]] = field(default_factory=dict)
    model: Model | None = None


async def through(crew: Crew, task: Task, wishes: Mapping[str, int]) -> Outcome:
    """Take every stage through its course; each begins with as many workers as ``wishes`` says by then."""
    outcome = Outcome()
    manifest, dataset = await _prepare(crew, task, wishes, outcome)
    for number, stage in enumerate(task.pipeline.trains, 1):
        reached = task.past.steps.get(stage.name, 0)
        job = Job(replace(stage, workers=wishes[stage.name]), number, manifest, dataset, reached)
        await _train(crew, task, job, outcome)
    return outcome


async def _prepare(crew: Crew, task: Task, wishes: Mapping[str, int], outcome: Outcome) -> tuple[str, DataSet]:
    name = task.pipeline.prepare.name
    if task.work is None:
        manifest = task.past.manifest
        dataset = await crew.kernel.blocking(decode_dataset, await crew.store.get(manifest), manifest)
        outcome.metrics[name] = task.past.finished[name]
        return manifest, dataset
    began = crew.kernel.clock.monotonic()
    work = replace(task.work, prepare=replace(task.work.prepare, workers=wishes[name]))
    manifest, dataset = await prepare(crew, work)
    outcome.metrics[name] = _figures(dataset, crew.kernel.clock.monotonic() - began)
    decided: dict[str, JSON] = {"stage": name, "manifest": manifest, "metrics": finite(outcome.metrics[name])}
    await task.records.decide("prepared", decided)
    return manifest, dataset


async def _train(crew: Crew, task: Task, job: Job, outcome: Outcome) -> None:
    """Train a stage, or take its model from the store where an earlier driver has finished it."""
    name = job.stage.name
    key = crew.key(name, "model.safetensors")
    if name in task.past.finished:
        outcome.metrics[name] = task.past.finished[name]
        model = partial(Model.from_bytes, await crew.store.get(key), key, (type(job.stage.model),))
        outcome.model = await crew.kernel.blocking(model)
        return
    learnt = await train(crew, job)
    weights = await assemble(crew.kernel, crew.store, learnt.snapshots, learnt.tables)
    encoder = Encoder.from_json(job.dataset.encoder)
    outcome.metrics[name] = learnt.metrics
    outcome.model = Model(job.stage.model, encoder, weights, learnt.metrics)
    await task.records.keep(key, await crew.kernel.blocking(outcome.model.to_bytes))
    await task.records.decide("finished", {"stage": name, "metrics": finite(learnt.metrics)})


def _figures(dataset: DataSet, seconds: float) -> dict[str, float]:
    return {
        "rows_in": float(dataset.rows_in),
        "skipped": float(dataset.skipped),
        "train": float(sum(block.rows for block in dataset.train)),
        "test": float(sum(block.rows for block in dataset.test)),
        "features": float(dataset.features),
        "seconds": seconds,
    }
