"""The course of a training stage: tables on the shards, workers on units, evaluations, and the model at its end."""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import Iterable
from contextlib import aclosing
from dataclasses import dataclass, replace
from typing import assert_never

from cirrus import events
from cirrus.actors.crew import LEASE_SECONDS, Crew, ear, heard
from cirrus.actors.kernel import Task
from cirrus.actors.mailbox import Mailbox
from cirrus.actors.scheduler import Close, Failed, Heard, Open, ShardBack, Steer, TimePasses
from cirrus.actors.work import TRAIN_WORK, TrainWork, kernel_of
from cirrus.core import course
from cirrus.core.ids import EVALUATOR
from cirrus.core.messages import Allow, OpenPool, Pulse, Reopen, UnitDone
from cirrus.errors import OutsideError
from cirrus.learn.base import TableSpec
from cirrus.learn.schedule import block_order, steps_in
from cirrus.pipeline import Train
from cirrus.store.datasets import DataSet

LINE = 1 << 32  # units of one stage in the shards' ledgers
RECENT = 8  # pulses over which the training loss is a mean
TELL = 0.25  # seconds between two reports of progress


@dataclass(frozen=True, slots=True)
class Learnt:
    """What a training stage has come to: the tables' names on the shards, figures, and the shards' snapshots."""

    tables: dict[str, str]
    metrics: dict[str, float]
    snapshots: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Job:
    """A training stage's place in its run; ``reached``: the steps that an earlier driver has seen done."""

    stage: Train
    number: int
    manifest: str
    dataset: DataSet
    reached: int = 0


async def train(crew: Crew, job: Job) -> Learnt:
    """Run the stage until its condition is met, measure the model on every test row, and snapshot it."""
    began = crew.kernel.clock.monotonic()
    stage = job.stage
    crew.bus.publish(events.StageStarted(at=crew.at, stage=stage.name, workers=stage.workers))
    work = TrainWork(stage, job.manifest, job.number * LINE)
    specs = kernel_of(stage, job.dataset.features).tables()
    key = crew.key(stage.name, "work.json")
    await crew.store.put(key, TRAIN_WORK.to_json(work).encode())
    training = _Training(crew, job, key, began)
    await training.open([replace(spec, name=work.table(spec.name)) for spec in specs])
    snapshots = await training.learn()
    metrics = await training.finish()
    crew.bus.publish(events.StageFinished(at=crew.at, stage=stage.name, seconds=training.seconds))
    return Learnt({spec.name: work.table(spec.name) for spec in specs}, metrics, snapshots)


class _Training:
    """What is known of the stage while it goes on; which units count is decided in ``cirrus.core.course``."""

    def __init__(self, crew: Crew, job: Job, key: str, began: float) -> None:
        self._crew = crew
        self._stage = job.stage
        self._key = key
        self._began = began
        self._line = job.number
        self._reached = job.reached
        self._tables: list[TableSpec] = []
        self._sizes = [block.rows for block in job.dataset.train]
        self._blocks = len(self._sizes)
        self._tested = bool(job.dataset.test)
        self._mailbox: Mailbox[Heard] = ear()
        self._course = course.Course(job.stage.name, self._blocks, job.stage.until, self._size_of, began)
        self._orders: dict[int, list[int]] = {}
        self._samples = 0
        self._before = 0  # samples that earlier drivers' workers learnt from
        self._steps = 0
        self._restored = 0  # steps that the shards began with
        self._done = 0  # steps: what the shards had when they were last asked, and what workers did since
        self._recent: deque[tuple[float, int]] = deque(maxlen=RECENT)
        self._asked = 0  # evaluations that were asked for
        self._asked_at = began
        self._asked_samples = 0
        self._measured = 0  # evaluations that are finished
        self._told = 0.0
        self._loss: events.LossReported | None = None

    @property
    def seconds(self) -> float:
        """Since the stage began."""
        return self._crew.kernel.clock.monotonic() - self._began

    @property
    def _evaluator(self) -> str:
        return self._stage.name + EVALUATOR

    async def open(self, tables: list[TableSpec]) -> None:
        """Make the tables, and begin the pools of training workers and, where there are test rows, of an evaluator."""
        stage = self._stage
        self._tables = tables
        await self._crew.shards.create(tables)
        ledgers = await self._crew.shards.ledgers(self._line)
        self._course.handle(course.Begun(ledgers))
        self._done = self._restored = self._course.applied(ledgers)
        if self._restored or self._reached:
            self._resumed()
        epochs = stage.until.most_epochs()
        total = None if epochs is None else epochs * self._blocks
        first = 1 + max(ledger.highest for ledger in ledgers)
        pool = OpenPool(stage.name, self._key, total, stage.staleness, LEASE_SECONDS, first, self._course.units)
        await self._crew.scheduler.ask(
            Open(pool, stage.name, "train", stage.workers, stage.memory, stage.timeout, self._mailbox)
        )
        if self._tested:
            pool = OpenPool(self._evaluator, self._key, None, 1, LEASE_SECONDS)
            await self._crew.scheduler.ask(
                Open(pool, stage.name, "evaluate", 1, stage.memory, stage.timeout, self._mailbox)
            )
            await self._crew.scheduler.ask(Steer(Allow(self._evaluator, 0)))

    def _resumed(self) -> None:
        """The stage had begun; the shards have been restored with some steps of it, or none."""
        rows, steps = self._samples_learnt(), self._restored
        self._samples = self._before = rows
        self._crew.bus.publish(
            events.StageResumed(
                at=self._crew.at,
                stage=self._stage.name,
                units=self._course.units,
                rows=rows,
                steps=steps,
                again=max(0, self._reached - steps),
            )
        )

    async def learn(self) -> tuple[str, ...]:
        """Follow the pools until the stage's condition is met; the keys of the snapshots that hold the model."""
        saving = self._crew.kernel.task(self._save_regularly(), name=f"{self._stage.name}.snapshots")
        async with aclosing(heard(self._mailbox)) as messages:
            async for message in messages:
                keys = await self._act(self._take(message), saving)
                if keys:
                    return keys
                await self._evaluate_in_time()
        raise AssertionError("what is heard never ends")

    async def _save_regularly(self) -> None:
        """Have the shards write a snapshot from time to time, for ever."""
        while True:
            await self._crew.kernel.clock.sleep(self._stage.snapshot)
            with contextlib.suppress(OutsideError):  # the next one will do; the last of the stage may not fail
                await self._crew.shards.snapshot(self._line)

    async def _act(self, commands: Iterable[course.CourseCommand], saving: Task[None]) -> tuple[str, ...]:
        """Carry out what the course asks for; the keys of the snapshots at its end.

        Snapshots are numbered and few are kept: once the last are written there are no regular ones, which would take
        their place while workers are waited for.
        """
        todo = deque(commands)
        while todo:
            match todo.popleft():
                case course.Inquire():
                    await self._crew.shards.create(self._tables)  # it may have died before its first snapshot
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
                        events.UnitsReopened(at=self._crew.at, stage=self._stage.name, units=units, steps=steps)
                    )
                case course.Close():
                    self._tell_progress()
                    await saving.cancel()
                    await self._crew.scheduler.ask(Close(self._stage.name))
                case course.End(keys):
                    return keys
                case other:
                    assert_never(other)
        return ()

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
            "samples": float(self._samples_learnt()),
            "steps": float(self._restored + self._steps),
            "seconds": seconds,
            "samples_per_second": (self._samples_learnt() - self._before) / max(seconds, 1e-9),
            "train_loss": self._train_loss(),
        }
        if self._tested:
            await self._measure_final()
            await self._crew.scheduler.ask(Close(self._evaluator))
            assert self._loss is not None
            metrics |= {"log_loss": self._loss.loss, "auc": self._loss.auc, "accuracy": self._loss.accuracy}
        return metrics

    def _take(self, message: Heard) -> tuple[course.CourseCommand, ...]:
        now = self._now
        match message:
            case TimePasses():
                return self._course.handle(course.Tick(now))
            case ShardBack():
                return self._course.handle(course.ShardBack(now))
            case Failed():
                raise message.error
            case Pulse(pool, samples, steps, loss) if pool == self._stage.name:
                self._samples += samples
                self._steps += steps
                self._done += steps
                if samples:
                    self._recent.append((loss, samples))
                if self._crew.at - self._told >= TELL:
                    self._tell_progress()
            case UnitDone(pool=pool, figures=figures) if pool == self._evaluator:
                self._report(figures, final=False)
                return self._course.handle(course.Evaluated(now, figures["loss"]))
            case _:
                pass
        return self._course.handle(course.Heard(now, message))

    def _tell_progress(self) -> None:
        self._told = self._crew.at
        epochs = self._stage.until.most_epochs()
        self._crew.bus.publish(
            events.StageProgress(
                at=self._told,
                stage=self._stage.name,
                done=self._course.units,
                total=0 if epochs is None else epochs * self._blocks,
                rows=self._samples_learnt(),
                steps=self._done,
            )
        )

    def _samples_learnt(self) -> int:
        """What the ledgers of finished units say, or the workers' beats where they are ahead of that."""
        return max(self._samples, self._course.reached(self._began).samples)

    def _train_loss(self) -> float:
        samples = sum(count for _, count in self._recent)
        return sum(loss for loss, _ in self._recent) / samples if samples else float("nan")

    async def _evaluate_in_time(self) -> None:
        """Ask for an evaluation where the last one is done, its time has come, and there is something new to see."""
        now = self._now
        due = now - self._asked_at >= self._stage.evaluate and self._samples > self._asked_samples
        if self._tested and due and self._measured == self._asked:
            await self._ask_evaluation(now)

    async def _ask_evaluation(self, now: float) -> None:
        self._asked += 1
        self._asked_at, self._asked_samples = now, self._samples
        await self._crew.scheduler.ask(Steer(Allow(self._evaluator, self._asked)))

    async def _measure_final(self) -> None:
        """One more evaluation, begun after the last step; one that is under way is waited for first."""
        async with aclosing(heard(self._mailbox)) as messages:
            if self._measured == self._asked:
                await self._ask_evaluation(self._now)
                last = self._asked
            else:
                last = self._asked + 1
            async for message in messages:
                if not isinstance(message, UnitDone) or message.pool != self._evaluator:
                    continue
                self._report(message.figures, final=self._measured + 1 == last)
                if self._measured == last:
                    return
                await self._ask_evaluation(self._now)

    def _report(self, figures: dict[str, float], *, final: bool) -> None:
        self._measured += 1
        self._loss = events.LossReported(
            at=self._crew.at,
            stage=self._stage.name,
            loss=figures["loss"],
            auc=figures["auc"],
            accuracy=figures["accuracy"],
            train_loss=self._train_loss(),
            samples=self._samples_learnt() if final else self._asked_samples,
            seconds=self.seconds,
            final=final,
        )
        self._crew.bus.publish(self._loss)
