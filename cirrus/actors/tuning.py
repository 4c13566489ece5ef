"""The course of a stage that tunes: trials side by side, each with its own tables and workers, compared as they go."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from cirrus import events
from cirrus.actors.crew import ROOM, Crew, ear
from cirrus.actors.evaluator import Evaluator
from cirrus.actors.learning import Abandoned, Job, Training
from cirrus.actors.mailbox import Mailbox
from cirrus.actors.records import TrialPast, finite
from cirrus.actors.scheduler import Abandon, Failed, GoOn, Heard, ShardBack, TimePasses
from cirrus.actors.training import Learnt, save_regularly
from cirrus.actors.trials import Tuned, TuneJob, Wheel, ended
from cirrus.actors.work import MEASURE_WORK, MeasureWork, tables_of
from cirrus.core.ids import trial_pool
from cirrus.core.judging import Judge, best
from cirrus.core.messages import Objection, UnitDone
from cirrus.core.views import Trial
from cirrus.errors import InputError, StageFailed
from cirrus.proposals import from_plain, proposals, said, settled, to_plain
from cirrus.search import Settings
from cirrus.store.fields import JSON

TELL = 0.25
PER_EVALUATOR = 8
"""Trials for which one worker measures."""

ASTRAY = Abandon("diverged", "the loss on the test rows is no number")


@dataclass(frozen=True, slots=True)
class _Examine:
    """A trial asks for an evaluation."""

    trial: int


@dataclass(frozen=True, slots=True)
class _Compare:
    """A trial waits at a rung, with that loss."""

    trial: int
    rung: int
    loss: float


@dataclass(frozen=True, slots=True)
class _Over:
    """A trial has ended, and its workers have left."""

    trial: int
    how: Abandon
    metrics: Mapping[str, float] = field(default_factory=dict)


_Word = _Examine | _Compare | _Over


@dataclass(frozen=True, slots=True)
class _Turn:
    """Where a trial asks for its turn to be measured."""

    pool: str
    trial: int
    mailbox: Mailbox[Heard | _Word]

    async def ask(self) -> None:
        self.mailbox.put_nowait(_Examine(self.trial))


@dataclass(slots=True)
class _Living:
    """A trial that goes on."""

    training: Training
    wish: int = -1


async def tune(crew: Crew, job: TuneJob, wheel: Wheel) -> Tuned:
    """Try settings until there are no more, and snapshot the best model; ``StageFailed`` where no trial has one."""
    tuning = _Tuning(crew, job, wheel)
    crew.bus.publish(events.StageStarted(at=crew.at, stage=job.stage.name, workers=wheel.wishes[job.stage.name]))
    evaluator = await tuning.open()
    saving = crew.kernel.task(save_regularly(crew, job.stage.train, job.line(0)), name=f"{job.stage.name}.snapshots")
    await tuning.follow(evaluator)
    await saving.cancel()
    await evaluator.close()
    tuned = await tuning.finish()
    crew.bus.publish(events.StageFinished(at=crew.at, stage=job.stage.name, seconds=tuning.seconds))
    return tuned


class _Tuning:
    """All decisions of the stage are made here, one after the other, as its mailbox has them."""

    def __init__(self, crew: Crew, job: TuneJob, wheel: Wheel) -> None:
        self._crew = crew
        self._job = job
        self._stage = job.stage
        self._wheel = wheel
        self._mailbox: Mailbox[Heard | _Word] = Mailbox(ROOM)
        self._blocks = len(job.dataset.train)
        epochs = job.stage.train.until.most_epochs()
        self._units = 0 if epochs is None else epochs * self._blocks
        self._judge = Judge(job.stage.prune, self._units)
        self._proposals = proposals(job.stage)
        self._living: dict[int, _Living] = {}
        self._waiting: list[int] = []  # trials of an earlier driver that are to go on
        self._ended: dict[int, Trial] = {}
        self._steps = 0  # of those that have ended
        self._settings: dict[int, Settings] = {}
        self._best: int | None = None
        self._next = 0
        self._more = True
        self._requests: list[int] = []  # the trial of each evaluation
        self._answered: set[int] = set()
        self._work = MeasureWork(job.manifest, crew.key(job.stage.name, "requests", ""))
        self._told = 0.0
        self._began = crew.kernel.clock.monotonic()

    @property
    def seconds(self) -> float:
        """Since the stage began."""
        return self._crew.kernel.clock.monotonic() - self._began

    async def open(self) -> Evaluator:
        """Take in what earlier drivers decided, and begin the pool of those who measure."""
        name = self._stage.name
        self._wheel.trials.enter(name)
        for number, past in sorted(self._job.past.items()):
            self._recall(number, past)
        key = self._crew.key(name, "measure.json")
        await self._crew.store.put(key, MEASURE_WORK.to_json(self._work).encode())
        evaluator = Evaluator(self._crew, self._stage.train, name, key, "measure")
        await evaluator.open(self._mailbox, max(1, self._stage.at_once // PER_EVALUATOR))
        await self._drop_all()
        return evaluator

    def _recall(self, number: int, past: TrialPast) -> None:
        self._next = max(self._next, number + 1)
        settings = self._settings[number] = from_plain(past.settings)
        self._proposals.recall(number, settings)
        for rung, loss in sorted(past.rungs.items()):
            self._judge.reported(number, self._judge.rungs.index(rung), loss)
        if not past.outcome:
            self._waiting.append(number)
            return
        self._proposals.tell(number, past.outcome, past.loss)
        self._judge.ended(number)
        self._ended[number] = ended(self._stage.name, number, past)
        self._best = self._found()

    async def follow(self, evaluator: Evaluator) -> None:
        """Begin trials and hear of them until all have ended and there are no more to begin."""
        await self._begin_more()
        while self._living or self._more or self._waiting:
            message = await self._mailbox.get()
            match message:
                case _Examine(trial):
                    await self._examine(evaluator, trial)
                case _Compare():
                    await self._compare(message)
                case _Over():
                    await self._over(message)
                    await self._begin_more()
                case UnitDone(pool=evaluator.pool, unit=unit):
                    if unit not in self._answered:  # after the death of shard 0 it may be done again
                        self._answered.add(unit)
                        self._living[self._requests[unit]].training.mailbox.put_nowait(message)
                case _:
                    await self._hear(message)

    async def _hear(self, message: Heard) -> None:
        """What is heard of the pool that measures; the end of that pool ends the stage."""
        match message:
            case Failed(error):
                raise error
            case Objection(_, name, problem, line, column):
                raise InputError(name, problem, line, column)
            case TimePasses():
                await self._begin_more()
                self._tell_progress()
            case ShardBack():
                await self._drop_all()
            case _:
                pass

    async def _begin_more(self) -> None:
        """Begin as many trials as may go on at the same time, and share the workers out anew."""
        most = min(self._stage.at_once, self._wheel.wishes[self._stage.name])
        while len(self._living) < most and (self._waiting or self._more):
            if self._waiting:
                number = self._waiting.pop(0)
                await self._begin(number)
                continue
            number = self._next
            settings = await self._crew.kernel.blocking(self._proposals.ask, number)
            if settings is None:
                self._more = False
                break
            self._next += 1
            decided: dict[str, JSON] = {"stage": self._stage.name, "trial": number, "settings": to_plain(settings)}
            await self._wheel.decide("trial", decided)
            self._settings[number] = settings
            await self._begin(number)
        await self._share()

    async def _begin(self, number: int) -> None:
        crew, stage, settings = self._crew, self._stage, self._settings[number]
        past = self._job.past.get(number, TrialPast())
        rungs = tuple(rung for rung in self._judge.rungs if rung not in past.rungs)
        train = replace(settled(stage.train, settings), workers=0)  # until its share is known
        job = Job(
            train, trial_pool(stage.name, number), self._job.line(number), self._job.manifest, self._job.dataset,
            rungs=rungs,
        )  # fmt: skip
        training = Training(crew, job, ear(), lambda rung, loss: self._say(_Compare(number, rung, loss)))
        self._living[number] = _Living(training)
        self._wheel.trials.began(number, training.mailbox)
        crew.bus.publish(events.TrialStarted(at=crew.at, stage=stage.name, trial=number, settings=said(settings)))
        crew.kernel.task(self._live(number, training), name=f"{stage.name} trial {number}")

    def _say(self, word: _Word) -> None:
        self._mailbox.put_nowait(word)

    async def _live(self, number: int, training: Training) -> None:
        """A trial from its beginning until its last worker has left."""
        over = _Over(number, Abandon("done", ""))
        try:
            await training.open(_Turn(f"{self._stage.name}.eval", number, self._mailbox))
            await training.learn()
            over = _Over(number, Abandon("done", ""), await training.finish())
        except Abandoned as early:
            over = _Over(number, Abandon(early.outcome, early.reason))
        await training.leave()
        self._mailbox.put_nowait(over)

    async def _share(self) -> None:
        """Give every trial as many workers as the others, those that began first one more."""
        if not self._living:
            return
        each, more = divmod(self._wheel.wishes[self._stage.name], len(self._living))
        for place, (_, living) in enumerate(sorted(self._living.items())):
            wish = each + (place < more)
            if wish != living.wish:
                living.wish = wish
                await living.training.share(wish)

    async def _examine(self, evaluator: Evaluator, trial: int) -> None:
        number = len(self._requests)
        self._requests.append(trial)
        await self._crew.store.put(self._work.request(number), self._living[trial].training.key.encode())
        await evaluator.ask()

    async def _compare(self, at: _Compare) -> None:
        """Judge a trial at a rung with all that have come as far, which may end others as well."""
        stage = self._stage.name
        fields: dict[str, JSON] = {"stage": stage, "trial": at.trial, "rung": at.rung, **finite({"loss": at.loss})}
        await self._wheel.decide("rung", fields)
        stopped = self._judge.reported(at.trial, self._judge.rungs.index(at.rung), at.loss)
        if not math.isfinite(at.loss):
            stopped |= {at.trial}
        for trial in sorted(stopped & self._living.keys()):
            if trial not in self._wheel.trials.settled:
                pruned = Abandon("pruned", f"not among the best after {at.rung} of {self._units} blocks")
                is_astray = trial == at.trial and not math.isfinite(at.loss)
                await self._settle(trial, ASTRAY if is_astray else pruned)
        if at.trial not in stopped:
            self._living[at.trial].training.mailbox.put_nowait(GoOn())

    async def _settle(self, trial: int, how: Abandon, metrics: Mapping[str, float] | None = None) -> None:
        """Write down how a trial ends, and tell it."""
        training = self._living[trial].training
        fields: dict[str, JSON] = {
            "stage": self._stage.name,
            "trial": trial,
            "outcome": how.outcome,
            "reason": how.reason,
            "samples": training.samples,
            "metrics": finite(metrics or {}),
            **finite({"loss": _loss(training), "dollars": self._crew.dollars(self._stage.name, trial)}),
        }
        await self._wheel.decide("trial_over", fields)
        self._wheel.trials.end(trial, how)

    async def _over(self, over: _Over) -> None:
        """A trial has ended: what was decided of its end holds, whatever it did meanwhile."""
        number, stage = over.trial, self._stage.name
        how = over.how
        if how.outcome == "done" and not math.isfinite(over.metrics.get("log_loss", math.nan)):
            how = ASTRAY
        if number not in self._wheel.trials.settled:
            await self._settle(number, how, over.metrics)
        how = self._wheel.trials.settled[number]
        living = self._living.pop(number)
        self._steps += living.training.steps
        self._wheel.trials.over(number)
        trial = self._ended[number] = Trial(
            stage, number, said(self._settings[number]), how.outcome, how.reason, _loss(living.training),
            living.training.samples, self._crew.dollars(stage, number), over.metrics if how.outcome == "done" else {},
        )  # fmt: skip
        self._proposals.tell(number, how.outcome, trial.loss)
        self._judge.ended(number)
        self._crew.bus.publish(
            events.TrialFinished(
                at=self._crew.at, stage=stage, trial=number, outcome=how.outcome, reason=how.reason, loss=trial.loss,
                samples=trial.samples, dollars=trial.dollars,
            )
        )  # fmt: skip
        before, self._best = self._best, self._found()
        for loser in (before, number):
            if loser is not None and loser != self._best:
                await self._drop(loser)

    def _found(self) -> int | None:
        """The best trial of those that came to their end."""
        return best({number: (one.outcome, one.loss) for number, one in self._ended.items() if one.outcome == "done"})

    async def _drop(self, trial: int) -> None:
        await self._crew.shards.drop(list(self._tables(trial).values()), self._job.line(trial))

    def _tables(self, trial: int) -> dict[str, str]:
        """The names of a trial's tables in its kernel and on the shards."""
        train = settled(self._stage.train, self._settings[trial])
        return tables_of(train, trial_pool(self._stage.name, trial), self._job.dataset.features)

    async def _drop_all(self) -> None:
        """A shard has gone on from a snapshot, in which there may be tables of trials that have ended."""
        for trial in self._ended.keys() - {self._best}:
            await self._drop(trial)

    def _tell_progress(self) -> None:
        now = self._crew.at
        if now - self._told < TELL:
            return
        self._told = now
        training = [one.training for one in self._living.values()]
        before = list(self._ended.values())
        each = max(self._units, 1)
        self._crew.bus.publish(
            events.StageProgress(
                at=now,
                stage=self._stage.name,
                done=len(before) * each + sum(min(one.units, each) for one in training if self._units),
                total=self._proposals.most * each,
                rows=sum(one.samples for one in before) + sum(one.samples for one in training),
                steps=self._steps + sum(one.steps for one in training),
            )
        )

    async def finish(self) -> Tuned:
        """Snapshot the best model; ``StageFailed`` where no trial has come to an end with a loss."""
        name = self._stage.name
        if self._best is None:
            ends = ", ".join(f"trial {one.number} is {one.outcome}" for one in self._ended.values())
            raise StageFailed(name, "no trial has come to its end with a loss that is a number", ends)
        winner, line = self._ended[self._best], self._job.line(self._best)
        snapshots = await self._crew.shards.snapshot(line)
        metrics = {
            **winner.metrics,
            "best": float(winner.number),
            "trials": float(len(self._ended)),
            "samples": float(sum(one.samples for one in self._ended.values())),
            "seconds": self.seconds,
        }
        learnt = Learnt(self._tables(winner.number), metrics, tuple(one.key for one in snapshots))
        return Tuned(tuple(one for _, one in sorted(self._ended.items())), self._settings[self._best], learnt, line)


def _loss(training: Training) -> float:
    return math.nan if training.loss is None else training.loss.loss
