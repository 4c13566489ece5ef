"""The driver of a run: builds its actors and processes, takes the stages through their courses, and ends everything.

The only place that builds actors in the user's process.
"""

from __future__ import annotations

import asyncio
import json
import secrets
import sys
from collections.abc import Mapping
from contextlib import AsyncExitStack
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime

from aiohttp import ClientSession

from cirrus import checks, events
from cirrus.actors.assembly import assemble
from cirrus.actors.bus import EventBus
from cirrus.actors.crew import Crew
from cirrus.actors.fleet import Fleet
from cirrus.actors.inspection import inspect
from cirrus.actors.kernel import Kernel
from cirrus.actors.orders import Address, Orders
from cirrus.actors.preparing import prepare
from cirrus.actors.scheduler import Scale, Scheduler, ShardBack, Site, Word
from cirrus.actors.shards import Plan, ShardCalls
from cirrus.actors.training import Job, Learnt, train
from cirrus.actors.work import PrepareWork
from cirrus.clock import Clock
from cirrus.cloud.local import LocalInvoker
from cirrus.cloud.places import Local
from cirrus.cloud.processes import Processes
from cirrus.core.cost import FREE, Cost, Meter
from cirrus.core.ids import WorkerId
from cirrus.core.messages import ToDriver
from cirrus.errors import BudgetExceeded, Conflict
from cirrus.learn.encoding import Encoder
from cirrus.pipeline import Pipeline
from cirrus.results import Result
from cirrus.store.base import ObjectStore
from cirrus.store.datasets import DataSet
from cirrus.store.opening import open_store
from cirrus.trained import Model
from cirrus.wire.tokens import Claims, issue

WORKER = (sys.executable, "-m", "cirrus.actors.worker_process")
SHARD = (sys.executable, "-m", "cirrus.actors.host")
FOREVER = 30 * 86_400.0
GRACE = 5.0  # seconds in which workers and shards may end by themselves
LOOK = 0.2  # seconds between two looks at the budget


@dataclass(frozen=True, slots=True)
class WorkerView:
    """A worker as the driver sees it: ``state`` is requested, running, lost or draining, for ``seconds``."""

    stage: str
    slot: int
    attempt: int
    state: str
    seconds: float


@dataclass(slots=True)
class _Parts:
    """What exists while the run goes on."""

    kernel: Kernel
    crew: Crew
    scheduler: Scheduler


@dataclass(frozen=True, slots=True)
class _Ground:
    """What is there before any stage begins, and is let go of after the last."""

    store: ObjectStore
    session: ClientSession
    processes: Processes
    invoker: LocalInvoker


@dataclass(slots=True)
class _Outcome:
    metrics: dict[str, Mapping[str, float]] = field(default_factory=dict)
    model: Model | None = None


class Driver:
    """One run from its first look at the input to its last process's end."""

    def __init__(self, pipeline: Pipeline, place: Local, clock: Clock, bus: EventBus) -> None:
        self.pipeline = pipeline
        self.bus = bus
        self._place = place
        self._clock = clock
        self.began = clock.monotonic()
        self.run_id = _run_id(pipeline.name, clock)
        self._meter = Meter(FREE)
        self._wishes = {stage.name: stage.workers for stage in pipeline.stages}
        self._parts: _Parts | None = None
        self.ending = "parked"  # what a cancellation means

    @property
    def cost(self) -> Cost:
        """What was spent until now."""
        return self._meter.cost(self._clock.monotonic())

    @property
    def workers(self) -> tuple[WorkerView, ...]:
        """Every worker that there may be now, evaluators included (their stage's name ends in ``.eval``)."""
        if self._parts is None:
            return ()
        now = self._clock.monotonic()
        return tuple(_view(now, *one) for one in self._parts.scheduler.workers)

    async def scale(self, stage: str, workers: int) -> None:
        """Wish for ``workers`` workers of a stage, now or when it begins; the pool follows."""
        checks.one_of("stage", stage, tuple(self._wishes))
        checks.integer("workers", workers, 0, 10_000)
        self._wishes[stage] = workers
        self.bus.publish(events.WorkersScaled(at=self._at, stage=stage, workers=workers))
        if self._parts is not None and stage in self._parts.scheduler.counts:
            await self._parts.crew.scheduler.ask(Scale(stage, workers))

    async def drive(self) -> Result:
        """Run the pipeline; whatever happens, nothing of it is left running when this returns."""
        async with AsyncExitStack() as stack:
            store = open_store(self._place.url)
            stack.push_async_callback(store.close)
            async with Kernel(self._clock) as kernel:
                first = self.pipeline.prepare
                work = await inspect(kernel, first, self.pipeline.data, f"runs/{self.run_id}/{first.name}/")
            await self._announce(store)
            try:
                outcome = await self._on_ground(store, work)
            except BaseException as error:
                await self._record(store, _ending(error, self.ending), str(error), {})
                raise
            await self._record(store, "done", "", outcome.metrics)
        history = tuple(one for one in self.bus.history if isinstance(one, events.LossReported))
        return Result(self.run_id, outcome.metrics, self.cost, history, outcome.model)

    def finished(self, outcome: str, reason: str) -> None:
        """Say the last word on the bus."""
        self.bus.publish(
            events.RunFinished(at=self._at, outcome=outcome, reason=reason, dollars=self.cost.dollars)
        )
        self.bus.close()

    async def _on_ground(self, store: ObjectStore, work: PrepareWork) -> _Outcome:
        async with AsyncExitStack() as stack:
            session = await stack.enter_async_context(ClientSession())
            processes = Processes()
            stack.push_async_callback(processes.close, GRACE)
            invoker = LocalInvoker(WORKER, self._clock, GRACE)
            stack.push_async_callback(invoker.close)
            return await self._build(_Ground(store, session, processes, invoker), work)

    async def _record(
        self, store: ObjectStore, outcome: str, reason: str, metrics: Mapping[str, Mapping[str, float]]
    ) -> None:
        """Keep how the run ended, for ``cirrus ls``."""
        document = {
            "outcome": outcome, "reason": reason, "finished": self._clock.wall(), "metrics": metrics,
            "cost": asdict(self.cost),
        }
        await store.put(f"runs/{self.run_id}/result.json", json.dumps(document).encode())

    async def _announce(self, store: ObjectStore) -> None:
        """Take the run's id in the store; another one where somebody has it."""
        while True:
            document = {
                "run_id": self.run_id, "name": self.pipeline.name, "started": self._clock.wall(),
                "stages": [stage.name for stage in self.pipeline.stages], "data": self.pipeline.data.path,
            }
            try:
                await store.put_if_absent(f"runs/{self.run_id}/run.json", json.dumps(document).encode())
            except Conflict:
                self.run_id = _run_id(self.pipeline.name, self._clock)
            else:
                break
        self.bus.publish(events.RunStarted(at=self._at, run_id=self.run_id, store=self._place.url))

    async def _build(self, ground: _Ground, work: PrepareWork) -> _Outcome:
        """Bring up shards and actors, and take the stages through their courses."""
        key = secrets.token_bytes(32)
        async with Kernel(self._clock) as kernel:
            kernel.task(ground.invoker.watch(), name="invoker.watch")
            kernel.task(self._watch_budget(), name="budget")
            count = max((stage.shards for stage in self.pipeline.trains), default=1)
            fleet = Fleet(kernel, ground.processes, SHARD, Plan(self.run_id, 1, key, count, ground.store.url))
            hosts = await fleet.start()
            urls = tuple(host.url for host in hosts)
            token = self._driver_token(key)
            site = Site(self.run_id, 1, key, urls, ground.store.url, self.began)
            scheduler = Scheduler(kernel, site, ground.invoker, self.bus, self._meter)
            ref = kernel.spawn(scheduler, name="scheduler", capacity=100_000)

            async def hear(message: ToDriver) -> None:
                await ref.send(Word(message))

            async def back(number: int) -> None:
                await ref.send(ShardBack(number))

            address = Address(urls[0], token)
            orders = kernel.spawn(Orders(kernel, ground.session, address, hear), name="orders", capacity=100_000)
            scheduler.connect(orders)
            for host in hosts:
                self.bus.publish(
                    events.ShardStarted(at=self._at, shard=host.number, address=host.url, pid=host.child.pid)
                )
                fleet.keep(host, self.bus, back, self.began)
            calls = ShardCalls(ground.session, self._clock, urls, token)
            crew = Crew(self.run_id, self.began, kernel, ground.store, self.bus, ref, calls)
            self._parts = _Parts(kernel, crew, scheduler)
            outcome = await self._stages(crew, work)
        await calls.stop()  # after the block, in which the end of a shard would be a failure
        return outcome

    async def _stages(self, crew: Crew, work: PrepareWork) -> _Outcome:
        outcome = _Outcome()
        began = self._clock.monotonic()
        work = replace(work, prepare=replace(work.prepare, workers=self._wishes[work.prepare.name]))
        manifest, dataset = await prepare(crew, work)
        outcome.metrics[work.prepare.name] = _figures(dataset, self._clock.monotonic() - began)
        for number, stage in enumerate(self.pipeline.trains, 1):
            job = Job(replace(stage, workers=self._wishes[stage.name]), number, manifest, dataset)
            learnt = await train(crew, job)
            outcome.metrics[stage.name] = learnt.metrics
            outcome.model = await self._keep_model(crew, job, learnt)
        return outcome

    async def _keep_model(self, crew: Crew, job: Job, learnt: Learnt) -> Model:
        weights = await assemble(crew.kernel, crew.store, learnt.snapshots, learnt.tables)
        encoder = Encoder.from_json(job.dataset.encoder)
        model = Model(job.stage.model, encoder, weights, learnt.metrics)
        await crew.store.put(crew.key(job.stage.name, "model.safetensors"), await crew.kernel.blocking(model.to_bytes))
        return model

    async def _watch_budget(self) -> None:
        budget = self.pipeline.budget
        while True:
            await self._clock.sleep(LOOK)
            spent, minutes = self.cost.dollars, self._at / 60.0
            if budget.dollars is not None and spent > budget.dollars:
                raise BudgetExceeded("dollars", spent, budget.dollars)
            if budget.minutes is not None and minutes > budget.minutes:
                raise BudgetExceeded("minutes", minutes, budget.minutes)

    def _driver_token(self, key: bytes) -> str:
        claims = Claims(
            run=self.run_id, epoch=1, role="driver", pool="", slot=0, attempt=0, expiry=self._clock.wall() + FOREVER
        )
        return issue(key, claims)

    @property
    def _at(self) -> float:
        return self._clock.monotonic() - self.began


def _ending(error: BaseException, cancelled: str) -> str:
    return cancelled if isinstance(error, asyncio.CancelledError) else "failed"


def _run_id(name: str, clock: Clock) -> str:
    day = datetime.fromtimestamp(clock.wall(), UTC).strftime("%Y%m%d")
    return f"{name}-{day}-{secrets.token_hex(2)}"


def _view(now: float, worker: WorkerId, state: str, since: float) -> WorkerView:
    return WorkerView(worker.pool, worker.slot, worker.attempt, state, now - since)


def _figures(dataset: DataSet, seconds: float) -> dict[str, float]:
    return {
        "rows_in": float(dataset.rows_in),
        "skipped": float(dataset.skipped),
        "train": float(sum(block.rows for block in dataset.train)),
        "test": float(sum(block.rows for block in dataset.test)),
        "features": float(dataset.features),
        "seconds": seconds,
    }
