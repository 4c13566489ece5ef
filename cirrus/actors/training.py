"""The course of a training stage: tables on the shards, workers on units, evaluations, and the model at its end."""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace

from cirrus import events
from cirrus.actors.crew import LEASE_SECONDS, Crew, ear, heard
from cirrus.actors.mailbox import Mailbox
from cirrus.actors.scheduler import Close, Heard, Open, ShardBack, Steer
from cirrus.actors.shards import Saved
from cirrus.actors.work import TRAIN_WORK, TrainWork, kernel_of
from cirrus.core.ids import EVALUATOR
from cirrus.core.ledger import Ledger
from cirrus.core.messages import Allow, OpenPool, PoolDone, Pulse, Reopen, UnitDone
from cirrus.core.progress import Progress
from cirrus.errors import OutsideError
from cirrus.learn.base import TableSpec
from cirrus.learn.schedule import block_order, steps_in
from cirrus.pipeline import Train
from cirrus.store.datasets import DataSet

LINE = 1 << 32  # units of one stage in the shards' ledgers
RECENT = 8  # pulses over which the training loss is a mean
MOST_UNITS = 500  # that are reopened in one message
TELL = 0.25  # seconds between two reports of progress


@dataclass(frozen=True, slots=True)
class Learnt:
    """What a training stage has come to: the tables' names on the shards, figures, and the shards' snapshots."""

    tables: dict[str, str]
    metrics: dict[str, float]
    snapshots: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Job:
    """A training stage's place in its run."""

    stage: Train
    number: int
    manifest: str
    dataset: DataSet


async def train(crew: Crew, job: Job) -> Learnt:
    """Run the stage until its condition is met, measure the model on every test row, and snapshot it."""
    began = crew.kernel.clock.monotonic()
    stage = job.stage
    crew.bus.publish(events.StageStarted(at=crew.at, stage=stage.name, workers=stage.workers))
    work = TrainWork(stage, job.manifest, job.number * LINE)
    specs = kernel_of(stage, job.dataset.features).tables()
    key = crew.key(stage.name, "work.json")
    await crew.store.put(key, TRAIN_WORK.to_json(work).encode())
    course = _Course(crew, job, key, began)
    await course.open([replace(spec, name=work.table(spec.name)) for spec in specs])
    saving = crew.kernel.task(course.save_regularly(), name=f"{stage.name}.snapshots")
    snapshots = await course.learn()
    await saving.cancel()
    metrics = await course.finish()
    crew.bus.publish(events.StageFinished(at=crew.at, stage=stage.name, seconds=course.seconds))
    return Learnt({spec.name: work.table(spec.name) for spec in specs}, metrics, snapshots)


class _Course:
    """What is known of the stage while it goes on."""

    def __init__(self, crew: Crew, job: Job, key: str, began: float) -> None:
        self._crew = crew
        self._stage = job.stage
        self._key = key
        self._began = began
        self._line = job.number
        self._tables: list[TableSpec] = []
        self._sizes = [block.rows for block in job.dataset.train]
        self._blocks = len(self._sizes)
        self._tested = bool(job.dataset.test)
        self._mailbox: Mailbox[Heard] = ear()
        self._progress = Progress(self._blocks, began)
        self._finished: set[int] = set()
        self._orders: dict[int, list[int]] = {}
        self._samples = 0
        self._before = 0  # samples that earlier drivers' workers learnt from
        self._steps = 0
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
        self._go_on(ledgers)
        epochs = stage.until.most_epochs()
        total = None if epochs is None else epochs * self._blocks
        first = 1 + max(ledger.highest for ledger in ledgers)
        pool = OpenPool(stage.name, self._key, total, stage.staleness, LEASE_SECONDS, first, len(self._finished))
        await self._crew.scheduler.ask(
            Open(pool, stage.name, "train", stage.workers, stage.memory, stage.timeout, self._mailbox)
        )
        if self._tested:
            pool = OpenPool(self._evaluator, self._key, None, 1, LEASE_SECONDS)
            await self._crew.scheduler.ask(
                Open(pool, stage.name, "evaluate", 1, stage.memory, stage.timeout, self._mailbox)
            )
            await self._crew.scheduler.ask(Steer(Allow(self._evaluator, 0)))

    def _go_on(self, ledgers: Sequence[Ledger]) -> None:
        """Count what shards that were restored have applied: the first units that are finished on all of them."""
        unit = 0
        while not self._missing(unit, ledgers):
            self._finished.add(unit)
            self._progress.finished(unit, self._rows_of(unit))
            unit += 1
        if unit:
            rows = self._samples = self._before = self._samples_learnt()
            self._crew.bus.publish(events.StageResumed(at=self._crew.at, stage=self._stage.name, units=unit, rows=rows))

    async def learn(self) -> tuple[str, ...]:
        """Follow the pools until the stage's condition is met; the keys of the snapshots that hold the model.

        Units that are all finished count when every shard has each of their steps in a snapshot.
        """
        saved: tuple[Saved, ...] = ()
        while not saved and not await self._follow():
            saved = await self._crew.shards.snapshot(self._line)
            if await self._reopen([one.ledger for one in saved]):
                saved = ()
        self._tell_progress()
        await self._crew.scheduler.ask(Close(self._stage.name))
        return tuple(one.key for one in saved or await self._crew.shards.snapshot(self._line))

    async def save_regularly(self) -> None:
        """Have the shards write a snapshot from time to time, for ever."""
        while True:
            await self._crew.kernel.clock.sleep(self._stage.snapshot)
            with contextlib.suppress(OutsideError):  # the next one will do; the last of the stage may not fail
                await self._crew.shards.snapshot(self._line)

    async def _follow(self) -> bool:
        """Take in what happens; True: the condition is met, False: all units are finished."""
        async with aclosing(heard(self._mailbox)) as messages:
            async for message in messages:
                self._take(message)
                if self._met():
                    return True
                if isinstance(message, PoolDone) and message.pool == self._stage.name:
                    return False
                if isinstance(message, ShardBack):
                    await self._crew.shards.create(self._tables)  # it may have died before its first snapshot
                    await self._reopen(await self._crew.shards.ledgers(self._line))
                await self._evaluate_in_time()
        raise AssertionError("what is heard never ends")

    async def _reopen(self, ledgers: Sequence[Ledger]) -> bool:
        """Have finished units done again of which some shard lacks steps; whether there are any."""
        lost: dict[int, int] = {}
        for unit in self._finished:
            missing = self._missing(unit, ledgers)
            if missing:
                lost[unit] = missing
        for unit in lost:
            self._finished.remove(unit)
            self._progress.reopened(unit, self._rows_of(unit))
        units = sorted(lost)
        for start in range(0, len(units), MOST_UNITS):
            await self._crew.scheduler.ask(
                Steer(Reopen(self._stage.name, tuple(units[start : start + MOST_UNITS])))
            )
        if lost:
            self._crew.bus.publish(
                events.UnitsReopened(
                    at=self._crew.at, stage=self._stage.name, units=len(lost), steps=sum(lost.values())
                )
            )
        return bool(lost)

    def _missing(self, unit: int, ledgers: Sequence[Ledger]) -> int:
        """How many steps of a unit the shard lacks that has the fewest."""
        count = steps_in(self._rows_of(unit), self._stage.minibatch)
        return max(0, count - 1 - min(ledger.last(unit) for ledger in ledgers))

    def _rows_of(self, unit: int) -> int:
        epoch, position = divmod(unit, self._blocks)
        if epoch not in self._orders:
            self._orders[epoch] = block_order(self._stage.seed, epoch, self._blocks).tolist()
        return self._sizes[self._orders[epoch][position]]

    async def finish(self) -> dict[str, float]:
        """Measure the finished model on every test row; the stage's figures."""
        seconds = self.seconds
        metrics = {
            "samples": float(self._samples_learnt()),
            "steps": float(self._steps),
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

    def _met(self) -> bool:
        return self._stage.until.met(self._progress.reached(self._crew.kernel.clock.monotonic()))

    def _take(self, message: Heard) -> None:
        match message:
            case Pulse(pool, samples, steps, loss) if pool == self._stage.name:
                self._samples += samples
                self._steps += steps
                if samples:
                    self._recent.append((loss, samples))
                if self._crew.at - self._told >= TELL:
                    self._tell_progress()
            case UnitDone(pool=pool, unit=unit, rows=rows) if pool == self._stage.name:
                if unit not in self._finished:  # after a shard's death it may be reported again
                    self._finished.add(unit)
                    self._progress.finished(unit, rows)
            case UnitDone(pool=pool, figures=figures) if pool == self._evaluator:
                self._report(figures, final=False)
            case _:
                pass

    def _tell_progress(self) -> None:
        self._told = self._crew.at
        epochs = self._stage.until.most_epochs()
        self._crew.bus.publish(
            events.StageProgress(
                at=self._told,
                stage=self._stage.name,
                done=len(self._finished),
                total=0 if epochs is None else epochs * self._blocks,
                rows=self._samples_learnt(),
            )
        )

    def _samples_learnt(self) -> int:
        """What the ledgers of finished units say, or the workers' beats where they are ahead of that."""
        return max(self._samples, self._progress.reached(self._began).samples)

    def _train_loss(self) -> float:
        samples = sum(count for _, count in self._recent)
        return sum(loss for loss, _ in self._recent) / samples if samples else float("nan")

    async def _evaluate_in_time(self) -> None:
        """Ask for an evaluation where the last one is done, its time has come, and there is something new to see."""
        now = self._crew.kernel.clock.monotonic()
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
                await self._ask_evaluation(self._crew.kernel.clock.monotonic())
                last = self._asked
            else:
                last = self._asked + 1
            async for message in messages:
                if not isinstance(message, UnitDone) or message.pool != self._evaluator:
                    continue
                self._report(message.figures, final=self._measured + 1 == last)
                if self._measured == last:
                    return
                await self._ask_evaluation(self._crew.kernel.clock.monotonic())

    def _report(self, figures: dict[str, float], *, final: bool) -> None:
        self._measured += 1
        self._progress.evaluated(figures["loss"])
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
