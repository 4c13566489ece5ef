"""What is known of a run from its events: of each stage its progress, workers, rate and loss, and of each trial."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from cirrus.core.ids import EVALUATOR, stage_of
from cirrus.events import (
    Event,
    InvokeFailed,
    LossReported,
    Setting,
    StageFinished,
    StageProgress,
    StageStarted,
    TrialFinished,
    TrialOutcome,
    TrialStarted,
    WorkerReplaced,
    WorkersScaled,
    WorkerStarted,
    WorkerStopped,
)

WINDOW = 5.0
"""The rate that is shown is the mean over so many seconds; rates of single moments jump."""


@dataclass(slots=True)
class Sight:
    """How far one stage is. ``rate`` is rows a second; ``seconds`` is how long it took, once it is finished.

    ``loss`` is the newest, where it tunes the best of all that trials had. ``throttled``: the provider has refused
    workers for asking too fast, and not all have come since.
    """

    began: float
    wished: int
    done: int = 0
    total: int = 0
    rows: int = 0
    rate: float = 0.0
    loss: float | None = None
    auc: float | None = None
    seconds: float | None = None
    throttled: bool = False
    here: set[tuple[str, int]] = field(default_factory=set)
    recent: deque[tuple[float, int]] = field(default_factory=deque)

    def take(self, pool: str, event: Event) -> None:
        """Take in what happened in a pool of the stage."""
        match event:
            case StageProgress():
                self._went_on(event)
            case StageFinished(seconds=seconds):
                self.seconds, self.rate = seconds, self.rows / max(seconds, 1e-9)  # from now on the whole stage's
                self.here.clear()
                self.throttled = False
            case WorkersScaled(workers=workers):
                self.wished = workers
                self.throttled &= self.working < self.wished
            case WorkerStarted() | WorkerStopped() | WorkerReplaced() | InvokeFailed():
                self._staffed(pool, event)
            case LossReported(loss=loss, trial=trial):
                if trial is None or self.loss is None or loss < self.loss:
                    self.loss, self.auc = loss, event.auc
            case _:
                pass

    def _staffed(self, pool: str, event: WorkerStarted | WorkerStopped | WorkerReplaced | InvokeFailed) -> None:
        match event:
            case WorkerStarted(slot=slot):
                self.here.add((pool, slot))
                self.throttled &= self.working < self.wished
            case WorkerStopped(slot=slot) | WorkerReplaced(slot=slot):
                self.here.discard((pool, slot))
            case InvokeFailed(throttled=throttled):
                self.throttled |= throttled and not pool.endswith(EVALUATOR)

    @property
    def working(self) -> int:
        """How many workers are here, those of trials included, without the one that evaluates."""
        return sum(not pool.endswith(EVALUATOR) for pool, _ in self.here)

    @property
    def hands(self) -> str:
        """How many workers are here of those that are wished for, and whether others are refused for now."""
        return f"{self.working} of {self.wished} workers" + (", throttled" if self.throttled else "")

    def _went_on(self, event: StageProgress) -> None:
        self.done, self.total, self.rows = event.done, event.total, event.rows
        self.recent.append((event.at, event.rows))
        while len(self.recent) > 2 and self.recent[1][0] < event.at - WINDOW:
            self.recent.popleft()
        at, rows = self.recent[0] if event.at - self.began > WINDOW else (self.began, 0)
        self.rate = (event.rows - rows) / max(event.at - at, 1e-9)


@dataclass(slots=True)
class TrialSight:
    """A trial as it is: what it sets, whether it goes on or how it ended, and its newest loss."""

    stage: str
    number: int
    settings: Mapping[str, Setting]
    state: Literal["running"] | TrialOutcome = "running"
    loss: float = math.nan
    samples: int = 0
    dollars: float = 0.0

    def take(self, event: LossReported | TrialFinished) -> None:
        """Take in what was measured."""
        self.loss, self.samples, self.dollars = event.loss, event.samples, event.dollars
        if isinstance(event, TrialFinished):
            self.state = event.outcome

    @property
    def rank(self) -> tuple[bool, float, int]:
        """The best first; what has no loss, or none that is a number, last."""
        return not math.isfinite(self.loss), self.loss if math.isfinite(self.loss) else 0.0, self.number


class Tally:
    """Sights of all stages that have begun, by name, and of all trials, by stage and number, in order."""

    def __init__(self) -> None:
        self.stages: dict[str, Sight] = {}
        self.trials: dict[tuple[str, int], TrialSight] = {}

    def take(self, event: Event) -> None:
        """Take in what happened."""
        match event:
            case StageStarted(stage=stage, workers=workers):
                self.stages[stage] = Sight(event.at, workers)
                return
            case TrialStarted(stage=stage, trial=trial, settings=settings):
                self.trials.setdefault((stage, trial), TrialSight(stage, trial, settings))
            case LossReported(stage=stage, trial=int(trial)) | TrialFinished(stage=stage, trial=trial):
                if (stage, trial) in self.trials:
                    self.trials[stage, trial].take(event)
            case _:
                pass
        pool: str = getattr(event, "stage", "")
        sight = self.stages.get(stage_of(pool))
        if sight is not None:
            sight.take(pool, event)

    def workers(self, stage: str) -> int:
        """How many workers of a stage are here, those of its trials included, without the one that evaluates."""
        return self.stages[stage].working

    def best(self, stage: str) -> TrialSight | None:
        """The stage's trial with the least loss, those that go on included."""
        return next((trial for trial in self.ranked if trial.stage == stage and math.isfinite(trial.loss)), None)

    @property
    def ranked(self) -> list[TrialSight]:
        """All trials, the best first."""
        return sorted(self.trials.values(), key=lambda trial: trial.rank)
