"""What is known of a run from its events: for each stage its progress, workers, rate and newest loss."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

from cirrus.core.ids import EVALUATOR
from cirrus.events import (
    Event,
    LossReported,
    StageFinished,
    StageProgress,
    StageStarted,
    WorkerReplaced,
    WorkersScaled,
    WorkerStarted,
    WorkerStopped,
)

WINDOW = 5.0
"""The rate that is shown is the mean over so many seconds; rates of single moments jump."""


@dataclass(slots=True)
class Sight:
    """How far one stage is. ``rate`` is rows a second; ``seconds`` is how long it took, once it is finished."""

    began: float
    wished: int
    done: int = 0
    total: int = 0
    rows: int = 0
    rate: float = 0.0
    loss: float | None = None
    auc: float | None = None
    seconds: float | None = None
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
            case WorkersScaled(workers=workers):
                self.wished = workers
            case WorkerStarted(slot=slot):
                self.here.add((pool, slot))
            case WorkerStopped(slot=slot) | WorkerReplaced(slot=slot):
                self.here.discard((pool, slot))
            case LossReported(loss=loss, auc=auc):
                self.loss, self.auc = loss, auc
            case _:
                pass

    def _went_on(self, event: StageProgress) -> None:
        self.done, self.total, self.rows = event.done, event.total, event.rows
        self.recent.append((event.at, event.rows))
        while len(self.recent) > 2 and self.recent[1][0] < event.at - WINDOW:
            self.recent.popleft()
        at, rows = self.recent[0] if event.at - self.began > WINDOW else (self.began, 0)
        self.rate = (event.rows - rows) / max(event.at - at, 1e-9)


class Tally:
    """Sights of all stages that have begun, by name, in order."""

    def __init__(self) -> None:
        self.stages: dict[str, Sight] = {}

    def take(self, event: Event) -> None:
        """Take in what happened."""
        if isinstance(event, StageStarted):
            self.stages[event.stage] = Sight(event.at, event.workers)
            return
        pool: str = getattr(event, "stage", "")
        sight = self.stages.get(pool.removesuffix(EVALUATOR))
        if sight is not None:
            sight.take(pool, event)

    def workers(self, stage: str) -> int:
        """How many workers of a stage are here, without the one that evaluates its model."""
        return sum(pool == stage for pool, _ in self.stages[stage].here)
