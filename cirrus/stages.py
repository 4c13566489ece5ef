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
from cirrus.actors.training import Learnt, train
from cirrus.actors.trials import Trials, TuneJob, Wheel, ended
from cirrus.actors.tuning import tune
from cirrus.actors.work import PrepareWork
from cirrus.core.views import Trial
from cirrus.learn.encoding import Encoder
from cirrus.pipeline import Best, Pipeline, Train, Tune
from cirrus.proposals import from_plain, settled
from cirrus.search import Settings
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


@dataclass(frozen=True, slots=True)
class Steering:
    """What steers the stages while they go on: wishes for workers by stage, and orders to trials."""

    wishes: Mapping[str, int]
    trials: Trials


@dataclass(slots=True)
class Outcome:
    """The figures of each stage that is done, the trials, and the model of the last stage that learns.

    ``winner``: the stage that was tuned last, with the best trial's settings.
    """

    metrics: dict[str, Mapping[str, float]] = field(default_factory=dict)
    model: Model | None = None
    trials: list[Trial] = field(default_factory=list)
    winner: tuple[Train, Settings] | None = None


async def through(crew: Crew, task: Task, steering: Steering) -> Outcome:
    """Take every stage through its course; each begins with as many workers as are wished for by then."""
    stages = _Stages(crew, task, steering)
    await stages.prepare()
    for number, stage in enumerate(task.pipeline.learning, 1):
        if isinstance(stage, Tune):
            await stages.tune(stage, number)
        else:
            await stages.train(stage, number)
    return stages.outcome


class _Stages:
    """The stages of a run in their order, and what they have come to."""

    def __init__(self, crew: Crew, task: Task, steering: Steering) -> None:
        self.outcome = Outcome()
        self._crew = crew
        self._task = task
        self._steering = steering
        self._manifest = task.past.manifest
        self._dataset: DataSet | None = None

    @property
    def dataset(self) -> DataSet:
        """The prepared data."""
        assert self._dataset is not None, "a pipeline prepares first"
        return self._dataset

    async def prepare(self) -> None:
        """Prepare the data, or find them in the store where an earlier driver has done so."""
        crew, task, name = self._crew, self._task, self._task.pipeline.prepare.name
        if task.work is None:
            manifest = task.past.manifest
            self._dataset = await crew.kernel.blocking(decode_dataset, await crew.store.get(manifest), manifest)
            self.outcome.metrics[name] = task.past.finished[name]
            return
        began = crew.kernel.clock.monotonic()
        work = replace(task.work, prepare=replace(task.work.prepare, workers=self._steering.wishes[name]))
        self._manifest, self._dataset = await prepare(crew, work)
        metrics = self.outcome.metrics[name] = _figures(self._dataset, crew.kernel.clock.monotonic() - began)
        decided: dict[str, JSON] = {"stage": name, "manifest": self._manifest, "metrics": finite(metrics)}
        await task.records.decide("prepared", decided)

    async def train(self, stage: Train | Best, number: int) -> None:
        """Train, or take the model from the store where an earlier driver has finished the stage."""
        if isinstance(stage, Best):
            assert self.outcome.winner is not None, "a pipeline tunes before it goes on with the best"
            stage = stage.resolved(*self.outcome.winner)
        if stage.name in self._task.past.finished:
            await self._take(stage.name, stage)
            return
        reached = self._task.past.steps.get(stage.name, 0)
        wished = replace(stage, workers=self._steering.wishes[stage.name])
        learnt = await train(self._crew, Job(wished, stage.name, number, self._manifest, self.dataset, reached))
        await self._keep(stage.name, stage, learnt)

    async def tune(self, stage: Tune, number: int) -> None:
        """Tune, or take trials and best model from the store where an earlier driver has finished the stage."""
        crew, task, name = self._crew, self._task, stage.name
        past = task.past.trials.get(name, {})
        if name in task.past.finished:
            winner = past[int(task.past.finished[name]["best"])]
            self.outcome.trials += [ended(name, trial, one) for trial, one in sorted(past.items()) if one.outcome]
            self.outcome.winner = stage.train, from_plain(winner.settings)
            await self._take(name, settled(*self.outcome.winner))
            return
        job = TuneJob(stage, number, self._manifest, self.dataset, past)
        tuned = await tune(crew, job, Wheel(self._steering.wishes, task.records.decide, self._steering.trials))
        self.outcome.trials += tuned.trials
        self.outcome.winner = stage.train, tuned.settings
        await self._keep(name, settled(*self.outcome.winner), tuned.learnt)
        await crew.shards.drop(list(tuned.learnt.tables.values()), tuned.line)

    async def _take(self, name: str, stage: Train) -> None:
        """The figures and the model of a stage that an earlier driver has finished."""
        crew, key = self._crew, self._crew.key(name, "model.safetensors")
        self.outcome.metrics[name] = self._task.past.finished[name]
        model = partial(Model.from_bytes, await crew.store.get(key), key, (type(stage.model),))
        self.outcome.model = await crew.kernel.blocking(model)

    async def _keep(self, name: str, stage: Train, learnt: Learnt) -> None:
        """Put a stage's model together, and write it and its figures down."""
        crew, records = self._crew, self._task.records
        weights = await assemble(crew.kernel, crew.store, learnt.snapshots, learnt.tables)
        self.outcome.metrics[name] = learnt.metrics
        model = self.outcome.model = Model(
            stage.model, Encoder.from_json(self.dataset.encoder), weights, learnt.metrics
        )
        await records.keep(crew.key(name, "model.safetensors"), await crew.kernel.blocking(model.to_bytes))
        await records.decide("finished", {"stage": name, "metrics": finite(learnt.metrics)})


def _figures(dataset: DataSet, seconds: float) -> dict[str, float]:
    return {
        "rows_in": float(dataset.rows_in),
        "skipped": float(dataset.skipped),
        "train": float(sum(block.rows for block in dataset.train)),
        "test": float(sum(block.rows for block in dataset.test)),
        "features": float(dataset.features),
        "seconds": seconds,
    }
