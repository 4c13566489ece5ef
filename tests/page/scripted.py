"""A run that says what a test tells it to say, on the bus that runs have, and that does as it is ordered."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator

from cirrus import events
from cirrus.actors.bus import EventBus
from cirrus.errors import CirrusError, PipelineError
from cirrus.events import Event

TOGETHER = 100
"""Points that are said at once: fewer than the page takes in before it lets others have their turn."""

EVIL = "<img src=x onerror=\"document.title='broken in'\">"


class Scripted:
    """A ``Watched``; ``orders`` are those that it was given. ``refusal`` is raised by the next of them."""

    def __init__(self) -> None:
        self.run_id = "scripted-20260101-1234"
        self.bus = EventBus()
        self.orders: list[tuple[object, ...]] = []
        self.refusal: CirrusError | None = None

    def events(self) -> AsyncIterator[Event]:
        return self.bus.subscribe()

    def say(self, *said: Event) -> None:
        for event in said:
            self.bus.publish(event)

    async def scale(self, stage: str, workers: int) -> None:
        if stage not in {"prepare", "tune", "train"}:
            raise PipelineError("stage", stage, "'prepare', 'tune', 'train'")
        self._take("scale", stage, workers)

    async def kill(self, *, stage: str | None = None, trial: int | None = None, reason: str = "by order") -> None:
        self._take("kill", stage, trial)
        if trial is not None:
            self.say(trial_over(60.0, trial, "killed", reason))

    def _take(self, *order: object) -> None:
        if self.refusal is not None:
            raise self.refusal
        self.orders.append(order)


def loss(at: float, value: float, trial: int | None = None, stage: str = "tune") -> events.LossReported:
    return events.LossReported(
        at=at, stage=stage, loss=value, auc=0.7, accuracy=0.8, train_loss=value + 0.01, samples=int(at * 1000),
        seconds=at, trial=trial, dollars=at * 1e-5,
    )  # fmt: skip


def trial_over(at: float, trial: int, outcome: events.TrialOutcome, reason: str = "") -> events.TrialFinished:
    return events.TrialFinished(
        at=at, stage="tune", trial=trial, outcome=outcome, reason=reason, loss=0.5, samples=1000, dollars=0.0001
    )


def begun(run: Scripted) -> None:
    """A run whose preparation is done and that tunes."""
    run.say(
        events.RunStarted(at=0.0, run_id=run.run_id, store="/somewhere/store"),
        events.ShardStarted(at=0.1, shard=0, address="127.0.0.1:4000", pid=100),
        events.StageStarted(at=0.2, stage="prepare", workers=4),
        events.StageProgress(at=3.0, stage="prepare", done=40, total=40, rows=200_000),
        events.RowsPrepared(
            at=3.0, stage="prepare", rows_in=200_000, skipped=0, train=160_000, test=40_000, features=2**18
        ),
        events.StageFinished(at=3.1, stage="prepare", seconds=2.9),
        events.StageStarted(at=3.2, stage="tune", workers=8),
    )


def settings(trial: int) -> dict[str, events.Setting]:
    return {"optimizer.rate": 0.01 * 1.7**trial, "model.l2": 10.0 ** -(3 + trial % 5), "optimizer": "Adagrad"}


def tuning(run: Scripted, trials: int = 12, seconds: int = 40) -> None:
    """A run in the middle of its search: some trials pruned, one astray, one with a name that means harm."""
    begun(run)
    for trial in range(trials):
        said = settings(trial) if trial != 7 else {**settings(trial), "optimizer": EVIL}
        run.say(
            events.TrialStarted(at=4.0 + trial * 0.2, stage="tune", trial=trial, settings=said),
            events.WorkerStarted(at=5.0, stage=f"tune.trial{trial}", slot=0, attempt=1, pid=1000 + trial),
        )
    for second in range(6, 6 + seconds):
        for trial in range(trials):
            last = 6 + seconds * (0.3 if trial % 3 == 2 else 1.0)
            if second <= last and trial != 5:
                value = 0.44 + 0.006 * trial + 0.22 * math.exp(-(second - 5) / (5 + trial))
                run.say(loss(float(second), value, trial))
        run.say(
            events.StageProgress(
                at=float(second), stage="tune", done=second * 10, total=600, rows=second * 8000, steps=second * 80
            ),
            resources(float(second), {"prepare": 0, "tune": 8}, {"tune": min(8, second - 3)}),
        )
    for trial in range(2, trials, 3):
        run.say(
            trial_over(30.0, trial, "pruned", "worse than 2 of 3 at rung 1"),
            events.WorkerStopped(at=30.5, stage=f"tune.trial{trial}", slot=0, attempt=1, reason="nothing left to do"),
        )
    run.say(
        events.WorkerReplaced(at=33.0, stage="tune.trial4", slot=0, attempt=2, reason="it was killed by signal 9"),
        events.WorkerStarted(at=33.6, stage="tune.trial4", slot=0, attempt=2, pid=2004),
    )


class Endless:
    """Trials side by side whose losses are measured again and again: any number of points, in turn, 100 a second."""

    def __init__(self, run: Scripted, lines: int) -> None:
        self._run = run
        self._lines = lines
        self.points = 0
        begun(run)
        for trial in range(lines):
            run.say(events.TrialStarted(at=4.0, stage="tune", trial=trial, settings=settings(trial % 20)))

    @property
    def last(self) -> float:
        """The second of the newest point."""
        return self.points / 100

    async def reach(self, points: int) -> None:
        """Say points until there were so many, no faster than who listens takes them in."""
        while self.points < points:
            self.points += 1
            self._run.say(loss(self.last, 0.5 + 0.001 * math.cos(self.points), self.points % self._lines))
            if self.points % TOGETHER == 0:
                await asyncio.sleep(0)


def resources(at: float, wished: dict[str, int], working: dict[str, int]) -> events.ResourcesReported:
    return events.ResourcesReported(
        at=at, dollars=0.00042 * at, dollars_per_second=0.00042, wished=wished, working=working, worker_mb=84.0,
        shard_mb=212.0 + at, driver_mb=96.0, budget=0.05,
    )  # fmt: skip
