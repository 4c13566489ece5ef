"""What is known of a training stage, or of a trial, while it goes on: its tables, its pool, its evaluations."""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncGenerator, Callable, Iterable
from contextlib import aclosing
from dataclasses import dataclass, replace
from typing import Literal, assert_never

from cirrus import events
from cirrus.actors.crew import LEASE_SECONDS, Crew, ear, heard
from cirrus.actors.evaluator import Examiner
from cirrus.actors.kernel import Task
from cirrus.actors.mailbox import Mailbox
from cirrus.actors.scheduler import Abandon, Close, Failed, GoOn, Heard, Open, Scale, ShardBack, Steer, TimePasses, Told
from cirrus.actors.work import TRAIN_WORK, TrainWork, kernel_of, tables_of
from cirrus.core import course
from cirrus.core.ids import stage_of, trial_of
from cirrus.core.messages import Allow, OpenPool, Pulse, Reopen, UnitDone, WorkerLeft
from cirrus.learn.base import TableSpec
from cirrus.learn.schedule import block_order, steps_in
from cirrus.pipeline import Train
from cirrus.store.datasets import DataSet

LINE = 1 << 32  # units of one stage in the shards' ledgers
RECENT = 8  # pulses over which the training loss is a mean
TELL = 0.25  # seconds between two reports of progress


@dataclass(frozen=True, slots=True)
class Job:
    """A training stage's place in its run, or a trial's: ``name`` is its pool's, ``line`` that of its units in ledgers.

    ``reached``: the steps that an earlier driver has seen done. A trial stops at each of ``rungs``, numbers of finished
    units, to be compared with others.
    """

    stage: Train
    name: str
    line: int
    manifest: str
    dataset: DataSet
    reached: int = 0
    rungs: tuple[int, ...] = ()

    @property
    def work(self) -> TrainWork:
        """What its workers are to do."""
        return TrainWork(self.stage, self.name, self.manifest, self.line * LINE)


class Abandoned(Exception):
    """A trial ends before its time."""

    def __init__(self, outcome: events.TrialOutcome, reason: str) -> None:
        super().__init__(outcome, reason)
        self.outcome = outcome
        self.reason = reason


class Training:
    """What is known of a stage or trial while it goes on; which units count is decided in ``cirrus.core.course``.

    ``compared`` is told the rung and the loss where a trial stops to be compared with others; ``GoOn`` or ``Abandon``
    in its mailbox is the answer.
    """

    def __init__(
        self, crew: Crew, job: Job, mailbox: Mailbox[Heard] | None = None,
        compared: Callable[[int, float], None] = lambda _rung, _loss: None,
    ) -> None:  # fmt: skip
        self.mailbox: Mailbox[Heard] = ear() if mailbox is None else mailbox
        self.key = crew.key(job.name, "work.json")
        self._crew = crew
        self._job = job
        self._stage = job.stage
        self._name = job.name
        self._trial = trial_of(job.name)
        self._began = crew.kernel.clock.monotonic()
        self._line = job.line
        self._specs: list[TableSpec] = []
        self._examiner: Examiner | None = None
        self._compared = compared
        self._rungs = deque(job.rungs)
        self._rung: Literal["", "asked", "told"] = ""  # whether the next one is reached
        self._sizes = [block.rows for block in job.dataset.train]
        self._blocks = len(self._sizes)
        self._course = course.Course(job.name, self._blocks, job.stage.until, self._size_of, self._began)
        self._orders: dict[int, list[int]] = {}
        self._samples = 0
        self._before = 0  # samples that earlier drivers' workers learnt from
        self._steps = 0
        self._restored = 0  # steps that the shards began with
        self._done = 0  # steps: what the shards had when they were last asked, and what workers did since
        self._recent: deque[tuple[float, int]] = deque(maxlen=RECENT)
        self._asked = 0  # evaluations that were asked for
        self._asked_at = self._began
        self._asked_samples = 0
        self._measured = 0  # evaluations that are finished
        self._told = 0.0
        self.loss: events.LossReported | None = None

    @property
    def seconds(self) -> float:
        """Since the stage began."""
        return self._crew.kernel.clock.monotonic() - self._began

    @property
    def units(self) -> int:
        """How many units count."""
        return self._course.units

    @property
    def samples(self) -> int:
        """What the ledgers of finished units say, or the workers' beats where they are ahead of that."""
        return max(self._samples, self._course.reached(self._began).samples)

    @property
    def steps(self) -> int:
        """Steps that were done, of units that are not finished as well."""
        return self._done

    @property
    def tables(self) -> dict[str, str]:
        """The names of the kernel's tables, and their names on the shards."""
        return tables_of(self._stage, self._name, self._job.dataset.features)

    async def open(self, examiner: Examiner | None) -> None:
        """Make the tables, and begin the pool; ``examiner``: who measures the model, where there are test rows."""
        stage, work = self._stage, self._job.work
        self._examiner = examiner
        await self._tell_work()
        specs = kernel_of(stage, self._job.dataset.features).tables()
        self._specs = [replace(spec, name=work.table(spec.name)) for spec in specs]
        await self._crew.shards.create(self._specs)
        ledgers = await self._crew.shards.ledgers(self._line)
        self._course.handle(course.Begun(ledgers))
        self._done = self._restored = self._course.applied(ledgers)
        if self._restored or self._job.reached:
            self._resumed()
        epochs = stage.until.most_epochs()
        total = None if epochs is None else epochs * self._blocks
        first = 1 + max(ledger.highest for ledger in ledgers)
        pool = OpenPool(self._name, self.key, total, stage.staleness, LEASE_SECONDS, first, self._course.units)
        await self._crew.scheduler.ask(
            Open(pool, stage_of(self._name), "train", stage.workers, stage.memory, stage.timeout, self.mailbox)
        )
        await self._allow()

    async def share(self, workers: int) -> None:
        """Wish for so many workers of a trial; those that come from now on know how many learn beside them."""
        self._stage = replace(self._stage, workers=workers)
        await self._tell_work()
        await self._crew.scheduler.ask(Scale(self._name, workers))

    async def _tell_work(self) -> None:
        work = replace(self._job.work, train=self._stage)
        await self._crew.store.put(self.key, TRAIN_WORK.to_json(work).encode())

    async def _allow(self) -> None:
        """Let workers go as far as the next rung, if there is one."""
        if self._job.rungs:
            below = self._rungs[0] if self._rungs else LINE
            await self._crew.scheduler.ask(Steer(Allow(self._name, below)))

    def _resumed(self) -> None:
        """The stage had begun; the shards have been restored with some steps of it, or none."""
        rows, steps = self.samples, self._restored
        self._samples = self._before = rows
        self._crew.bus.publish(
            events.StageResumed(
                at=self._crew.at,
                stage=self._name,
                units=self._course.units,
                rows=rows,
                steps=steps,
                again=max(0, self._job.reached - steps),
            )
        )

    async def learn(self, saving: Task[None] | None = None) -> tuple[str, ...]:
        """Follow the pool until the condition is met; the keys of the snapshots that hold the model.

        ``saving`` writes snapshots for this stage alone. ``Abandoned`` where a trial ends before its time.
        """
        async with aclosing(self._hear()) as messages:
            async for message in messages:
                keys = await self._act(self._take(message), saving)
                if keys:
                    return keys
                await self._evaluate_in_time()
        raise AssertionError("what is heard never ends")

    async def leave(self) -> None:
        """Send the workers away, and wait until nobody looks at the model: its tables may be dropped then."""
        await self._crew.scheduler.ask(Close(self._name))
        while self._measured < self._asked:
            message = await self.mailbox.get()
            if isinstance(message, UnitDone) and self._is_measured(message):
                self._measured += 1

    async def _hear(self) -> AsyncGenerator[Told, None]:
        async with aclosing(heard(self.mailbox)) as messages:
            async for message in messages:
                match message:
                    case Abandon(outcome, reason):
                        raise Abandoned(outcome, reason)
                    case WorkerLeft(kind="diverged", detail=detail) if self._trial is not None:
                        raise Abandoned("diverged", detail)
                    case GoOn():
                        self._rungs.popleft()
                        self._rung = ""
                        await self._allow()
                    case _:
                        yield message

    async def _act(self, commands: Iterable[course.CourseCommand], saving: Task[None] | None) -> tuple[str, ...]:
        """Carry out what the course asks for; the keys of the snapshots at its end.

        Snapshots are numbered and few are kept: once the last are written there are no regular ones, which would take
        their place while workers are waited for.
        """
        todo = deque(commands)
        while todo:
            match todo.popleft():
                case course.Inquire():
                    await self._crew.shards.create(self._specs)  # it may have died before its first snapshot
                    ledgers = await self._crew.shards.ledgers(self._line)
                    self._done = self._course.applied(ledgers)
                    todo += self._course.handle(course.Applied(self._now, ledgers))
                case course.Save():
                    saved = await self._crew.shards.snapshot(self._line)
                    keys = tuple(one.key for one in saved)
                    todo += self._course.handle(course.Saved(self._now, keys, [one.ledger for one in saved]))
                case Reopen() as message:
                    await self._crew.scheduler.ask(Steer(message))
                case course.Lost(units, steps):
                    self._crew.bus.publish(
                        events.UnitsReopened(at=self._crew.at, stage=self._name, units=units, steps=steps)
                    )
                case course.Close():
                    await self._close(saving)
                case course.End(keys):
                    return keys
                case other:
                    assert_never(other)
        return ()

    async def _close(self, saving: Task[None] | None) -> None:
        self._tell_progress()
        if saving is not None:
            await saving.cancel()
        await self._crew.scheduler.ask(Close(self._name))

    def _size_of(self, unit: int) -> course.Size:
        epoch, position = divmod(unit, self._blocks)
        if epoch not in self._orders:
            self._orders[epoch] = block_order(self._stage.seed, epoch, self._blocks).tolist()
        rows = self._sizes[self._orders[epoch][position]]
        return course.Size(rows, steps_in(rows, self._stage.minibatch))

    @property
    def _now(self) -> float:
        return self._crew.kernel.clock.monotonic()

    async def finish(self) -> dict[str, float]:
        """Measure the finished model on every test row; the stage's figures."""
        seconds = self.seconds
        metrics = {
            "samples": float(self.samples),
            "steps": float(self._restored + self._steps),
            "seconds": seconds,
            "samples_per_second": (self.samples - self._before) / max(seconds, 1e-9),
            "train_loss": self._train_loss(),
        }
        if self._examiner is not None:
            await self._measure_final()
            assert self.loss is not None
            metrics |= {"log_loss": self.loss.loss, "auc": self.loss.auc, "accuracy": self.loss.accuracy}
        return metrics

    def _take(self, message: Told) -> tuple[course.CourseCommand, ...]:
        now = self._now
        match message:
            case TimePasses():
                return self._course.handle(course.Tick(now))
            case ShardBack():
                return self._course.handle(course.ShardBack(now))
            case Failed():
                raise message.error
            case Pulse(pool=pool) if pool == self._name:
                self._pulsed(message)
            case UnitDone(figures=figures) if self._is_measured(message):
                self._report(figures, final=False)
                return self._course.handle(course.Evaluated(now, figures["loss"]))
            case _:
                pass
        return self._course.handle(course.Heard(now, message))

    def _pulsed(self, pulse: Pulse) -> None:
        self._samples += pulse.samples
        self._steps += pulse.steps
        self._done += pulse.steps
        if pulse.samples:
            self._recent.append((pulse.loss, pulse.samples))
        if self._crew.at - self._told >= TELL:
            self._tell_progress()

    def _is_measured(self, message: UnitDone) -> bool:
        return self._examiner is not None and message.pool == self._examiner.pool

    def _tell_progress(self) -> None:
        self._told = self._crew.at
        if self._trial is not None:
            return  # the stage tells of all its trials
        epochs = self._stage.until.most_epochs()
        self._crew.bus.publish(
            events.StageProgress(
                at=self._told,
                stage=self._name,
                done=self._course.units,
                total=0 if epochs is None else epochs * self._blocks,
                rows=self.samples,
                steps=self._done,
            )
        )

    def _train_loss(self) -> float:
        samples = sum(count for _, count in self._recent)
        return sum(loss for loss, _ in self._recent) / samples if samples else float("nan")

    async def _evaluate_in_time(self) -> None:
        """Ask for an evaluation where the last one is done, its time has come, and there is something new to see."""
        now = self._now
        if self._examiner is None or self._measured < self._asked:
            return
        if self._rungs and not self._rung and self._course.units >= self._rungs[0]:
            self._rung = "asked"
            await self._ask_evaluation(now)
        elif now - self._asked_at >= self._stage.evaluate and self._samples > self._asked_samples:
            await self._ask_evaluation(now)

    async def _ask_evaluation(self, now: float) -> None:
        assert self._examiner is not None
        self._asked += 1
        self._asked_at, self._asked_samples = now, self._samples
        await self._examiner.ask()

    async def _measure_final(self) -> None:
        """One more evaluation, begun after the last step; one that is under way is waited for first."""
        async with aclosing(self._hear()) as messages:
            if self._measured == self._asked:
                await self._ask_evaluation(self._now)
                last = self._asked
            else:
                last = self._asked + 1
            async for message in messages:
                if not isinstance(message, UnitDone) or not self._is_measured(message):
                    continue
                self._report(message.figures, final=self._measured + 1 == last)
                if self._measured == last:
                    return
                await self._ask_evaluation(self._now)

    def _report(self, figures: dict[str, float], *, final: bool) -> None:
        self._measured += 1
        stage = stage_of(self._name)
        self.loss = events.LossReported(
            at=self._crew.at,
            stage=stage,
            loss=figures["loss"],
            auc=figures["auc"],
            accuracy=figures["accuracy"],
            train_loss=self._train_loss(),
            samples=self.samples if final else self._asked_samples,
            seconds=self.seconds,
            final=final,
            trial=self._trial,
            dollars=self._crew.dollars(stage, self._trial),
        )
        self._crew.bus.publish(self.loss)
        if self._rung == "asked":
            self._rung = "told"
            self._compared(self._rungs[0], figures["loss"])
