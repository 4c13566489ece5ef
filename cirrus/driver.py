"""The driver of a run: builds its actors and processes, takes the stages through their courses, and ends everything.

The only place that builds actors in the user's process.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import sys
from collections.abc import Awaitable, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from cirrus import checks, events
from cirrus.actors.bus import EventBus
from cirrus.actors.crew import Crew
from cirrus.actors.event_log import EventLog
from cirrus.actors.fleet import Fleet
from cirrus.actors.inspection import inspect
from cirrus.actors.kernel import Kernel, undisturbed
from cirrus.actors.orders import Address, Orders
from cirrus.actors.outside_orders import KillOrder, Order, OrderBox, ScaleOrder, heed
from cirrus.actors.quarters import Quarters
from cirrus.actors.records import Metrics, Past, Records, read_run, same_input
from cirrus.actors.resources import report
from cirrus.actors.scheduler import Abandon, Scale, Scheduler, ShardBack, Site, Word
from cirrus.actors.seats import Machine
from cirrus.actors.shards import Plan, ShardCalls
from cirrus.actors.trials import Trials
from cirrus.actors.work import PrepareWork
from cirrus.clock import Clock
from cirrus.cloud.base import Invoker, Place
from cirrus.cloud.processes import Processes
from cirrus.core.cost import FREE, Cost, CostPart, Meter
from cirrus.core.ids import WorkerId
from cirrus.core.messages import ToDriver
from cirrus.core.terms import Terms
from cirrus.core.views import WorkerView
from cirrus.errors import BudgetExceeded, Closed, Conflict, Killed, OutsideError, PipelineError, RunBusy
from cirrus.pipeline import Budget, Pipeline
from cirrus.results import Result
from cirrus.stages import Outcome, Steering, Task, through
from cirrus.store.base import ObjectStore
from cirrus.store.counted import Counted
from cirrus.store.fields import JSON
from cirrus.tenure import Tenure, ending
from cirrus.wire.tokens import Claims, issue

WORKER = (sys.executable, "-m", "cirrus.actors.worker_process")
SHARD = (sys.executable, "-m", "cirrus.actors.host")
FOREVER = 30 * 86_400.0
GRACE = 5.0  # seconds in which workers and shards may end by themselves
LOOK = 0.2  # seconds between two looks at the budget


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
    quarters: Quarters
    invoker: Invoker


class Driver:
    """One run from its first look at the input to its last process's end.

    ``pipeline`` is a new run's, or the id of a run of the store that is to go on, within ``budget`` if that is given.
    """

    def __init__(
        self, pipeline: Pipeline | str, place: Place, clock: Clock, bus: EventBus, budget: Budget | None = None
    ) -> None:
        self.bus = bus
        self._given = pipeline
        self._budget = budget
        self._place = place
        self._clock = clock
        self.began = clock.monotonic()
        self.run_id = pipeline if isinstance(pipeline, str) else _run_id(pipeline.name, clock)
        self._meter = Meter(FREE)
        self._terms = Terms()
        stages = () if isinstance(pipeline, str) else pipeline.planned
        self._wishes = {stage.name: stage.workers for stage in stages}
        self._scaled: dict[str, int] = {}  # the decision behind each wish that was heard while the run went on
        self._trials = Trials()
        self._tenure = Tenure(clock, lambda: self.cost)
        self._parts: _Parts | None = None
        self._over = False
        self._log: EventLog | None = None
        self._last: events.RunFinished | None = None
        self._ending = "parked", "its task was cancelled"  # what a cancellation means, and why it is

    @property
    def stages(self) -> tuple[str, ...]:
        """The names of the pipeline's stages; of a run that goes on, empty until its record was read."""
        return tuple(self._wishes)

    @property
    def cost(self) -> Cost:
        """What was spent until now, under earlier drivers as well."""
        now = self._meter.cost(self._clock.monotonic())
        before = self._tenure.spent
        return replace(
            now,
            dollars=now.dollars + before.dollars,
            worker_seconds=now.worker_seconds + before.worker_seconds,
            parts=(*now.parts, *((CostPart("", "earlier", before.dollars),) if before.dollars else ())),
        )

    @property
    def workers(self) -> tuple[WorkerView, ...]:
        """Every worker that there may be now, evaluators included (their stage's name ends in ``.eval``)."""
        if self._parts is None:
            return ()
        now = self._clock.monotonic()
        return tuple(_view(now, *one) for one in self._parts.scheduler.workers)

    async def scale(self, stage: str, workers: int, order: str = "") -> None:
        """Wish for ``workers`` workers of a stage, now or when it begins; the pool follows, unless the run is over.

        ``order`` names the order from outside that says so.
        """
        checks.one_of("stage", stage, self.stages)
        checks.integer("workers", workers, 0, 10_000)
        if self._over:
            return
        self._check_room(stage, workers)
        number = await self._decide("scaled", {"stage": stage, "workers": workers}, order)
        if number < self._scaled.get(stage, 0):
            return  # a wish that was written down later has been heard already
        self._scaled[stage] = number
        self._wishes[stage] = workers
        self.bus.publish(events.WorkersScaled(at=self._at, stage=stage, workers=workers))
        if self._parts is not None:
            with contextlib.suppress(Closed):  # it is ending
                await self._parts.crew.scheduler.ask(Scale(stage, workers))

    def _check_room(self, stage: str, workers: int) -> None:
        """``PipelineError`` where the provider cannot have so many workers at a time, and one that evaluates."""
        room = self._terms.workers
        if room is not None and workers + 1 > room:
            allowed = f"at most {max(room - 1, 0)}: {room} may run at a time here, one of which evaluates"
            raise PipelineError(f"{stage}.workers", workers, allowed)

    async def kill(self, reason: str) -> None:
        """Write down that the run is killed; the caller then cancels it."""
        self._ending = "killed", reason
        await self._tenure.settled()
        await self._decide("killed", {"reason": reason})

    async def kill_trial(self, trial: int, reason: str, order: str = "") -> None:
        """End one trial of the stage that tunes now; it does not come back, and its workers go to the others.

        ``PipelineError`` where there is no such trial, or it has ended otherwise.
        """
        checks.integer("trial", trial, 0, 2**31)
        if self._trials.is_killed(trial):
            return
        fields: dict[str, JSON] = {"stage": self._trials.stage, "trial": trial, "outcome": "killed", "reason": reason}
        await self._decide("trial_over", fields, order)
        self._trials.end(trial, Abandon("killed", reason))

    async def _obey(self, name: str, order: Order) -> None:
        """Do what somebody orders from outside; ``Killed`` once it is written down that the run is to end."""
        match order:
            case ScaleOrder(stage, workers):
                await self.scale(stage, workers, name)
            case KillOrder(trial=int(trial), reason=reason):
                await self.kill_trial(trial, reason, name)
            case KillOrder(stage, reason):
                if stage is not None:
                    checks.one_of("stage", stage, self.stages)
                await self._decide("killed", {"reason": reason}, name)
                raise Killed(f"run {self.run_id!r}" if stage is None else f"stage {stage!r}", reason)

    async def _decide(self, kind: str, fields: Mapping[str, JSON], order: str = "") -> int:
        """Make what somebody wants durable; where another driver turns out to have the run, this one ends at once."""
        try:
            return await self._tenure.decide(kind, {**fields, "order": order} if order else fields)
        except RunBusy as error:
            if self._parts is not None:
                with contextlib.suppress(Closed):  # it is ending
                    self._parts.kernel.task(_fail(error), name="another driver")
            raise

    async def drive(self) -> Result:
        """Run the pipeline; whatever happens, nothing of it is left running when this returns."""
        async with AsyncExitStack() as stack:
            store = Counted(self._place.open(), lambda gets, puts: self._meter.stored("", gets, puts))
            stack.push_async_callback(lambda: undisturbed(store.close()))
            try:
                task = await self._begin(store)
                epoch = task.records.epoch
                started = events.RunStarted(at=self._at, run_id=self.run_id, store=self._place.url, epoch=epoch)
                self.bus.publish(started)
                try:
                    outcome = await self._on_ground(store, task)
                finally:
                    self._over = True
            except BaseException as error:
                with contextlib.suppress(OutsideError, RunBusy):  # the error itself is what is to be heard
                    await undisturbed(self._close(*self._ended(error), {}))
                raise
            await self._close("done", "", outcome.metrics)
        history = tuple(one for one in self.bus.history if isinstance(one, events.LossReported))
        return Result(self.run_id, outcome.metrics, self.cost, history, outcome.model, tuple(outcome.trials))

    def finished(self, outcome: str, reason: str) -> None:
        """Say the last word on the bus; nobody works here any more."""
        self._parts = None
        if self._last is None or self._last.outcome != outcome:
            self._last = self._finish(outcome, reason)
        self.bus.publish(self._last)
        self.bus.close()

    def failed(self, error: Exception) -> None:
        """Say what ended the run early."""
        self.finished(*self._ended(error))

    async def _close(self, outcome: str, reason: str, metrics: Mapping[str, Metrics]) -> None:
        """Write down how the run ended, in its log as well, and let go of it, if it was ever held."""
        self._last = self._finish(outcome, reason)
        if self._log is not None:
            with contextlib.suppress(OutsideError):  # the log is for those who look on
                await self._log.close(self._last)
        await self._tenure.close(outcome, reason, metrics)

    def _finish(self, outcome: str, reason: str) -> events.RunFinished:
        return events.RunFinished(at=self._at, outcome=outcome, reason=reason, dollars=self.cost.dollars)

    def _ended(self, error: BaseException) -> tuple[str, str]:
        """The outcome of a run that ended so, and the reason."""
        cancelled, why = self._ending
        match error:
            case asyncio.CancelledError():
                return cancelled, why
            case Killed(reason=reason):
                return ending(error, cancelled), reason
            case _:
                return ending(error, cancelled), str(error)

    async def _begin(self, store: ObjectStore) -> Task:
        """Look at the input, and take the run: a new one, or one that goes on."""
        if isinstance(self._given, str):
            return await self._take_up(store, self._given)
        pipeline = self._given
        while True:
            work = await self._inspect(pipeline, 1)
            try:
                records = await self._hold(store, Records.create(store, self.run_id, pipeline, work, self._clock))
            except Conflict:
                self.run_id = _run_id(pipeline.name, self._clock)
            else:
                return Task(pipeline, records, Past(), work)

    async def _take_up(self, store: ObjectStore, run_id: str) -> Task:
        pipeline, before = await read_run(store, run_id)
        records = await self._hold(store, Records.take(store, run_id, self._clock))
        past = await records.past()
        self._wishes = {stage.name: stage.workers for stage in pipeline.planned} | past.wishes
        if past.killed:
            raise Killed(f"run {run_id!r}", past.killed)
        await OrderBox(store, run_id, past.orders).look(self._obey)  # what was ordered while nobody drove
        budget = await records.budgeted(past.budget or pipeline.budget, self._budget)
        work = None
        if not past.manifest:
            work = await self._inspect(pipeline, records.epoch)
            same_input(work, before)
        return Task(replace(pipeline, budget=budget), records, past, work)

    async def _hold(self, store: ObjectStore, holding: Awaitable[Records]) -> Records:
        records = await self._tenure.begin(holding)
        self._log = EventLog(store, self.run_id, records.epoch, self.bus)
        return records

    async def _inspect(self, pipeline: Pipeline, epoch: int) -> PrepareWork:
        """The first stage's work; what each driver has written stays apart from what others have."""
        output = f"runs/{self.run_id}/{pipeline.prepare.name}/{epoch}/"
        async with Kernel(self._clock) as kernel:
            return await inspect(kernel, pipeline.prepare, pipeline.data, output)

    async def _on_ground(self, store: ObjectStore, task: Task) -> Outcome:
        async with AsyncExitStack() as stack:
            processes = Processes()
            stack.push_async_callback(lambda: undisturbed(processes.close(GRACE)))
            quarters = Quarters(self._place.shards, Machine(self._clock, processes, SHARD))
            stack.push_async_callback(lambda: undisturbed(quarters.close()))
            stack.callback(lambda: self._meter.settle(self._clock.monotonic(), known=self._terms.ends == "told"))
            invoker = self._place.invoker(WORKER, self._clock, GRACE)
            stack.push_async_callback(lambda: undisturbed(invoker.close()))
            self._terms = await invoker.terms()
            self._meter.charge(self._terms.price)
            if self._terms.asking:
                self._meter.unexpected("", self._terms.billed_memory(0), self._terms.asking)
            for stage, workers in self._wishes.items():
                self._check_room(stage, workers)
            return await self._build(_Ground(store, quarters, invoker), task)

    async def _build(self, ground: _Ground, task: Task) -> Outcome:
        """Bring up shards and actors, and take the stages through their courses."""
        key, epoch = secrets.token_bytes(32), task.records.epoch
        async with Kernel(self._clock) as kernel:
            kernel.task(ground.invoker.watch(), name="invoker.watch")
            kernel.task(self._watch_budget(task.pipeline.budget), name="budget")
            kernel.task(self._tenure.stay_alive(), name="holding")
            self._look_outside(kernel, ground.store, task.past)
            count = max((stage.shards for stage in task.pipeline.trains), default=1)
            plan = Plan(self.run_id, epoch, key, count, ground.store.url, restore=epoch > 1)
            seats = await ground.quarters.seats(plan, self._meter)
            fleet = Fleet(kernel, seats, self.bus, self.began)
            listening = await fleet.start()
            urls = self._place.reached(listening, "driver")
            token = self._driver_token(key, epoch)
            reached = self._place.reached(listening, "worker")
            site = Site(
                self.run_id, epoch, key, reached, ground.store.url, self.began,
                self._place.policy, self._terms, self._left_of(task), ground.quarters.ca,
            )  # fmt: skip
            scheduler = Scheduler(kernel, site, ground.invoker, self.bus, self._meter, self._tenure.cover)
            ref = kernel.spawn(scheduler, name="scheduler", capacity=100_000)

            async def hear(message: ToDriver) -> None:
                await ref.send(Word(message))

            async def back(number: int) -> None:
                await ref.send(ShardBack(number))

            address = Address(urls[0], token)
            session = ground.quarters.session
            orders = kernel.spawn(Orders(kernel, session, address, hear), name="orders", capacity=100_000)
            scheduler.connect(orders)
            fleet.keep(back)
            calls = ShardCalls(session, self._clock, urls, token)
            crew = Crew(self.run_id, self.began, kernel, ground.store, self.bus, ref, calls, self._meter)
            self._parts = _Parts(kernel, crew, scheduler)
            kernel.task(report(crew, scheduler, lambda: self.cost, task.pipeline.budget.dollars), name="resources")
            outcome = await through(crew, task, Steering(self._wishes, self._trials))
            await scheduler.hear_out(GRACE)
        await calls.stop()  # after the block, in which the end of a shard would be a failure
        return outcome

    def _look_outside(self, kernel: Kernel, store: ObjectStore, past: Past) -> None:
        """Write down what is said for those who look on, and hear what they order."""
        if self._log is not None:
            kernel.task(self._log.keep(self._clock), name="event log")
        box = OrderBox(store, self.run_id, past.orders)
        kernel.task(heed(box, self._obey, self._clock), name="orders from outside")

    async def _watch_budget(self, budget: Budget) -> None:
        while True:
            await self._clock.sleep(LOOK)
            spent, minutes = self.cost.dollars, self._at / 60.0
            is_stuck = self._parts is not None and self._parts.scheduler.is_stuck
            if budget.dollars is not None and (spent > budget.dollars or is_stuck):
                raise BudgetExceeded("dollars", spent, budget.dollars)
            if budget.minutes is not None and minutes > budget.minutes:
                raise BudgetExceeded("minutes", minutes, budget.minutes)

    def _left_of(self, task: Task) -> float | None:
        """Dollars of the budget that earlier drivers have left."""
        dollars = task.pipeline.budget.dollars
        return None if dollars is None else dollars - task.records.spent.dollars

    def _driver_token(self, key: bytes, epoch: int) -> str:
        claims = Claims(
            run=self.run_id, epoch=epoch, role="driver", pool="", slot=0, attempt=0,
            expiry=self._clock.wall() + FOREVER,
        )
        return issue(key, claims)

    @property
    def _at(self) -> float:
        return self._clock.monotonic() - self.began


async def _fail(error: Exception) -> None:
    raise error


def _run_id(name: str, clock: Clock) -> str:
    day = datetime.fromtimestamp(clock.wall(), UTC).strftime("%Y%m%d")
    return f"{name}-{day}-{secrets.token_hex(2)}"


def _view(now: float, worker: WorkerId, state: str, since: float) -> WorkerView:
    return WorkerView(worker.pool, worker.slot, worker.attempt, state, now - since)
